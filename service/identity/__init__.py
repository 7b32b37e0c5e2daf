"""How people prove over HTTP who they are: tokens of an identity provider, and the vault's own for local accounts."""
