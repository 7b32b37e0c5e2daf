"""The command line from outside: a process of its own, an environment, bytes in and out."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from click.testing import CliRunner

import cli
from tests.support.vault import Installation

ROOT = Path(__file__).parents[2]
OURS = ("REASONVAULT_", "DATABASE_", "PYTHONPATH")


@dataclass(frozen=True)
class Ran:
    """What a command left behind."""

    code: int
    out: bytes
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on standard output."""
        return json.loads(self.out)

    @property
    def complaint(self) -> str:
        """The one line on standard error, without the program's name."""
        (line,) = self.err.splitlines()
        assert line.startswith("reasonvault: "), self.err
        return line.removeprefix("reasonvault: ")


@dataclass(frozen=True)
class Stranger:
    """Somebody with a shell, in a directory of theirs, with these variables set and none of ours beside them.

    ``apart`` runs each command as a process of its own, which costs a second; else it runs in this one.
    """

    folder: Path
    variables: Mapping[str, str]
    command: tuple[str, ...] = (sys.executable, "-m", "cli")
    apart: bool = True

    @classmethod
    def of(cls, site: Installation, folder: Path, *, apart: bool) -> Stranger:
        """Somebody who uses a vault that is there."""
        return cls(folder, site.environment() | {"PYTHONPATH": str(ROOT)}, apart=apart)

    def __call__(self, *arguments: str | Path, stdin: bytes = b"", **variables: str) -> Ran:
        words = [str(argument) for argument in arguments]
        ran = (self._apart if self.apart else self._here)(words, stdin, {**self.variables, **variables})
        assert "Traceback" not in ran.err, ran.err
        return ran

    def _apart(self, words: list[str], stdin: bytes, variables: Mapping[str, str]) -> Ran:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        done = subprocess.run(
            [*self.command, *words],
            cwd=self.folder,
            env={**environment, **variables},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        return Ran(done.returncode, done.stdout, done.stderr.decode())

    def _here(self, words: list[str], stdin: bytes, variables: Mapping[str, str]) -> Ran:
        without = {name: None for name in os.environ if name.startswith(OURS)}
        with contextlib.chdir(self.folder):
            done = CliRunner().invoke(cli.main, words, input=stdin, env={**without, **variables})
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Ran(done.exit_code, done.stdout_bytes, done.stderr)
