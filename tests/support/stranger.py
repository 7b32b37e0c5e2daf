"""The command line from outside: a process of its own, an environment, bytes in and out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.vault import Installation

ROOT = Path(__file__).parents[2]
OURS = ("REASONVAULT_", "DATABASE_")


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
    """Somebody with a shell, in an empty directory, with these variables set and none of ours beside them."""

    folder: Path
    variables: Mapping[str, str]
    command: tuple[str, ...] = (sys.executable, "-m", "cli")

    @classmethod
    def of(cls, site: Installation, folder: Path) -> Stranger:
        """Somebody who uses a vault that is there."""
        return cls(folder, site.environment() | {"PYTHONPATH": str(ROOT)})

    def __call__(self, *arguments: str | Path, stdin: bytes = b"", **variables: str) -> Ran:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(OURS)}
        done = subprocess.run(
            [*self.command, *map(str, arguments)],
            cwd=self.folder,
            env={**environment, **self.variables, **variables},
            input=stdin,
            capture_output=True,
            check=False,
            timeout=120,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr.decode())
        assert "Traceback" not in ran.err, ran.err
        return ran
