"""Break one step of what a piece of work does to the world: a commit that wrote, a rename, a new directory.

    killed        the step happens, and nothing after it
    failed        the step does not happen and says so: an I/O error, or a lost connection
    failed late   the step happens, and the same is said

Being killed before a step is being killed after the one before it. What a power cut adds is not broken here: that files
are synced before they are renamed is held elsewhere.
"""

from __future__ import annotations

import errno
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import psycopg
import pytest
from psycopg.pq import TransactionStatus

Way = Literal["killed", "failed", "failed late"]
WAYS: tuple[Way, ...] = ("killed", "failed", "failed late")


class Killed(BaseException):
    """The process is gone; no handler may catch it."""


@dataclass
class Steps:
    """The steps done so far, by name; ``broke`` says whether the one to break was reached."""

    broken: int
    way: Way
    done: list[str] = field(default_factory=list)
    broke: bool = False

    def step(self, name: str, work: Callable[[], Any], fail: Callable[[], BaseException]) -> Any:
        """Do one step, or break it."""
        if self.broke and self.way == "killed":
            raise Killed  # nothing happens after a kill, whatever a handler tries
        number = len(self.done)
        self.done.append(name)
        if number != self.broken:
            return work()
        self.broke = True
        if self.way != "failed":
            work()
        raise Killed if self.way == "killed" else fail()


@contextmanager
def broken(step: int, way: Way) -> Iterator[Steps]:
    """Break the step of this number, from 0, in the body."""
    steps = Steps(step, way)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("replace", "mkdir"):
            patch.setattr(os, name, _file_step(steps, name, getattr(os, name)))
        patch.setattr(psycopg.Connection, "commit", _commit_step(steps, psycopg.Connection.commit))
        yield steps


def _file_step(steps: Steps, name: str, real: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(real)
    def step(*arguments: Any, **more: Any) -> None:
        if name == "mkdir" and os.path.isdir(arguments[0]):
            real(*arguments, **more)  # raises, and changes nothing
        steps.step(
            f"{name} {arguments[-1] if name == 'replace' else arguments[0]}",
            lambda: real(*arguments, **more),
            lambda: OSError(errno.EIO, os.strerror(errno.EIO)),
        )

    return step


def _commit_step(steps: Steps, real: Callable[[Any], None]) -> Callable[[Any], None]:
    @functools.wraps(real)
    def step(connection: Any) -> None:
        def lost() -> BaseException:
            connection.close()
            return psycopg.OperationalError("consuming input failed: server closed the connection unexpectedly")

        if _has_written(connection):
            steps.step("commit", lambda: real(connection), lost)
        else:
            real(connection)

    return step


def _has_written(connection: Any) -> bool:
    if connection.info.transaction_status is not TransactionStatus.INTRANS:
        return False
    row = connection.execute("SELECT pg_current_xact_id_if_assigned() IS NOT NULL").fetchone()
    return bool(row[0])
