"""Measures reports: pages, annexes, proofs."""
