"""``hold``: records that outlive their time while a case lasts. One person places, two release."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import click

from retention import holding, holdlist
from retention.holdlist import Shown
from service.commands.access import acting, logged_in
from service.commands.moments import MOMENT, instant, microseconds, perhaps_instant, perhaps_microseconds
from service.commands.words import WORDS
from service.terminal import Commands, say
from vault import ledgers
from vault.context import Vault
from vault.core.governance import Hold


@click.group(cls=Commands)
def hold() -> None:
    """Legal holds: placed by one person, released by two."""


@hold.command("place")
@click.option("--case", required=True, type=WORDS, help="The case it is for; sealed, events show a pseudonym.")
@click.option("--reason", required=True, type=WORDS, help="Why; sealed.")
@click.option("--ledger", "names", multiple=True, required=True, help="A ledger to look in; repeat it.")
@click.option("--customer", "customers", multiple=True, type=WORDS, help="Records of this customer; repeat it; sealed.")
@click.option(
    "--conversation",
    "conversations",
    multiple=True,
    type=WORDS,
    help="Of this conversation; repeat it; sealed.",
)
@click.option(
    "--transaction", "transactions", multiple=True, type=WORDS, help="Of this transaction; repeat it; sealed."
)
@click.option("--class", "classes", multiple=True, help="Only this record class; repeat it.")
@click.option("--jurisdiction", "jurisdictions", multiple=True, help="Only records that name this code; repeat it.")
@click.option("--from", "first", type=MOMENT, metavar="TIME", help="Only what occurred from here, UTC.")
@click.option("--to", "end", type=MOMENT, metavar="TIME", help="Only what occurred before this, UTC.")
@click.option("--review", "review_at", type=MOMENT, metavar="DATE", help="When to ask whether the case still lasts.")
@click.option("--user", "user", help="Your local account; without it, the passphrase's holder places.")
def place_hold(
    case: str,
    reason: str,
    names: tuple[str, ...],
    customers: tuple[str, ...],
    conversations: tuple[str, ...],
    transactions: tuple[str, ...],
    classes: tuple[str, ...],
    jurisdictions: tuple[str, ...],
    first: datetime | None,
    end: datetime | None,
    review_at: datetime | None,
    user: str | None,
) -> None:
    """Place a hold on what matches now and on what will.

    All terms must meet; of several ids, classes or jurisdictions, one. Without terms it holds whole ledgers.
    """
    with acting(user) as vault:
        placed = holding.place(
            vault,
            case=case,
            reason=reason,
            ledgers=[ledgers.get(vault, one) for one in dict.fromkeys(names)],
            customers=customers,
            conversations=conversations,
            transactions=transactions,
            classes=classes,
            jurisdictions=jurisdictions,
            start=perhaps_microseconds(first),
            end=perhaps_microseconds(end),
            review_at=perhaps_microseconds(review_at),
            random=os.urandom,
        )
        known = _names(vault)
    words = [f"{placed.hold.id} is placed"]
    nothing = f"matches no record now: check the spelling of {_spelled(customers, conversations, transactions)}"
    words += [
        f"{known.get(one, one)}: {count} records" if count or placed.lost else f"{known.get(one, one)}: {nothing}"
        for one, count in placed.counts.items()
    ]
    if not all(placed.counts.values()):
        words.append("new records that match will be held")
    words += [f"disposal {one} will leave {count} of them behind" for one, count in placed.stopped.items()]
    words += [
        f"TOO LATE for {count} records: disposal {one} has passed its commit point and destroys them"
        for one, count in placed.lost.items()
    ]
    if placed.unsound:
        words.append(f"{placed.unsound} of them are not what their leaves say: run 'reasonvault verify'")
    document = _document(placed.hold) | {
        "counts": dict(placed.counts),
        "lost": dict(placed.lost),
        "stopped": dict(placed.stopped),
        "unsound": placed.unsound,
    }
    say("\n".join(words), document)


@hold.command("list")
@click.option("--user", "user", help="Your local account; without it, the passphrase's holder lists.")
def list_holds(user: str | None) -> None:
    """List the holds, newest first, and those whose review is due."""
    with acting(user) as vault:
        found, known = holdlist.listing(vault), _names(vault)
    words = [_line(one, known) for one in found]
    due = sum(one.due for one in found)
    if due:
        words.append(f"{due} due for review: 'reasonvault hold review ID --on DATE', or release")
    say("\n".join(words) or "there are no holds", [_shown(one) for one in found])


@hold.command("show")
@click.argument("hold_id")
@click.option("--user", "user", help="Your local account; without it, the passphrase's holder looks.")
def show_hold(hold_id: str, user: str | None) -> None:
    """Show one hold with what its event seals."""
    with acting(user) as vault:
        found, known = holdlist.show(vault, hold_id), _names(vault)
    one = found.hold
    terms = "; ".join(f"{name} {value}" for name, value in _terms(found).items())
    words = [
        _line(found, known),
        f"case      {one.case}  {found.case}",
        f"reason    {found.reason}",
        f"terms     {terms or 'whole ledgers'}" if found.case else "terms     sealed",
        f"placed    {instant(one.placed_at)} by {one.placed_by}",
    ]
    if one.release_by is not None and one.is_open:
        words.append(f"release   asked for by {one.release_by}: another compliance officer releases")
    say("\n".join(words), _shown(found))


@hold.command("review")
@click.argument("hold_id")
@click.option("--on", "review_at", type=MOMENT, metavar="DATE", required=True, help="The next review date.")
@click.option("--user", "user", required=True, help="Your local account; its password is asked for.")
def review_hold(hold_id: str, review_at: datetime, user: str) -> None:
    """Set the next review date, as a compliance officer. A release that was asked for is taken back."""
    with logged_in(user) as vault:
        found = holding.review(vault, hold_id, microseconds(review_at))
    say(f"{hold_id} is to be reviewed on {perhaps_instant(found.review_at)}", _document(found))


@hold.command("release")
@click.argument("hold_id")
@click.option("--user", "user", required=True, help="Your local account; its password is asked for.")
def release_hold(hold_id: str, user: str) -> None:
    """Release a hold, as a compliance officer: the first who calls asks, another one releases."""
    with logged_in(user) as vault:
        step = holding.let_go(vault, hold_id)
    words = {
        "requested": f"release of {hold_id} is requested: another compliance officer releases with the same command",
        "released": f"{hold_id} is released: what no other hold keeps is due when the law says",
    }
    say(words[step.done], _document(step.hold) | {"done": step.done})


def _spelled(customers: Sequence[str], conversations: Sequence[str], transactions: Sequence[str]) -> str:
    named = {"customer": customers, "conversation": conversations, "transaction": transactions}
    return " and ".join(f"the {name}" for name, ids in named.items() if ids) or "the terms"


def _line(found: Shown, known: Mapping[str, str]) -> str:
    one = found.hold
    counts = ", ".join(
        f"{known.get(ledger, ledger)} {'NOT WHOLE' if count is None else count}"
        for ledger, count in found.counts.items()
    )
    review = "" if one.review_at is None else f"  review {instant(one.review_at)[:10]}{' DUE' if found.due else ''}"
    return f"{one.id}  {found.state:<17}  {found.case or one.case}  {counts}{review}"


def _terms(found: Shown) -> dict[str, str]:
    bounds = {"start": "from", "end": "before"}
    return {
        bounds.get(name, name): instant(value) if isinstance(value, int) else ", ".join(map(str, value))
        for name, value in found.terms.items()
    }


def _shown(found: Shown) -> dict[str, Any]:
    words = {"case_name": found.case, "reason": found.reason, "terms": dict(found.terms)}
    return _document(found.hold) | {"state": found.state, "counts": dict(found.counts), "due": found.due} | words


def _document(one: Hold) -> dict[str, Any]:
    return {
        "hold": one.id,
        "case": one.case,
        "ledgers": list(one.scope.ledgers),
        "classes": list(one.scope.classes),
        "jurisdictions": list(one.scope.jurisdictions),
        "start": perhaps_instant(one.scope.start),
        "end": perhaps_instant(one.scope.end),
        "placed_at": instant(one.placed_at),
        "placed_by": one.placed_by,
        "review_at": perhaps_instant(one.review_at),
        "release_requested_by": one.release_by,
        "released_by": one.released_by,
        "event": one.seq,
    }


def _names(vault: Vault) -> dict[str, str]:
    return {str(one.id): one.row.name for one in ledgers.listing(vault)}
