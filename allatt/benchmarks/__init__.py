"""`make bench`: time and memory, measured side by side."""
