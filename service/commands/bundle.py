"""``bundle``: records and what proves them, in one zip that a stranger checks without us."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from service.commands.access import acting
from service.commands.moments import MOMENT, perhaps_microseconds
from service.commands.words import WORDS
from service.terminal import progress, say
from vault import ledgers
from vault.core.errors import UsageError

if TYPE_CHECKING:
    from reports.bundle.scope import Scope


@click.command("bundle")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), required=True, help="The zip to make.")
@click.option("--ledger", "name", required=True, help="The ledger's name.")
@click.option("--from", "first", type=MOMENT, metavar="TIME", help="Only what occurred from here, UTC.")
@click.option("--to", "end", type=MOMENT, metavar="TIME", help="Only what occurred before this, UTC.")
@click.option("--record", type=WORDS, help="Only the record of this id.")
@click.option("--conversation", type=WORDS, help="Only the records of this conversation.")
@click.option("--seq", "positions", type=click.IntRange(min=1), multiple=True, help="Only this position; repeat it.")
@click.option("--purpose", required=True, type=WORDS, help="Why it is made; sealed into the access event.")
@click.option("--full", is_flag=True, help="The records' exact bytes; without it, their masked form.")
@click.option("--duty", metavar="WORD", default="", help="The legal duty you open restricted records for.")
@click.option("--user", help="Your local account, to open under a grant; without it, the passphrase's holder does.")
@click.option("--grant", help="Id of the grant to use; without it, one that covers everything in scope.")
def bundle(
    out: Path,
    name: str,
    first: datetime | None,
    end: datetime | None,
    record: str | None,
    conversation: str | None,
    positions: tuple[int, ...],
    purpose: str,
    full: bool,
    duty: str,
    user: str | None,
    grant: str | None,
) -> None:
    """Make an evidence bundle of a ledger, or of a part of it. The access is logged first."""
    from reports.bundle.make import make_bundle

    scope = _scope(perhaps_microseconds(first), perhaps_microseconds(end), record, conversation, positions)
    with acting(user) as vault, progress("bundle") as show:
        made = make_bundle(
            vault,
            ledgers.get(vault, name),
            scope,
            purpose,
            out,
            full=full,
            grant=grant,
            duty=duty,
            progress=lambda _name, done, total: show(done, total),
        )
    counts = ", ".join(f"{count:,} {state}" for state, count in sorted(made.states.items()))
    words = (
        f"{made.path}: {made.bundle}, {made.size:,} bytes, sha256 {made.sha256.hex()}\n"
        f"  records: {counts}\n"
        f"  tell whoever gets it on another way: --key {made.fingerprint}"
    )
    document = {
        "bundle": made.bundle,
        "file": str(made.path),
        "sha256": made.sha256.hex(),
        "bytes": made.size,
        "records": dict(made.states),
        "size": made.checkpoint.size,
        "fingerprint": made.fingerprint,
        "access_event": made.access,
        "event": made.event,
    }
    say(words, document)


def _scope(
    start: int | None, end: int | None, record: str | None, conversation: str | None, positions: tuple[int, ...]
) -> Scope:
    from reports.bundle.scope import Scope

    bounded = start is not None or end is not None
    if sum((bounded, record is not None, conversation is not None, bool(positions))) > 1:
        raise UsageError("--from and --to, --record, --conversation and --seq each name a scope: choose one")
    if bounded:
        return Scope("period", start, end)
    if record is not None:
        return Scope("record", record=record)
    if conversation is not None:
        return Scope("conversation", conversation=conversation)
    return Scope("positions", positions=positions) if positions else Scope()
