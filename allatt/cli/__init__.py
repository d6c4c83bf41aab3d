"""The command line, `python -m allatt`: options beside their handlers.

Handlers import what they need, so that `python -m allatt --help` imports neither torch nor numpy.
"""
