"""``records``: what people tell about single records after they were written."""

from __future__ import annotations

from datetime import datetime

import click

from retention import dating
from service.commands.access import logged_in
from service.commands.moments import MOMENT, microseconds
from service.commands.words import WORDS
from service.terminal import Commands, say
from vault import ledgers
from vault.core import leaf
from vault.core.dating import TRIGGERS


@click.group(cls=Commands)
def records() -> None:
    """Records: tell of events that start their retention periods."""


@records.command("date")
@click.argument("record_id")
@click.option("--ledger", "ledger", required=True, help="The ledger it is in.")
@click.option("--trigger", type=click.Choice(TRIGGERS), required=True, help="What happened.")
@click.option("--at", "at", type=MOMENT, required=True, metavar="TIME", help="When it happened, UTC.")
@click.option("--user", "name", required=True, help="Your local account, a compliance officer's.")
@click.option("--reason", required=True, type=WORDS, help="How you know; sealed into the event.")
def date_record(record_id: str, ledger: str, trigger: str, at: datetime, name: str, reason: str) -> None:
    """Tell of an event that a record waits for, or that lengthens its period: a relationship that ended, say.

    What was told is never taken back. A later time counts instead of an earlier one.
    """
    with logged_in(name) as vault:
        into = ledgers.get(vault, ledger)
        event = dating.tell(vault, into, record_id, trigger, microseconds(at), reason)
        change = dating.change(vault, into, event)
    told = leaf.instant(microseconds(at) // 1_000_000)
    document = {"ledger": str(into.id), "record": record_id, "trigger": trigger, "at": told, "event": event}
    words = f"{record_id}: {trigger} at {told}, told by event {event}"
    if change is None:
        words += "\nwhat it changes cannot be said, since the record does not open: run 'reasonvault verify'"
        say(words, document | {"keep_until_before": None, "keep_until": None, "changed": None})
        return
    before, after = _until(change.before), _until(change.after)
    changed = change.before != change.after
    words += (
        f"\nkeeps until {before or 'open-ended'} -> {after or 'open-ended'}"
        if changed
        else (
            f"\nchanges nothing now: it keeps until {after}" if after else "\nchanges nothing now: it stays open-ended"
        )
    )
    say(words, document | {"keep_until_before": before, "keep_until": after, "changed": changed})


def _until(seconds: int | None) -> str | None:
    return None if seconds is None else leaf.instant(seconds)
