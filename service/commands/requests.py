"""``request``: what people ask about the records that are kept of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from retention import requests
from retention.requests import Left, Request
from service.commands.access import acting, logged_in
from service.commands.words import WORDS
from service.terminal import Commands, say
from vault import ledgers
from vault.context import Vault
from vault.core.leaf import instant

_NOTHING = "check the spelling of the customer; records that come later are not covered: ask again then"


@click.group(cls=Commands)
def request() -> None:
    """Requests of people: erasure and access."""


@request.command("erasure")
@click.option("--customer", required=True, type=WORDS, help="Who asks, as records name them; sealed.")
@click.option("--ledger", "names", multiple=True, required=True, help="A ledger to look in; repeat it.")
@click.option("--reason", required=True, type=WORDS, help="Why, and by which letter; sealed.")
@click.option("--user", "user", help="Your local account; without it, the passphrase's holder enters it.")
def erasure(customer: str, names: tuple[str, ...], reason: str, user: str | None) -> None:
    """Restrict a customer's records now; they are destroyed when they are due."""
    with acting(user) as vault:
        asked = requests.request_erasure(
            vault,
            ledgers=[ledgers.get(vault, one) for one in dict.fromkeys(names)],
            customer=customer,
            reason=reason,
            random=os.urandom,
        )
        known = _names(vault)
    words = [f"{asked.request} is entered: from now on these are opened for a legal duty only, and destroyed when due"]
    words += [
        f"{known.get(one, one)}: " + (f"{count} records" if count else "matches no record now: " + _NOTHING)
        for one, count in asked.counts.items()
    ]
    if asked.before:
        words.append(f"the same was asked before: {', '.join(asked.before)}; both stand")
    if asked.unsound:
        words.append(f"{asked.unsound} of them are not what their leaves say: run 'reasonvault verify'")
    document = {"request": asked.request, "counts": dict(asked.counts), "unsound": asked.unsound, "event": asked.event}
    say("\n".join(words), document | {"before": list(asked.before)})


@request.command("access")
@click.option("--customer", required=True, type=WORDS, help="Who asks, as records name them; sealed.")
@click.option("--ledger", "names", multiple=True, required=True, help="A ledger to look in; repeat it.")
@click.option("-o", "--output", "out", type=click.Path(path_type=Path), required=True, help="The zip to make.")
@click.option("--user", "user", required=True, help="Your local account; a grant of yours must cover the ledgers.")
def access(customer: str, names: tuple[str, ...], out: Path, user: str) -> None:
    """Export what is kept about a customer, under a grant. The access is logged first."""
    with logged_in(user) as vault:
        made = requests.export(
            vault,
            ledgers=[ledgers.get(vault, one) for one in dict.fromkeys(names)],
            customer=customer,
            out=out,
            random=os.urandom,
        )
        known = _names(vault)
    words = [f"{made.path}  sha256 {made.sha256.hex()}"]
    words += [f"{known.get(one, one)}: {count} records" for one, count in made.exported.items()]
    words += [
        f"{known.get(one, one)}: {count} more are restricted, and stay closed without a grant that names a legal duty"
        for one, count in made.closed.items()
        if count
    ]
    if made.destroyed:
        words.append(f"{made.destroyed} that an earlier request named were destroyed since")
    if made.unsound:
        words.append(f"{made.unsound} are not what their leaves say, and left out: run 'reasonvault verify'")
    document = {
        "request": made.request,
        "file": str(made.path),
        "sha256": made.sha256.hex(),
        "exported": dict(made.exported),
        "restricted": dict(made.closed),
        "destroyed": made.destroyed,
        "unsound": made.unsound,
        "event": made.event,
    }
    say("\n".join(words), document)


@request.command("list")
@click.option("--user", "user", help="Your local account; without it, the passphrase's holder lists.")
def list_requests(user: str | None) -> None:
    """List the requests, newest first, and when the last record of each will be due."""
    with acting(user) as vault:
        found, known = requests.listing(vault), _names(vault)
    words = [line for one in found for line in _lines(one, known)]
    say("\n".join(words) or "there are no requests", [_document(one) for one in found])


def _lines(one: Request, known: dict[str, str]) -> list[str]:
    total = sum(one.counts.values())
    said = f"  {one.customer}: {one.reason}" if one.reason else f"  {one.customer}" if one.customer else ""
    ended = "  exported" if one.exported else "  not handed out" if one.kind == "access" else ""
    lines = [f"{one.id}  {one.kind:<7}  {one.at[:10]}  {total} records{ended}{said}"]
    lines += [f"    {known.get(place, place)}: {_left(left)}" for place, left in one.left.items()]
    return lines


def _left(left: Left) -> str:
    if not left.standing:
        return "none is left" if left.number else "none was found"
    words = f"{left.standing} of {left.number} are left"
    if left.open_ended:
        words += f", {left.open_ended} of them without a date yet"
    elif left.due is not None:
        words += f", the last of them due {instant(left.due)}"
    words += f", {left.held} held" if left.held else ""
    return words + (f", {left.unsound} that cannot be opened" if left.unsound else "")


def _document(one: Request) -> dict[str, Any]:
    left = {
        place: {
            "records": each.number,
            "left": each.standing,
            "held": each.held,
            "due": None if each.due is None else instant(each.due),
            "open_ended": each.open_ended,
            "unsound": each.unsound,
        }
        for place, each in one.left.items()
    }
    words = {"customer": one.customer, "reason": one.reason}
    facts = {"request": one.id, "kind": one.kind, "at": one.at, "by": one.by, "event": one.seq}
    return facts | {"counts": dict(one.counts), "left": left, "exported": one.exported} | words


def _names(vault: Vault) -> dict[str, str]:
    return {str(one.id): one.row.name for one in ledgers.listing(vault)}
