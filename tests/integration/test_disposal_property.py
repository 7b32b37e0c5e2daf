"""Whatever is written, held, released, lengthened and disposed of, in whatever order: nothing held or not yet due is
ever destroyed, and everything due and free is destroyed, once.

The model beside the vault knows records, customers and dates. It counts years on a calendar of its own.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from retention import adoption, destroying, disposal, holding, imports
from retention.plan import plan
from tests.support.acting import later
from tests.support.board import COOLING, Board, standing
from tests.support.books import book
from tests.support.decisions import as_file, decision, spelled
from tests.support.vault import Installation
from vault import ledgers
from vault.context import Vault
from vault.verdict import Depth, worst

pytestmark = pytest.mark.usefixtures("unsynced")

HONG_KONG = ZoneInfo("Asia/Hong_Kong")
DAY = 86_400_000_000
CUSTOMERS = 3
ENTRIES = 6  # of one import
LEAP = datetime(2020, 2, 29, 17, tzinfo=UTC)

instants = st.one_of(
    st.datetimes(datetime(2015, 1, 1), datetime(2026, 10, 1)).map(lambda moment: moment.replace(tzinfo=UTC)),
    st.sampled_from([LEAP, LEAP - timedelta(hours=2), datetime(2021, 12, 31, 16, tzinfo=UTC)]),
)
customers = st.integers(0, CUSTOMERS - 1)
records = st.tuples(instants, customers)
imported = st.tuples(st.just("import"), st.lists(records, min_size=1, max_size=ENTRIES))
hold = st.tuples(st.just("hold"), customers)
release = st.tuples(st.just("release"), customers)
adopt = st.tuples(st.just("adopt"), st.integers(3, 8))
wait = st.tuples(st.just("wait"), st.integers(1, 900))
meanwhile = st.one_of(st.none(), hold, release, adopt)
dispose = st.tuples(st.just("dispose"), meanwhile)
steps = st.lists(st.one_of(imported, hold, release, adopt, wait, dispose, dispose), min_size=3, max_size=9)


@dataclass
class Kept:
    """One record as the model knows it; ``years`` is the longest that any book since its writing asks."""

    seq: int
    occurred: datetime
    customer: int
    years: int
    destroyed: bool = False

    def due(self, now: datetime) -> bool:
        """Say whether the month of the first instant after its last day is over."""
        start = self.occurred.astimezone(HONG_KONG).date()
        try:
            last = start.replace(year=start.year + self.years)
        except ValueError:
            last = start.replace(year=start.year + self.years, day=28)
        free = datetime.combine(last + timedelta(days=1), time(), HONG_KONG).astimezone(UTC)
        following = (free.replace(day=1) + timedelta(days=31)).replace(day=1)
        return now >= following.replace(hour=0, minute=0, second=0, microsecond=0)


@dataclass
class World:
    """The vault and the model of it, at one moment."""

    installation: Installation
    board: Board
    folder: Path
    elapsed: int = 0
    books: list[int] = field(default_factory=lambda: [3])
    kept: list[Kept] = field(default_factory=list)
    holds: dict[int, list[str]] = field(default_factory=dict)

    @property
    def vault(self) -> Vault:
        return later(self.board.today, self.elapsed)

    @property
    def now(self) -> datetime:
        return datetime.fromtimestamp(self.vault.clock() / 1_000_000, UTC)

    def officer(self, at: int) -> Vault:
        return self.vault.acting(self.board.officers[at])

    def take(self, step: tuple[str, Any] | None) -> None:
        if step is not None:
            getattr(self, f"_{step[0]}")(step[1])

    def _import(self, wanted: list[tuple[datetime, int]]) -> None:
        first = len(self.kept) + 1
        lines = []
        for number, (occurred, customer) in enumerate(wanted, first):
            changes = {"jurisdictions": ["HK"], "customer_ref": f"cus-{customer}", "occurred_at": occurred.isoformat()}
            lines.append((number, spelled(decision(number, **changes))))
            self.kept.append(Kept(number, occurred, customer, self.books[-1]))
        file = self.folder / f"{first}.jsonl"
        file.write_bytes(as_file(lines))
        ledger = ledgers.get(self.vault, "hk")
        asked = imports.request(self.officer(0), ledger, file, "psp-1", "moved from another system", os.urandom).asked
        imports.approve(self.officer(1), asked.id)
        for _run, _batch in imports.run(self.officer(0), asked.id, file, processes=1):
            pass

    def _hold(self, customer: int) -> None:
        terms = {"ledgers": [ledgers.get(self.vault, "hk")], "customers": [f"cus-{customer}"]}
        placed = holding.place(self.vault, case=f"case-{customer}", reason="a test", random=os.urandom, **terms)
        self.holds.setdefault(customer, []).append(placed.hold.id)

    def _release(self, customer: int) -> None:
        if self.holds.get(customer):
            name = self.holds[customer].pop()
            holding.request_release(self.officer(0), name)
            holding.release(self.officer(1), name)

    def _adopt(self, years: int) -> None:
        content = book(f"book-{len(self.books)}", {"PROD-3Y": {"minimum": f"P{years}Y"}})
        adoption.propose(self.officer(0), content)
        adoption.adopt(self.officer(1), content)
        self.books.append(years)
        for one in self.kept:
            one.years = max(one.years, years)

    def _wait(self, days: int) -> None:
        self.elapsed += days * DAY

    def _dispose(self, step: tuple[str, Any] | None) -> None:
        expected = [one for one in self.kept if self._free(one)]
        made = plan(self.officer(0), ledgers.get(self.vault, "hk"))
        assert made.entries == len(expected)
        if not expected:
            return
        self._approve(made.id)
        self.take(step)
        self.elapsed += COOLING
        doomed = [one for one in expected if self._free(one)]
        done = destroying.run(self.vault, made.id)
        assert (done.entries, done.excepted) == (len(doomed), len(expected) - len(doomed))
        for one in doomed:
            one.destroyed = True
        self.check()

    def _approve(self, name: str) -> None:
        for at in (1, 2):
            disposal.approve(self.officer(at), name, self.board.key(at))

    def _free(self, one: Kept) -> bool:
        return not one.destroyed and one.due(self.now) and not self.holds.get(one.customer)

    def check(self) -> None:
        alive = {one.seq for one in self.kept if not one.destroyed}
        assert standing(self.installation, self.vault, "hk") == alive


@contextmanager
def a_world(bare: Installation) -> Iterator[World]:
    with tempfile.TemporaryDirectory() as folder, bare.copied(Path(folder) / "home") as copy, copy.retaining() as vault:
        yield World(copy, Board.of(vault), Path(folder))


@settings(max_examples=12, suppress_health_check=list(HealthCheck))
@given(first=imported, rest=steps)
def test_nothing_too_early_and_nothing_twice(
    bare: Installation, first: tuple[str, Any], rest: list[tuple[str, Any]]
) -> None:
    with a_world(bare) as world:
        for step in [first, *rest, ("dispose", None)]:
            world.take(step)
        world.check()
        # In the end everybody lets go, and so much time passes that nothing is left.
        for customer in range(CUSTOMERS):
            while world.holds.get(customer):
                world.take(("release", customer))
        world.take(("wait", 30 * 366))
        world.take(("dispose", None))
        assert all(one.destroyed for one in world.kept)
        reports = {report.name: report for report in world.installation.audit(Depth.ENVELOPES)}
        assert worst(list(reports.values())) is None
        assert reports["hk"].erased == len(world.kept)
