"""`make reproduce`: executes the notebooks, each only if something it depends on has changed."""
