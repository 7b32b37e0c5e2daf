"""Run a command of the command line, and have something killed with SIGKILL when it reaches a named point.

    python -m tests.support.crash --at POINT [--ledger UUID] [--turn N] [--victim PID] [--batch N] -- ingest FILE ...

What is killed is the command itself or, with a victim, that process and its children: a database server. Nothing in the
product knows of this; the points are functions that get a wrapper here.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import itertools
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import cli
from tests.support.postgres import ROOT
from tests.support.vault import Installation
from vault import intake
from vault.checkpoints import Checkpoints
from vault.core import receipt
from vault.db import moving, store
from vault.journal import Journal
from vault.keys.keyfile import KeyDirectory


class Point(NamedTuple):
    """Before or after a call of ``owner.name``. The call must be about the ledger, where one is given."""

    owner: Any
    name: str
    late: bool = False


POINTS = {
    "before the lock": Point(store, "lock_head"),
    "under the lock": Point(store, "lock_head", late=True),
    "after COPY of the leaves": Point(store, "copy_entries", late=True),
    "after COPY of the envelopes": Point(store, "copy_sealed", late=True),
    "after the head moved": Point(store, "move_head", late=True),
    "after the announcement": Point(Checkpoints, "announce", late=True),
    "after COMMIT": Point(Checkpoints, "publish"),
    "half way in the checkpoint": Point(os, "replace"),
    "after the checkpoint": Point(Checkpoints, "publish", late=True),
    "before the receipt": Point(receipt, "issue"),
    "while sealing": Point(intake, "_seal_in_worker"),
}
WRITING = tuple(POINTS)
"""Those that a command comes by which takes records in."""

POINTS |= {
    "after the journal": Point(Journal, "append", late=True),
    "after keys moved": Point(moving, "move", late=True),
    "after a key died": Point(KeyDirectory, "destroy_due", late=True),
    "before keys are emptied": Point(moving, "empty"),
}


def run(
    site: Installation,
    point: str,
    *arguments: str,
    ledger: str = "",
    turn: int = 1,
    victim: int = 0,
    batch: int = intake.BATCH,
) -> subprocess.CompletedProcess[str]:
    """Run a command that kills at a point, the ``turn``-th time that the point is reached for the named ledger.

    Returns when nobody holds the command's output any more, so that a process left behind fails the test.
    """
    options = {"at": point, "ledger": str(site.ledger(ledger)) if ledger else "", "turn": turn, "victim": victim}
    command = [sys.executable, "-m", "tests.support.crash", f"--batch={batch}"]
    command += [f"--{name}={value}" for name, value in options.items()]
    environment = {**os.environ, **site.environment()}
    return subprocess.run(
        [*command, "--", *arguments],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def arm(point: Point, ledger: str, turn: int, victim: int) -> None:
    """Put the wrapper in the place of the point's function."""
    real: Callable[..., Any] = getattr(point.owner, point.name)
    reached = itertools.count(1)

    @functools.wraps(real)
    def armed(*arguments: Any, **more: Any) -> Any:
        now = _concerns(ledger, arguments) and next(reached) == turn
        if now and not point.late:
            _kill(victim)
        result = real(*arguments, **more)
        if now and point.late:
            _kill(victim)
        return result

    setattr(point.owner, point.name, armed)


def _concerns(ledger: str, arguments: tuple[Any, ...]) -> bool:
    """Say whether a call is about the ledger: its uuid, the path of its checkpoint, or no ledger asked for."""
    return not ledger or any(str(one) == ledger or str(one).endswith(f"{ledger}/checkpoint") for one in arguments)


def _kill(victim: int) -> None:
    if not victim:
        os.kill(os.getpid(), signal.SIGKILL)
    children = f"/proc/{victim}/task/{victim}/children"
    with contextlib.suppress(FileNotFoundError):  # elsewhere than on Linux the orphans end by themselves
        children = Path(children).read_text()
    os.kill(victim, signal.SIGKILL)
    for child in children.split():
        with contextlib.suppress(ProcessLookupError, ValueError):
            os.kill(int(child), signal.SIGKILL)


def main() -> None:
    """Read the command line and become the command."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--at", choices=POINTS, required=True)
    parser.add_argument("--ledger", default="")
    parser.add_argument("--turn", type=int, default=1)
    parser.add_argument("--victim", type=int, default=0)
    parser.add_argument("--batch", type=int, default=intake.BATCH)
    parser.add_argument("command", nargs="+")
    given = parser.parse_args()
    intake.BATCH = given.batch
    arm(POINTS[given.at], given.ledger, given.turn, given.victim)
    cli.main(given.command, prog_name="reasonvault")


if __name__ == "__main__":
    main()
