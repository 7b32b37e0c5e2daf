"""``events``: who did what to the vault."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import click

from service.commands.access import acting
from service.terminal import say
from vault import ledgers, trace
from vault.core.errors import UsageError


@click.command()
@click.option("--event", help="Only events of this name, such as record.opened.")
@click.option("--actor", help="Only what this actor did.")
@click.option("--ledger", "name", help="Only what concerns this ledger, by name.")
@click.option("--from", "start", type=click.DateTime(), metavar="TIME", help="Only from here on, UTC.")
@click.option("--to", "end", type=click.DateTime(), metavar="TIME", help="Only before this, UTC.")
@click.option("--before", type=click.IntRange(0), help="Only below this position: how the next page is asked for.")
@click.option("--limit", type=click.IntRange(1, trace.MOST), default=50, show_default=True)
@click.option("--user", help="Your local account; without it, the passphrase's holder looks.")
def events(
    event: str | None,
    actor: str | None,
    name: str | None,
    start: datetime | None,
    end: datetime | None,
    before: int | None,
    limit: int,
    user: str | None,
) -> None:
    """Show who did what, newest first. Looking is an event too."""
    with acting(user) as vault:
        ledger = None
        if name is not None:
            found = ledgers.find(vault, name)
            if found is None:
                raise UsageError(f"no ledger is named {name}: see 'reasonvault ledger list'")
            ledger = str(found.id)
        wanted = trace.Wanted(event, actor, ledger, _microseconds(start), _microseconds(end), before, limit)
        page = trace.page(vault, wanted)
    rows = [
        {
            "seq": one.seq,
            "at": one.leaf.at,
            "event": one.leaf.event,
            "actor": one.leaf.actor,
            "facts": one.leaf.facts,
            "details": one.details,
        }
        for one in page.shown
    ]
    words = [
        f"{one.seq:>8}  {one.leaf.at}  {one.leaf.event:<18}  {one.leaf.actor:<18}  "
        f"{_short(one.leaf.facts)}{_short(one.details or {}, ' | ')}"
        for one in page.shown
    ]
    if page.before is not None:
        words.append(f"older ones: --before {page.before}")
    document = {"events": rows, "before": page.before, "access_event": page.access}
    say("\n".join(words) or "no event fits", document)


def _short(facts: dict[str, object], lead: str = "") -> str:
    shown = " ".join(
        f"{key}={value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"
        for key, value in facts.items()
        if key != "break_glass" or value
    )
    return lead + shown if shown else ""


def _microseconds(moment: datetime | None) -> int | None:
    return None if moment is None else round(moment.replace(tzinfo=UTC).timestamp() * 1_000_000)
