"""What the rest stands on: where things are, files that are written whole, child processes, tables of text."""
