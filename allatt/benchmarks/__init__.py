"""`make bench`: speed and memory. Measuring (measure), the five measurements (bench), and their tables (report)."""
