"""Synthetic decisions and measurements. Not part of the distribution."""
