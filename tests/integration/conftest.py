"""Vaults for tests that need a whole one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import longlog
from tests.support.postgres import Database, Run
from tests.support.tampering import Crime
from tests.support.vault import Installation, build, prepare
from vault import ledgers
from vault.verdict import Depth


@pytest.fixture(scope="session")
def built(postgres_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The vault that all copies are made of. Nobody changes it, and nobody stays connected to it."""
    with postgres_run.database(durable=False) as database:
        yield build(tmp_path_factory.mktemp("built") / "home", database)


@pytest.fixture(scope="session")
def bare(postgres_run: Run, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The same with one ledger, "hk", and nothing in it: for tests that take many copies."""
    with postgres_run.database(durable=False) as database:
        made = prepare(tmp_path_factory.mktemp("bare") / "home", database)
        made.initialise()
        with made.opened() as vault:
            ledgers.create(vault, "hk", ("HK",), ())
        yield made


@pytest.fixture(scope="session")
def long(bare: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A vault whose ledger "hk" has ``longlog.SIZE`` entries. No test changes it for good."""
    with bare.copied(tmp_path_factory.mktemp("long") / "home") as copy:
        longlog.grow(copy, longlog.SIZE - 1)
        yield copy


@pytest.fixture(autouse=True)
def unsynced(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let files reach the disk when they like, as the fast server does, except in tests marked ``durable``."""
    if request.node.get_closest_marker("durable") is None:
        monkeypatch.setattr(os, "fsync", lambda _descriptor: None)


@pytest.fixture
def installation(built: Installation, tmp_path: Path) -> Iterator[Installation]:
    """A vault of the test's own: ledgers "cn" and "sg" with records, and the events that tell of them."""
    with built.copied(tmp_path / "home") as copy:
        yield copy


@pytest.fixture
def fresh(database: Database, tmp_path: Path) -> Installation:
    """A vault that was never initialised: a migrated, empty database, and a home with an empty key directory."""
    return prepare(tmp_path / "home", database)


@pytest.fixture(scope="module")
def site(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """A vault that the tests of a module damage in turn; see ``crime``."""
    with built.copied(tmp_path_factory.mktemp("site") / "home") as copy:
        copy.remember()
        yield copy


@pytest.fixture
def crime(site: Installation) -> Iterator[Crime]:
    """A vault to attack. Undone, it must be whole again."""
    crime = Crime.against(site)
    yield crime
    site.restore()
    crime.clean(Depth.ENVELOPES)
