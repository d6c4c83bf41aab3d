"""What the rest builds on: where things are, files that are written whole, child processes, tables of text."""
