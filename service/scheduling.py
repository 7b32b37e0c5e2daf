"""Scheduled reports: made for standing orders (reports.orders), kept, delivered.

    1. work out from the events which orders are due for which periods
    2. make each as the person who ordered it, into ``<home>/reports/scheduled``; its event names order and period
    3. write down beside it where it has to go; then, if the order still stands, its person may still have the report
       and the file is the one of its event, deliver it, then ``report.delivered``

A crash in 2 leaves nothing but a hidden directory, and the next run makes the report. A crash between 2 and 3 leaves a
report that the next run finds without its note, and delivers. One that cannot be made or delivered keeps no other from
it; the run fails after all of them, and the next one tries again.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

import msgspec

from reports import orders
from reports.issue import issue
from reports.kind import Wanted
from reports.kinds import kind_of
from reports.orders import DEFAULT, Order
from reports.period import period_of
from service import delivery, wiring
from service.desk import desk_of
from vault import events, ledgers
from vault.context import Vault
from vault.core.canonical import b64
from vault.core.errors import Missing, Modified, Unavailable, VaultError
from vault.ledgers import Ledger

FOLDER: Final = "reports/scheduled"


class Kept(msgspec.Struct):
    """The note beside a kept report."""

    order: str
    sha256: str
    destination: str
    delivered_at: str | None = None


class Due(msgspec.Struct, frozen=True):
    """One report to be made: an order, a period of the ledger's home, and where the file lies then."""

    order: Order
    ledger: Ledger | None
    first: date
    end: date
    file: Path


def run(home: Path, vault: Vault, step: Callable[[], None]) -> Mapping[str, int]:
    """Make what is due and deliver what was not; returns how many of either.

    Raises:
        VaultError: something could not be made or delivered: the first of it, after all the rest.
    """
    folder = home / FOLDER
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob(".*.pdf.*"):  # of a run that was killed; nobody else makes reports here
        shutil.rmtree(left, ignore_errors=True)
    made = delivered = 0
    fault: VaultError | None = None
    for one in due(home, vault):
        step()
        try:
            _make(home, vault, one)
            made += 1
        except VaultError as error:
            fault = fault or _named(error, f"order {one.order.id}, period from {one.first}")
    for file in sorted(folder.glob("*.pdf")):
        step()
        try:
            delivered += _delivered(home, vault, file)
        except VaultError as error:
            fault = fault or _named(error, file.name)
    if fault is not None:
        raise fault
    return {"made": made, "delivered": delivered}


def due(home: Path, vault: Vault) -> Iterator[Due]:
    """Yield what is to be made now, each order's oldest period first."""
    now = datetime.fromtimestamp(vault.clock() // 1_000_000, UTC)
    told, book = orders.issued(vault), wiring.rule_book(vault)
    known = {str(ledger.id): ledger for ledger in ledgers.listing(vault)}
    for order in (*orders.by_default(vault, vault.actor), *orders.standing(vault)):
        ledger = known.get(order.ledger)
        places = () if ledger is None else ledger.genesis.jurisdictions
        zone = ZoneInfo(period_of(book, places, None, None).zone)
        for first, end in orders.periods(order.every, datetime.fromisoformat(order.at), now, zone):
            file = home / FOLDER / f"{_name(order, ledger)}_{first}.pdf"
            kept = file.exists() or _note(file).exists()
            if not (kept and (order.id, order.ledger, first.isoformat()) in told):
                yield Due(order, ledger, first, end, file)


def _make(home: Path, vault: Vault, one: Due) -> None:
    """Step 2, and the note of step 3."""
    order = one.order
    if order.ledger and one.ledger is None:
        raise Missing("the ledger of the order is not there", str(UUID(order.ledger)))
    acting = vault.acting(orders.person(vault, order, vault.actor))
    book = wiring.rule_book(vault)
    places = () if one.ledger is None else one.ledger.genesis.jurisdictions
    wanted = Wanted(
        one.ledger,
        book,
        period_of(book, places, one.first, one.end),
        order.purpose,
        facts={"order": order.id, "due": one.first.isoformat()},
    )
    with desk_of(home, vault, order.language or None) as desk:
        made = issue(acting, kind_of(order.kind), wanted, one.file, desk=desk)
    _write(_note(one.file), Kept(order.id, made.sha256.hex(), order.destination))


def _delivered(home: Path, vault: Vault, file: Path) -> bool:
    """Step 3. Returns whether a report was delivered just now."""
    note = _note(file)
    if note.exists():
        kept = msgspec.json.decode(note.read_bytes(), type=Kept)
    else:  # a run died right after the report's event
        kept = _found(vault, file)
        _write(note, kept)
    if not kept.destination or kept.delivered_at is not None:
        return False
    order = next((one for one in orders.standing(vault) if one.id == kept.order), None)
    if order is None:  # it was ended meanwhile: what was made for it stays here
        return False
    _require(vault, order)
    if _digest(file) != bytes.fromhex(kept.sha256):
        raise Modified(f"{file.name} is not what was issued: somebody changed it, and it was not delivered")
    to = delivery.destination(home, kept.destination)
    delivery.deliver(home, to, file)
    facts = {"order": kept.order, "sha256": b64(bytes.fromhex(kept.sha256)), "by": to.way}
    events.record(vault, "report.delivered", facts, {"destination": kept.destination})
    kept.delivered_at = datetime.fromtimestamp(vault.clock() // 1_000_000, UTC).isoformat()
    _write(note, kept)
    return True


def _found(vault: Vault, file: Path) -> Kept:
    """Return the note of a report that has none, as its event and its order tell it."""
    digest = _digest(file)
    for told in ledgers.history(vault, "report.issued"):
        if told.facts.get("sha256") == b64(digest) and "order" in told.facts:
            order = str(told.facts["order"])
            places = {one.id: one.destination for one in orders.standing(vault)}
            return Kept(order, digest.hex(), places.get(order, ""))
    raise Missing(f"no event knows {file.name}: somebody else's file, or one that was changed")


def _require(vault: Vault, order: Order) -> None:
    """A delivery that waited is decided anew as well: the grant it was made under may have ended."""
    ledger = next((one for one in ledgers.listing(vault) if str(one.id) == order.ledger), None)
    kind_of(order.kind).require(vault.acting(orders.person(vault, order, vault.actor)), ledger)


def _digest(file: Path) -> bytes:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").digest()


def _name(order: Order, ledger: Ledger | None) -> str:
    of = "tenant" if ledger is None else ledger.row.name
    return f"{order.kind}_{of}" + ("" if order.id == DEFAULT else f"_{order.id}")


def _note(file: Path) -> Path:
    return file.with_suffix(".json")


def _write(path: Path, kept: Kept) -> None:
    temporary = path.with_suffix(".new")
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
            file.write(msgspec.json.encode(kept))
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise Unavailable(f"cannot write beside a kept report: {error.strerror}") from None


def _named(error: VaultError, what: str) -> VaultError:
    """The same kind of error, with what it was about."""
    twin = VaultError(f"{what}: {error}")
    twin.exit_code = error.exit_code
    return twin
