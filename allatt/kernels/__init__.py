"""The same values as the equations of the method, computed faster."""
