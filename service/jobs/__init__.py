"""Jobs: what the worker does on a schedule."""
