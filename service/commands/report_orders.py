"""``report order`` and ``report list``: reports that are made again and again, and what was ever issued."""

from __future__ import annotations

from typing import Any

import click

from service import delivery
from service import home as homes
from service.commands.access import acting
from service.commands.words import WORDS
from service.terminal import Commands, say
from vault import ledgers

_USER = click.option("--user", help="Your local account; without it, the passphrase's holder acts.")


@click.group(cls=Commands)
def order() -> None:
    """Standing orders: a report for each period that has ended, made by the worker as whoever ordered it."""


@order.command("add")
@click.argument("kind")
@click.option("--ledger", "name", help="The ledger's name; none for a kind on the whole tenant.")
@click.option("--every", type=click.Choice(["day", "week", "month", "quarter"]), default="month", show_default=True)
@click.option("--purpose", required=True, type=WORDS, help="Why; sealed, and printed on page one.")
@click.option("--deliver", "destination", default="", help="A destination of delivery.toml; without it, kept only.")
@click.option("--language", default="", help="en or zh-Hans; default: that of branding.toml, else en.")
@_USER
def add_order(
    kind: str, name: str | None, every: str, purpose: str, destination: str, language: str, user: str | None
) -> None:
    """Order reports of a KIND from now on."""
    from reports import orders
    from reports.catalog import catalog
    from reports.kinds import kind_of

    wanted = kind_of(kind)
    if language:
        catalog(language)
    if destination:
        delivery.destination(homes.default_path(), destination)
    with acting(user) as vault:
        ledger = None if name is None else ledgers.get(vault, name)
        made = orders.place(
            vault, wanted, ledger, every=every, purpose=purpose, destination=destination, language=language
        )
    say(f"order {made}: {kind} every {every}", {"order": made, "kind": kind, "every": every})


@order.command("list")
@_USER
def list_orders(user: str | None) -> None:
    """List the orders that stand."""
    from reports import orders

    with acting(user) as vault:
        names = {str(one.id): one.row.name for one in ledgers.listing(vault)}
        found = [one._asdict() | {"ledger": names.get(one.ledger, one.ledger)} for one in orders.listing(vault)]
    lines = [
        f"{one['id']}  {one['kind']:<13} {one['every']:<8} {one['ledger'] or 'tenant':<16} {one['person']}"
        + (f"  to {one['destination']}" if one["destination"] else "")
        for one in found
    ]
    say("\n".join(lines) or "no orders stand; each ledger's integrity report is made every month all the same", found)


@order.command("end")
@click.argument("order_id")
@_USER
def end_order(order_id: str, user: str | None) -> None:
    """End an order: your own, or any as a compliance officer or the passphrase's holder."""
    from reports import orders

    with acting(user) as vault:
        orders.end(vault, order_id)
    say(f"order {order_id} has ended", {"order": order_id, "ended": True})


@click.command("list")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="The newest of them.")
@_USER
def list_reports(limit: int, user: str | None) -> None:
    """List the reports that were issued, and which of them were delivered."""
    from reports import issuedlist

    with acting(user) as vault:
        found = issuedlist.listing(vault, limit)
    lines = [_line(one) for one in found]
    say("\n".join(lines) or "no report was issued yet", found)


def _line(one: dict[str, Any]) -> str:
    delivered = f"  delivered {one['delivered_at'][:16]}" if one["delivered_at"] else ""
    due = f"  period from {one['due']}" if one["due"] else ""
    words = f"{one['at'][:16]}  {one['report']}  {one['kind']:<13} {one['recipient']:<18} {one['sha256'][:16]}"
    return f"{words}{due}{delivered}"
