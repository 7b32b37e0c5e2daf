"""Evidence bundles: records, leaves and proofs in one zip that a stranger checks (docs/reference/bundle.md)."""
