"""What the rest stands on: where things are, files that are whole or absent, and child processes."""
