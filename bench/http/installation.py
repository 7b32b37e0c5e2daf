"""The vault that is measured: made by the command line, as an operator would, in a home and a database of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.contender import Failed

_ROOT = Path(__file__).parents[2]
PHRASE = b"a benchmark has no secrets"
LEDGER = "bench"
SERVE = ("-m", "cli", "serve")
LIMITS = """[service]
records_per_second = 1e6
burst = 1e6
requests_per_second = 1e6
logins_per_minute = 6000
producer_batches = 4
"""
"""Rate limits are for producers who send too much, which is what a benchmark does."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A vault with one ledger and one producer. ``environment`` is what its commands need."""

    home: Path
    environment: dict[str, str]
    key: str

    @property
    def records_path(self) -> str:
        """Where records go, and where they are read."""
        return f"/v1/ledgers/{LEDGER}/records"

    def headers(self, **more: str) -> dict[str, str]:
        """Return the producer's headers."""
        return {"Authorization": f"Bearer {self.key}", **more}

    def command(self, *arguments: str, **more: str) -> dict[str, Any]:
        """Run one command with ``--json``, ``more`` in its environment, and return its document.

        Raises:
            Failed: it ended with another exit code than 0.
        """
        return run(self.environment | more, *arguments)


def make(home: Path, dsn: str) -> Installation:
    """Make a vault, a ledger and a producer's key.

    Raises:
        Failed: a command did not work.
    """
    home.mkdir(mode=0o700, parents=True)
    environment = _environment(home, dsn)
    run(environment, "init")
    run(environment, "ledger", "create", LEDGER, "--jurisdiction", "CN", "--jurisdiction", "SG")
    return ready(home, dsn)


def ready(home: Path, dsn: str) -> Installation:
    """Make the ledger of an existing vault ready to be served, with a producer's key.

    Raises:
        Failed: the command did not work.
    """
    environment = _environment(home, dsn)
    (home / "service.toml").write_text(LIMITS)
    added = run(environment, "producer", "add", "bench", "--ledger", LEDGER)
    return Installation(home, environment, str(added["key"]))


def _environment(home: Path, dsn: str) -> dict[str, str]:
    phrase = home / "passphrase"
    phrase.write_bytes(PHRASE)
    phrase.chmod(0o600)
    return {
        "REASONVAULT_HOME": str(home),
        "REASONVAULT_PASSPHRASE_FILE": str(phrase),
        "DATABASE_URL": dsn,
        "DATABASE_OWNER_URL": dsn,
    }


def run(environment: dict[str, str], *arguments: str) -> dict[str, Any]:
    """Run ``reasonvault ARGUMENTS --json`` and return its document.

    Raises:
        Failed: it ended with another exit code than 0.
    """
    command = [sys.executable, "-m", "cli", *arguments, "--json"]
    done = subprocess.run(command, env={**os.environ, **environment}, cwd=_ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"reasonvault {' '.join(arguments)}: {done.stderr.strip() or done.stdout.strip()}")
    document: dict[str, Any] = json.loads(done.stdout)
    return document
