"""The command line, `python -m allatt`: each module adds its commands and handles them.

Handlers import what they need, so that `python -m allatt --help` imports neither torch nor numpy.
"""
