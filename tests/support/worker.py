"""A worker of its own process, whose jobs wait at a gate: ``python -m tests.support.worker NAMES LEASE_SECONDS``.

The environment is the vault's (tests.support.vault). Each run writes a line, job and the worker's pid, to
``<home>/begun`` and goes on, step by step, until ``<home>/gate`` is there.
"""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from pathlib import Path

from service import worker
from service.jobs.catalogue import Catalogue, Job, WorkerSettings
from service.jobs.schedule import Schedule
from tests.support.vault import PASSPHRASE
from vault.context import Vault
from vault.jobs import Counts, Steps

YEARLY = Schedule("0 0 1 jan *")


def waits(home: Path, name: str, _vault: Vault, steps: Steps) -> Counts:
    """The job."""
    with (home / "begun").open("a") as file:
        file.write(f"{name} {os.getppid()}\n")
    while not (home / "gate").exists():
        steps()
        time.sleep(0.01)
    return {"waited": 1}


def catalogue(home: Path, names: list[str], lease_seconds: float) -> Catalogue:
    """Jobs that are due once a year, so once in a test."""
    jobs = {name: Job(name, "waits", YEARLY, True, partial(waits, home, name)) for name in names}
    return Catalogue(jobs, WorkerSettings(lease_seconds, 0.05, 3600, 2))


if __name__ == "__main__":
    where = Path(os.environ["REASONVAULT_HOME"])
    worker.work(where, PASSPHRASE, catalogue(where, sys.argv[1].split(","), float(sys.argv[2])), "info")
