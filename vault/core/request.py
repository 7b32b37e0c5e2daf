"""Requests of people: who may enter one into the vault. Pure; a decision is a reason why not, or None."""

from __future__ import annotations

from vault.core.grant import Scope


def why_no_erasure(roles: frozenset[str], holder: bool) -> str | None:
    """Return why this person may not enter a request for erasure: one is enough, since nothing is destroyed by it.

    Args:
        holder: whether they hold the vault's passphrase.
    """
    if "officer" not in roles and not holder:
        return "only a compliance officer, or the holder of the vault's passphrase, enters a request for erasure"
    return None


def why_no_export(scope: Scope) -> str | None:
    """Return why no records of a person may be exported under a grant that covers their ledger.

    A masked grant must not say whose a record is (vault.search), and an export does: so somebody has to have approved
    a legal duty with it.
    """
    if scope.fields == "masked" and not scope.duty:
        return "looking for a customer needs a grant that shows everything, or one that names a legal duty"
    return None
