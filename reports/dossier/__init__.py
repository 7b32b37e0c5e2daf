"""The dossier: one conversation, every attempt, retry, review and execution of it, with its proofs."""
