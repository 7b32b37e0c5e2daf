"""People, grants and records beside each other, without a server: what the verbs of access are tried with.

anna = hire(vault, "anna", "auditor")           an actor with a login of this moment
granted(vault, anna, olaf, ["cn"])              asked by anna, approved by olaf
"""

from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import Any

from tests.support.vault import Installation
from vault import events, grants, ledgers, people, producers
from vault.context import Actor, Vault
from vault.core.errors import VaultError
from vault.core.grant import Grant
from vault.core.leaf import EventLeaf
from vault.core.standing import ProducerKey
from vault.recordline import RecordLine

HOUR = 3_600_000_000
VERIFIER = "Zm9ybXMgbm90aGluZyBidXQgdGhlIGxlbmd0aCBpdCA"
PURPOSE, CASE = "complaint of a customer in Xi'an", "case-4711-secret"


def hire(vault: Vault, name: str, *roles: str) -> Actor:
    """Make an account and return whoever logged in to it just now."""
    made = people.add(vault, name, roles, VERIFIER)
    return Actor(made.id, break_glass=False, roles=made.roles, generation=made.generation)


def asked(vault: Vault, auditor: Actor, names: list[str], **more: Any) -> Grant:
    """Ask for a grant. ``more`` are arguments of ``grants.request``; ``expires_at`` is an hour away by default."""
    wanted: dict[str, Any] = {
        "start": None,
        "end": None,
        "classes": (),
        "fields": "full",
        "purpose": PURPOSE,
        "case": CASE,
        "expires_at": vault.clock() + HOUR,
        "random": os.urandom,
    }
    into = [ledgers.get(vault, name) for name in names]
    return grants.request(vault.acting(auditor), into, **wanted | more).grant


def granted(vault: Vault, auditor: Actor, officer: Actor, names: list[str], **more: Any) -> Grant:
    """Ask for a grant and have it approved."""
    return grants.approve(vault.acting(officer), asked(vault, auditor, names, **more).id).grant


def keyed(vault: Vault, name: str, *names: str) -> ProducerKey:
    """Give a producer a key, and return it as a service that let the producer in holds it."""
    _, secret = producers.add(vault, name, [ledgers.get(vault, one) for one in names], os.urandom)
    found = producers.authenticate(vault.register.standing(), secret)
    assert isinstance(found, ProducerKey)
    return found


def refused(line: RecordLine, key: ProducerKey, raw: bytes = b"{}") -> Exception:
    """Send one record under a key that does not count, and return why it is not taken."""
    try:
        (answer,) = line.take([(1, raw)], key)
    except VaultError as error:
        return error
    assert isinstance(answer, Exception)
    return answer


def happened(vault: Vault, *names: str) -> list[EventLeaf]:
    """Return the events of these names, oldest first."""
    return list(ledgers.history(vault, *names))


def last(vault: Vault, name: str) -> EventLeaf:
    """Return the newest event of a name."""
    return happened(vault, name)[-1]


def recorded(vault: Vault, actor: Actor, name: str, **facts: Any) -> int:
    """Commit one event as somebody, and return its position."""
    return events.record(vault.acting(actor), name, facts).seq


def later(vault: Vault, microseconds: int) -> Vault:
    """Return the same vault some time later."""
    now = vault.clock
    return replace(vault, clock=lambda: now() + microseconds)


def stored(installation: Installation) -> str:
    """Return everything the database holds, and every file of the home that is not a key, as text."""
    files = [path for path in installation.home.rglob("*") if path.is_file() and "keys" not in path.parts]
    return installation.everything_stored() + "\n".join(path.read_bytes().decode("latin-1") for path in files)


def await_(condition: Any, seconds: float = 30) -> Any:
    """Return what a condition comes to once it is true; fails when that takes too long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError("it did not come true in time")
