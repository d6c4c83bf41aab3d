"""The command line, `python -m allatt`."""
