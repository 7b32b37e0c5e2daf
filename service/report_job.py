"""The process that makes one report: told what to do by one JSON document on standard input, answers with another.

    python -P -m service.report_job

The passphrase comes with that document, never in an argument or the environment; what is opened with it is decided here
again, by the grant that the report was asked for under. A process of its own, because making pages takes memory and
minutes, and a worker that does it answers nobody.
"""

from __future__ import annotations

import sys
from base64 import b64decode
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from reports.issue import issue
from reports.kind import Wanted
from reports.kinds import kind_of
from reports.period import period_of
from service import wiring
from service.desk import desk_of
from vault import ledgers
from vault.context import Actor
from vault.core import canonical
from vault.core.errors import VaultError


class Told(msgspec.Struct, forbid_unknown_fields=True):
    """What to make, for whom."""

    home: str
    passphrase: str
    actor: str
    roles: tuple[str, ...]
    generation: int | None
    grant: str
    ledger: str
    kind: str
    language: str | None
    first: str | None
    end: str | None
    purpose: str
    out: str

    def __repr__(self) -> str:
        return "Told(...)"


def main() -> int:
    """Make the report; the answer has ``detail`` where there is none."""
    try:
        answer = _make(msgspec.json.decode(sys.stdin.buffer.read(), type=Told))
    except VaultError as error:
        answer = {"detail": str(error)}
    except Exception as error:  # its text could quote a record
        answer = {"detail": f"an unforeseen fault: {type(error).__name__}"}
    sys.stdout.buffer.write(msgspec.json.encode(answer))
    return 0


def _make(told: Told) -> dict[str, Any]:
    actor = Actor(told.actor, break_glass=False, roles=frozenset(told.roles), generation=told.generation)
    with wiring.open_vault(Path(told.home), b64decode(told.passphrase), actor) as vault:
        book = wiring.rule_book(vault)
        ledger = ledgers.get(vault, told.ledger)
        first, end = (None if day is None else date.fromisoformat(day) for day in (told.first, told.end))
        period = period_of(book, ledger.genesis.jurisdictions, first, end)
        wanted = Wanted(ledger, book, period, told.purpose, grant=told.grant or None)
        with desk_of(Path(told.home), vault, told.language) as desk:
            made = issue(vault, kind_of(told.kind), wanted, Path(told.out), desk=desk)
    return {"sha256": canonical.b64(made.sha256), "pages": made.pages, "bytes": made.size, "event": made.event}


if __name__ == "__main__":
    sys.exit(main())
