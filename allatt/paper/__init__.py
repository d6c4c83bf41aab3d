"""The paper's experiments: their scales, their runs, and what the results say about its claims."""
