"""Standing orders: reports that are made again and again, once for each period that has ended.

Whoever may have a report now may order it for the future. An order opens nothing by itself: each time, the report is
made as the person who ordered it, and decided anew by the grant that they hold then. An order whose grant has run out
makes no report, and says so.

    placed     report.ordered    order, kind, ledger, every; purpose, destination and language are sealed
    ended      report.order_ended   by the same person, a compliance officer or the passphrase's holder

A period is a calendar day, week (from Monday), month or quarter of the ledger's home. Which reports are due is worked
out from the events: an order, and no ``report.issued`` that names it and the period's first day.
"""

from __future__ import annotations

import os
from base64 import b32encode
from collections.abc import Callable, Iterator, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final, NamedTuple
from zoneinfo import ZoneInfo

from reports.kind import Kind
from vault import events, ledgers, trace
from vault.context import Actor, Vault
from vault.core.errors import Denied, Unknown, UsageError
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse
from vault.grants import require_text
from vault.ledgers import Ledger
from vault.reading import denial

EVERY: Final = ("day", "week", "month", "quarter")
MOST_BEHIND: Final = 12
"""Periods that are made up for, the newest: a worker that slept for years does not wake to thousands of reports."""

DEFAULT: Final = "default"
"""Id of the order that nobody placed: the integrity report of each ledger, every month. It opens nothing."""


class Order(NamedTuple):
    """One standing order.

    Attributes:
        ledger: uuid; "" for a report on the whole tenant.
        person: who ordered, as events name them; ``break_glass`` for the passphrase's holder.
        at: when, RFC 3339.
        destination: a name that the home's ``delivery.toml`` knows; "" only keeps the report.
        language: "" for the home's own.
    """

    id: str
    kind: str
    ledger: str
    every: str
    person: str
    break_glass: bool
    at: str
    purpose: str
    destination: str
    language: str


def place(
    vault: Vault,
    kind: Kind,
    ledger: Ledger | None,
    *,
    every: str,
    purpose: str,
    destination: str = "",
    language: str = "",
    random: Callable[[int], bytes] = os.urandom,
) -> str:
    """Order a kind of report for every period from now on; returns the order's id.

    Raises:
        Denied: whoever acts may not have that report today; the denial is an event.
        UsageError: no purpose, no such period, or a kind that is not made of periods.
    """
    if every not in EVERY:
        raise UsageError(f"a report is made every {', '.join(EVERY[:-1])} or {EVERY[-1]}")
    if not kind.repeats:
        raise UsageError(f"a {kind.name} is made when somebody asks for it: it cannot be ordered")
    require_text("purpose", purpose)
    kind.require(vault, ledger)
    order = "o-" + b32encode(random(10)).decode().lower()
    facts = {"order": order, "kind": kind.name, "ledger": "" if ledger is None else str(ledger.id), "every": every}
    details = {"purpose": purpose, "destination": destination, "language": language}
    events.record(vault, "report.ordered", facts, details)
    return order


def end(vault: Vault, order: str) -> None:
    """End an order: nothing more is made for it.

    Raises:
        Unknown: there is no such order that whoever acts may end, or it has ended.
    """
    found = next((one for one in standing(vault) if one.id == order), None)

    def decide(now: Standing) -> Ruling[None]:
        officer = vault.actor.break_glass or "officer" in vault.actor.roles_by(now)
        if found is None or not (officer or found.person == vault.actor.name):
            error = Unknown("there is no such order of yours")
            return refuse(error, denial("report.order_end", "unknown", {}))
        return Ruling([Event("report.order_ended", {"order": order})], None)

    events.rule(vault, decide)


def listing(vault: Vault) -> list[Order]:
    """Return the orders that whoever acts may know of: their own; all of them for an officer or the passphrase's
    holder.

    Raises:
        Denied: none of these, nor an auditor.
    """

    def decide(now: Standing) -> Ruling[bool]:
        roles = vault.actor.roles_by(now)
        if not vault.actor.break_glass and not roles & {"auditor", "officer"}:
            error = Denied("only auditors and compliance officers see orders")
            return refuse(error, denial("report.orders", "role", {}))
        return Ruling([], vault.actor.break_glass or "officer" in roles)

    _, everything = events.rule(vault, decide)
    return [one for one in standing(vault) if everything or one.person == vault.actor.name]


def standing(vault: Vault) -> list[Order]:
    """Return the orders that stand, oldest first: one pass over the events."""
    placed: dict[str, tuple[int, Order]] = {}
    for told in ledgers.history(vault, "report.ordered", "report.order_ended"):
        facts: Mapping[str, Any] = told.facts
        if told.event == "report.order_ended":
            placed.pop(str(facts["order"]), None)
            continue
        words = {name: str(facts[name]) for name in ("kind", "ledger", "every")}
        of = Order(str(facts["order"]), **words, person=told.actor, break_glass=bool(facts.get("break_glass")),
                   at=told.at, purpose="", destination="", language="")  # fmt: skip
        placed[of.id] = told.seq, of
    sealed = trace.details(vault, [seq for seq, _ in placed.values()])
    return [_told(one, sealed.get(seq, {})) for seq, one in placed.values()]


def _told(order: Order, details: Mapping[str, Any]) -> Order:
    purpose, destination, language = (str(details.get(name, "")) for name in ("purpose", "destination", "language"))
    return order._replace(purpose=purpose, destination=destination, language=language)


def by_default(vault: Vault, worker: Actor) -> Iterator[Order]:
    """Yield the orders that nobody placed, one a ledger."""
    for ledger in ledgers.listing(vault):
        if ledger.row.kind == "decisions":
            yield Order(DEFAULT, "integrity", str(ledger.id), "month", worker.name, worker.break_glass,
                        ledger.genesis.created_at, "monthly integrity report", "", "")  # fmt: skip


def person(vault: Vault, order: Order, worker: Actor) -> Actor:
    """Return the actor that an order's report is made as.

    Raises:
        Denied: the local account that ordered it is disabled.
    """
    if order.id == DEFAULT:
        return worker
    account = vault.register.standing().people.get(order.person)
    if account is None:  # the passphrase's holder, or a person of an identity provider: a grant decides
        return Actor(order.person, order.break_glass, frozenset({"auditor"}))
    if account.disabled:
        raise Denied(f"the account that placed order {order.id} is disabled: end the order")
    return Actor(order.person, False, account.roles, account.generation)


def issued(vault: Vault) -> set[tuple[str, str, str]]:
    """Return (order, ledger, first day) of what was made for orders."""
    return {
        (str(told.facts["order"]), str(told.facts.get("ledger", "")), str(told.facts["due"]))
        for told in ledgers.history(vault, "report.issued")
        if "order" in told.facts
    }


def periods(every: str, since: datetime, now: datetime, zone: ZoneInfo) -> list[tuple[date, date]]:
    """Return the periods that ended between two instants, oldest first, at the most ``MOST_BEHIND``.

    Each is its first day, and the first day that is no longer included. The one under way at ``since`` is among them.
    """
    found: list[tuple[date, date]] = []
    last, end = since.astimezone(zone).date(), _begin(every, now.astimezone(zone).date())
    while len(found) < MOST_BEHIND and end > last:
        first = _begin(every, end - timedelta(days=1))
        found.append((first, end))
        end = first
    return found[::-1]


def _begin(every: str, day: date) -> date:
    """The first day of the period that a day lies in."""
    if every == "week":
        return day - timedelta(days=day.weekday())
    if every == "month":
        return day.replace(day=1)
    if every == "quarter":
        return day.replace(month=(day.month - 1) // 3 * 3 + 1, day=1)
    return day
