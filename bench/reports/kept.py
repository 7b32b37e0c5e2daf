"""Ledgers that reports are made of: taken in for a run, or kept from one run to the next, since a million take minutes.

with kept(folder, home) as ledgers, ledgers(100_000) as place: ...
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from bench import contender, records, server
from bench.__main__ import say
from bench.contender import Task
from bench.server import Server

_READY: Final = "ready"
"""A file in a vault's folder: its records were taken in to the end."""


class Place(NamedTuple):
    """A ledger that reports are made of."""

    at: Server
    home: Path
    dsn: str
    records: int


Ledgers = Callable[[int], AbstractContextManager[Place]]
"""Given a number of records, the ledger that has them."""


@contextmanager
def kept(folder: Path, home: Path | None) -> Iterator[Ledgers]:
    """Yield what makes or finds ledgers.

    Args:
        folder: of the run, where the server lives unless ``home`` says otherwise.
        home: where server and ledgers stay for the next run; None keeps nothing.
    """
    base = folder if home is None else home.absolute()
    with server.running(base, keep=home is not None) as at:
        yield partial(_ledger, at, base)


@contextmanager
def _ledger(at: Server, folder: Path, count: int) -> Iterator[Place]:
    name = f"evidence_{count}"
    base = folder / name
    if not (base / _READY).exists():
        say(f"  taking in {count:,} records")
        shutil.rmtree(base, ignore_errors=True)
        base.mkdir(parents=True)
        at.drop(name)
        file = records.spool(base / "in.jsonl", records.pool(None).records, count)
        task = Task(contender="ingest", home=base / "home")
        contender.run(task.at(at.kept(name), at.admin_dsn, at.pid, file))
        file.unlink()
        (base / _READY).touch()
    yield Place(at, base / "home", at.kept(name), count)
