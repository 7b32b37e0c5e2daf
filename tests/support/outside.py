"""A vault with witnesses and an authority: ``witness.toml`` written, and the verb with a real client."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service import witness_http
from tests.support.tsa import Authority
from tests.support.witness import Witness
from vault import events, witnessing
from vault.context import Vault
from vault.witnessing import Round


def configure(
    home: Path,
    witnesses: Sequence[Witness] = (),
    authorities: Sequence[Authority] = (),
    *,
    own: Sequence[str] = (),
    **settings: Any,
) -> None:
    """Write ``witness.toml``; ``own`` names witnesses, or "tsa"."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    for one in witnesses:
        lines += ["[[witness]]", f'key = "{one.vkey}"', f'url = "{one.url}"']
        lines += ["own = true"] if one.name in own else []
    for at, authority in enumerate(authorities):
        (home / f"root-{at}.pem").write_bytes(authority.root)
        lines += ["[[authority]]", f'name = "tsa-{at}"', f'url = "{authority.url}"', f'roots = "root-{at}.pem"']
        lines += ["own = true"] if "tsa" in own else []
    (home / "witness.toml").write_text("\n".join(lines) + "\n")


def trusting(vault: Vault) -> dict[str, list[str]]:
    """What a witness has to know of a vault."""
    checkpoints = vault.checkpoints
    return {checkpoints.origin(vault.events): [str(key) for key in checkpoints.in_force(vault.events)]}


def go(vault: Vault, *, stamp: bool = False, timeout: float = 10) -> Round:
    """Go one round over real HTTP."""
    with witness_http.opened(timeout) as post:
        return witnessing.run(vault, post, stamp=stamp)


def stir(vault: Vault, times: int = 1) -> None:
    """Have something happen that a round does not write itself."""
    for _ in range(times):
        events.record(vault, "job.started", {"job": "something", "due": "2026-01-01T00:00:00Z", "attempt": 1})
