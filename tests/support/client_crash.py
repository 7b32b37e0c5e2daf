"""Kills a client at each of its steps on the disk, before the step and after it.

    python -m tests.support.client_crash put|deliver URL FOLDER

For every step there is a folder ``FOLDER/<number>-<before|after>`` with what a process left that was killed there; the
file ``returned`` in it names the records for which ``log(mode="spool")`` had returned. This process has one thread
whenever it forks, so that each child starts from the same state.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

from reasonvault_client import Backoff, Client

from tests.support.client_server import KEY, record

STEPS = ("write", "pwrite", "fsync", "rename", "replace", "link", "unlink", "mkdir")
"""What changes the disk; every one of these calls is a step."""
OPTIONS: dict[str, Any] = {"deliver": False, "backoff": Backoff(0.001, 0.01), "flush_timeout": 0.1}
POISON = "poison"


def client(url: str, folder: Path) -> Client:
    return Client(url, "payments", KEY, spool=folder / "spool", **OPTIONS)


def put(url: str, folder: Path) -> None:
    """Spool three records of a folder; the second open meets what the first one left."""
    for turn in range(2):
        opened = client(url, folder)
        for number in range(turn + 1):
            name = f"{folder.name}-{turn}-{number}"
            opened.log(record(name), mode="spool")
            with (folder / "returned").open("a") as file:
                file.write(f"dec-{name}\n")  # not by os.write, so it is no step


def fill(url: str, folder: Path) -> None:
    """Spool what ``deliver`` delivers: parcels of one record, one of which the vault refuses."""
    with client(url, folder) as opened:
        for number in (0, POISON, 2):
            opened.log(record(f"{folder.name}-{number}"), mode="spool")


def deliver(url: str, folder: Path) -> None:
    """Deliver what the folder holds."""
    client(url, folder).drain(10)


def kill_at(step: int, after: bool) -> None:
    """Have this process killed at its step of this number."""
    numbers = count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*arguments: Any, **named: Any) -> Any:
            mine = next(numbers) == step
            if mine and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            try:
                return call(*arguments, **named)
            finally:
                if mine:
                    os.kill(os.getpid(), signal.SIGKILL)

        return wrapper

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))


def main(job: str, url: str, base: Path) -> None:
    for step in count():
        for after in (False, True):
            folder = base / f"{step:03d}-{'after' if after else 'before'}"
            folder.mkdir()
            if job == "deliver":
                fill(url, folder)
            child = os.fork()
            if child == 0:
                kill_at(step, after)
                (put if job == "put" else deliver)(url, folder)
                os._exit(0)
            _, status = os.waitpid(child, 0)
            if os.WIFEXITED(status):
                assert os.WEXITSTATUS(status) == 0, f"{folder.name} failed"
                return


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
