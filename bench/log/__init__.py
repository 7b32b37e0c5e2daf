"""Measures the log: what checkpoints cost, and how long proofs take."""
