"""Every step of an ingest, of a reading, of making a ledger and of init, broken and then done again."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from service import home as homes
from tests.support.breaking import WAYS, Killed, Steps, Way, broken
from tests.support.decisions import decision, decisions, spelled
from tests.support.postgres import Run
from tests.support.vault import CHEAP, Installation
from vault import intake, ledgers, reading
from vault.context import Vault
from vault.core.errors import UnknownOutcome, VaultError
from vault.keys.keyfile import KeyDirectory
from vault.settling import Result, Status
from vault.verdict import Depth, worst

LINES = [
    (1, spelled(decision(1))),
    (2, spelled(decision(1))),
    (3, b"{}"),
    (4, spelled(decision(2))),
    (5, spelled(decision(1, language="en"))),
]
FATES = [Status.ACCEPTED, Status.DUPLICATE, Status.REFUSED, Status.ACCEPTED, Status.CONFLICTING]
PLACES = [1, 1, None, 2, 1]
MOST = 100  # steps; a loop that gets there breaks nothing any more


@pytest.mark.parametrize("way", WAYS)
def test_ingest(bare: Installation, tmp_path: Path, way: Way) -> None:
    """Into a ledger that is new, so that groups and their keys are made on the way."""
    for number in range(MOST):
        with bare.copied(tmp_path / str(number)) as site:
            told: list[Result] = []
            with _broken(number, way) as steps, site.opened() as vault:
                _ingest(vault, told)
            assert [one.status for one in told] in ([], FATES)
            assert bool(told) != steps.broke
            _holds(site)
            again: list[Result] = []
            with site.opened() as vault:
                _ingest(vault, again)
            _completed(site, told, again)
        if not steps.broke:
            break
    assert steps.done.count("commit") >= 6, steps.done  # keys, entries, and the events of both


@pytest.mark.parametrize("way", WAYS)
def test_reading(bare: Installation, tmp_path: Path, way: Way) -> None:
    with bare.copied(tmp_path / "read") as base:
        base.ingest("hk", LINES[:1])
        for number in range(MOST):
            with base.copied(tmp_path / str(number)) as site:
                before, shown = site.size("events"), []
                with _broken(number, way) as steps, site.opened() as vault:
                    shown.append(reading.read(vault, ledgers.get(vault, "hk"), "dec-1", "a test"))
                assert bool(shown) != steps.broke
                assert not shown or site.size("events") > before
                _holds(site, Depth.OPEN)
            if not steps.broke:
                break
    assert steps.done.count("commit") >= 2, steps.done  # the event's keys, the event


@pytest.mark.parametrize("again", [True, False], ids=["made again", "used as it is"])
def test_ledger_create(bare: Installation, tmp_path: Path, again: bool) -> None:
    """Whoever makes it again completes it; so does whoever uses it as it was left."""
    for number in range(MOST):
        with bare.copied(tmp_path / str(number)) as site:
            with _broken(number, "killed") as steps, site.opened() as vault:
                ledgers.create(vault, "tw", ("TW",), ())
            _holds(site)
            with site.opened() as vault:
                made = ledgers.create(vault, "tw", ("TW",), ()) if again else ledgers.find(vault, "tw")
                if made is not None:
                    list(intake.ingest(vault, made, decisions(2), "psp-1", processes=1))
            _holds(site, Depth.OPEN)
            with site.opened() as vault:
                ledgers.create(vault, "tw", ("TW",), ())
                assert [one.row.name for one in ledgers.listing(vault)] == ["events", "hk", "tw"]
                assert sorted(event.facts["name"] for event in ledgers.created(vault)) == ["hk", "tw"]
        if not steps.broke:
            break
    assert steps.done.count("commit") >= 2, steps.done  # the ledger, the event of its creation


def test_init(postgres_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(KeyDirectory, "create", functools.partial(KeyDirectory.create, cost=CHEAP))
    for number in range(MOST):
        with postgres_run.database(durable=False) as database:
            site = Installation(tmp_path / str(number), database)
            with _broken(number, "killed") as steps:
                site.initialise()
            if homes.read_identity(site.home) is not None:
                reports = site.audit(Depth.LEAVES)
                assert not any(report.entries for report in reports if report.faults)  # nothing that could be lost
            site.initialise()
            assert site.initialise() is False
            with site.opened() as vault:
                assert len(list(ledgers.history(vault, "vault.initialised"))) == 1
            _holds(site, Depth.OPEN)
        if not steps.broke:
            break
    assert steps.done.count("commit") == 2, steps.done  # the events ledger, its first event


@contextmanager
def _broken(number: int, way: Way) -> Iterator[Steps]:
    """Break a step of the body, which must end as a kill, or as one of the vault's own errors."""
    with broken(number, way) as steps:
        ended: BaseException | None = None
        try:
            yield steps
        except (Killed, VaultError) as error:
            ended = error
    assert (ended is not None) == steps.broke
    assert ended is None or isinstance(ended, Killed) == (way == "killed"), ended
    if steps.broke and way != "killed" and steps.done[number] == "commit":
        assert isinstance(ended, UnknownOutcome)


def _ingest(vault: Vault, told: list[Result]) -> None:
    for batch in intake.ingest(vault, ledgers.get(vault, "hk"), LINES, "psp-1", processes=1):
        told.extend(batch.results)


def _holds(site: Installation, depth: Depth = Depth.ENVELOPES) -> None:
    reports = site.audit(depth)
    assert worst(reports) is None, [str(fault) for report in reports for fault in report.faults]


def _completed(site: Installation, told: list[Result], again: list[Result]) -> None:
    """After the second run nothing is missing, nothing is there twice, and nothing changed its place."""
    assert [one.seq for one in again] == PLACES
    assert [one.seq for one in told] in ([], PLACES)
    for one, fate in zip(again, FATES, strict=True):
        assert one.status in ({fate, Status.DUPLICATE} if fate is Status.ACCEPTED else {fate})
    (report,) = (one for one in site.audit(Depth.OPEN) if one.name == "hk")
    assert (report.entries, report.size, report.unsealed, report.faults) == (3, 3, 0, [])
    with site.opened() as vault:
        happened = [one.facts["line"] for one in ledgers.history(vault, "record.refused", "record.conflict")]
        keys = {one.facts["key"] for one in ledgers.history(vault, "key.created")}
    assert {3, 5} <= set(happened)
    with psycopg.connect(site.database.superuser_dsn) as connection:
        groups = {row[0] for row in connection.execute("SELECT key_ref FROM vault.key_group")}
    assert keys >= groups
