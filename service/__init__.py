"""Composition and, later, HTTP: the one place that knows which parts make a vault."""
