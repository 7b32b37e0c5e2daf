"""The integrity report: whether the vault is what was signed, who outside has seen it, and what was destroyed."""
