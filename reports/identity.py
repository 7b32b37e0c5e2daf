"""Identity: which report this is, of what, by whom; the same on page one of every kind."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib import metadata

from reports.model import Identification, Period
from reports.phrase import phrase
from vault.context import Vault
from vault.ledgers import Ledger


def identify(
    vault: Vault, ledger: Ledger | None, period: Period, purpose: str, report: str, access: int | None = None
) -> Identification:
    """Return what page one says of a report that is being made now.

    Args:
        ledger: None for a report on the whole tenant.
        access: position of the access entry in the events ledger; None where nothing is opened.
    """
    return Identification(
        report_id=report,
        ledger=phrase("all ledgers") if ledger is None else ledger.row.name,
        ledger_id="" if ledger is None else str(ledger.id),
        tenant=vault.tenant,
        region=vault.region if ledger is None else ledger.genesis.region,
        jurisdictions=() if ledger is None else ledger.genesis.jurisdictions,
        period=period,
        made_by=vault.actor.name,
        break_glass=vault.actor.break_glass,
        purpose=purpose,
        generated_at=now(vault),
        vault_version=version(),
        access_entry=None if access is None else phrase("events ledger, seq {seq}", seq=access),
    )


def now(vault: Vault) -> datetime:
    """Return the vault's clock, to the second."""
    return datetime.fromtimestamp(vault.clock() // 1_000_000, UTC)


def version() -> str:
    """Return which Reasonvault made a report."""
    try:
        return metadata.version("reasonvault")
    except metadata.PackageNotFoundError:
        return "source tree, not installed"
