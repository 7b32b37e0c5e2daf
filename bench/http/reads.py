"""An auditor who opens records one by one: what has to be agreed before, and the requests themselves.

The accounts of the two people whom a grant needs are made by the command line, as an operator would; logging in,
asking, approving and reading go over the wire.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx

from bench.contender import Failed
from bench.http.installation import LEDGER, Installation
from bench.http.load import Job

_WORD = "nobody reads a benchmark"


@dataclass(frozen=True, slots=True)
class Access:
    """What an auditor holds."""

    token: str
    grant: str


def granted(vault: Installation, port: int) -> Access:
    """Have an auditor ask for a grant over the whole ledger, and a compliance officer approve it.

    Raises:
        Failed: a step was refused.
    """
    word = vault.home / "password"
    word.write_text(_WORD)
    word.chmod(0o600)
    for name, role in (("ann", "auditor"), ("bob", "officer")):
        vault.command("user", "add", name, "--role", role, REASONVAULT_PASSWORD_FILE=str(word))
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
        ann, bob = (
            _post(client, "/v1/login", {"user": name, "password": _WORD})["access_token"] for name in ("ann", "bob")
        )
        asked = {
            "ledgers": [LEDGER],
            "fields": "full",
            "purpose": "measuring",
            "case": "bench",
            "expires_at": (datetime.now(UTC) + timedelta(hours=6)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }
        grant = str(_post(client, "/v1/grants", asked, ann)["grant"])
        _post(client, f"/v1/grants/{grant}/approve", None, bob)
    return Access(str(ann), grant)


def job(vault: Installation, port: int, access: Access, ids: Sequence[str], file: Path) -> Job:
    """Return the requests that open ``ids`` one after the other; their paths go to ``file``."""
    file.write_text("".join(f"{vault.records_path}/{one}?grant={access.grant}\n" for one in ids))
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
        marks=['"access_event"', "reasoning-log/1"],
    )


def _post(client: httpx.Client, path: str, document: dict[str, Any] | None, token: str = "") -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    answer = client.post(path, json=document, headers=headers)
    if answer.status_code not in (200, 201):
        raise Failed(f"POST {path}: {answer.status_code} {answer.text[:300]}")
    found: dict[str, Any] = answer.json()
    return found
