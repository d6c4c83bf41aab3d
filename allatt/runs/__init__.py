"""Runs: trained once, cached in folders named by their configs, and resumed if interrupted."""

from allatt.runs.run import Run, find, finished, get_or_run

__all__ = ["Run", "find", "finished", "get_or_run"]
