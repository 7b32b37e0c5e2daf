"""An auditor who opens records one by one: what has to be agreed before, and the requests themselves.

A user for each of the two people whom a grant needs is made by the command line, as an operator would; asking,
approving and reading go over the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.contender import NotRun
from bench.http.installation import Installation
from bench.http.load import Job


@dataclass(frozen=True, slots=True)
class Access:
    """What an auditor holds: a token, and the query that names the grant."""

    token: str
    query: str = ""


def granted(vault: Installation, port: int) -> Access:
    """Have an auditor ask for a grant over the whole ledger and another person approve it.

    Raises:
        NotRun: this version has no such commands.
    """
    raise NotRun("no auditor was given access")


def job(vault: Installation, port: int, access: Access, ids: Sequence[str], file: Path) -> Job:
    """Return the requests that open ``ids`` one after the other; their paths go to ``file``."""
    file.write_text("".join(f"{vault.records_path}/{one}{access.query}\n" for one in ids))
    return Job(
        port=port,
        method="GET",
        path="",
        headers={"Authorization": f"Bearer {access.token}", "Accept": "application/json"},
        paths=file,
        most=len(ids),
        seconds=60,
        connections=1,
        status=200,
        marks=["reasoning-log/1"],
    )
