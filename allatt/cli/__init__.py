"""The command line, `python -m allatt`: each command's options next to its handler.

Handlers import what they need, so that `python -m allatt --help` imports neither torch nor numpy.
"""
