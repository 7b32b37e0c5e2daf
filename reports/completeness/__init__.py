"""Completeness and reconciliation: the vault's records beside the payment system's own list of money movements."""
