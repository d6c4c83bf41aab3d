"""`make reproduce`: runs the notebooks."""
