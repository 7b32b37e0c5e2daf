"""Fixtures that every test may ask for: a database of its own, a server of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.support.openbao import Bao
from tests.support.postgres import Database, Run
from vault.db.embedded import EmbeddedServer

# No test fails for being slow: machines are shared, and speed belongs into bench.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


@pytest.fixture(scope="session")
def postgres_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """The servers of this test run, shared by its workers."""
    folder = tmp_path_factory.getbasetemp()
    run = Run(folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder)
    yield run
    run.close()


@pytest.fixture
def database(request: pytest.FixtureRequest, postgres_run: Run) -> Iterator[Database]:
    """A migrated, empty database; on a server with fsync for tests marked ``durable``."""
    with postgres_run.database(durable=_needs_durability(request)) as database:
        yield database


@pytest.fixture
def own_server(request: pytest.FixtureRequest, postgres_run: Run, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """An embedded server of the test's own, not yet started, which it may kill and break."""
    home = tmp_path / "home"
    postgres_run.watch(home)
    server = EmbeddedServer(home, durable=_needs_durability(request))
    yield server
    server.discard()


@pytest.fixture(scope="session")
def shared_bao(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bao]:
    server = Bao(tmp_path_factory.mktemp("bao")).made()
    yield server
    server.stop()


@pytest.fixture
def bao(shared_bao: Bao) -> Iterator[Bao]:
    """An OpenBao server that every test of this process shares; who breaks one takes ``own_bao``."""
    yield shared_bao
    shared_bao.let_go()


@pytest.fixture(scope="session")
def stopped_bao(tmp_path_factory: pytest.TempPathFactory) -> Bao:
    server = Bao(tmp_path_factory.mktemp("bao"), "raft").made()
    server.stop()
    return server


@pytest.fixture
def own_bao(stopped_bao: Bao, tmp_path: Path) -> Iterator[Bao]:
    """An OpenBao server of the test's own, whose data outlives a restart."""
    server = stopped_bao.cloned(tmp_path / "bao")
    yield server
    server.let_go()
    server.stop()


def _needs_durability(request: pytest.FixtureRequest) -> bool:
    return request.node.get_closest_marker("durable") is not None
