"""Free-running simulation."""
