"""Disposals at size: the space that comes back, the seconds they take, and what appends and verification feel of it."""
