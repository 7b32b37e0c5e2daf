"""Producers: payment services, known by keys that are shown once and kept as digests.

    rvk_<10 characters, the key's id>_<43 characters, 32 random bytes as base64url>

A key is bound to a producer and to ledgers. Which keys count is read from the chained events (vault.core.standing), so
a key that was revoked is refused from the next commit on, in every process, and a row in the database makes nobody a
producer. The secret has 256 random bits, so its SHA-256 can stand in the events for ever.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b32encode
from collections.abc import Callable

from vault import events
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import Denied, UsageError
from vault.core.standing import ProducerKey, Standing
from vault.events import Event, Ruling
from vault.ledgers import Ledger

MAX_PRODUCER = 64
_KEY = re.compile(r"rvk_([a-z2-7]{10})_([A-Za-z0-9_-]{43})")


def add(vault: Vault, producer: str, ledgers: list[Ledger], random: Callable[[int], bytes]) -> tuple[str, str]:
    """Give a producer a key for some ledgers. A second key beside the first is how keys are changed without a gap.

    Returns:
        The key's id, and the key itself: nobody can show it again.

    Raises:
        UsageError: the producer's name is no word of up to 64 characters, or no ledger is named.
        Denied: only the passphrase's holder gives keys.
    """
    if not producer or len(producer) > MAX_PRODUCER or not canonical.is_word(producer):
        raise UsageError(f"a producer is a word of up to {MAX_PRODUCER} of A-Z a-z 0-9 . _ : / + -")
    if producer == "worker":
        raise UsageError("a producer cannot be called worker: what the vault's own jobs do is told under that name")
    if not ledgers:
        raise UsageError("a producer's key needs at least one --ledger")
    _require_passphrase(vault)
    key, secret = b32encode(random(10))[:10].decode().lower(), canonical.b64(random(32))
    facts = {
        "producer": producer,
        "key": key,
        "digest": canonical.b64(_digest(secret)),
        "ledgers": sorted({str(ledger.id) for ledger in ledgers}),
    }
    events.record(vault, "producer.added", facts)
    return key, f"rvk_{key}_{secret}"


def revoke(vault: Vault, key: str) -> ProducerKey:
    """Revoke a key by its id. From the next commit on nothing is taken under it.

    Raises:
        UsageError: no such key, or it is revoked already.
        Denied: only the passphrase's holder revokes keys.
    """
    _require_passphrase(vault)

    def decide(standing: Standing) -> Ruling[ProducerKey]:
        found = standing.producers.get(key)
        if found is None or found.revoked_at is not None:
            raise UsageError("no key of this id is in force: see 'reasonvault producer list'")
        return Ruling([Event("producer.revoked", {"producer": found.producer, "key": key})], found)

    _, found = events.rule(vault, decide)
    return found


def authenticate(standing: Standing, presented: str) -> ProducerKey | str:
    """Return the key that a bearer's text stands for, or a word that says why it stands for none."""
    match = _KEY.fullmatch(presented)
    if match is None:
        return "malformed"
    found = standing.producers.get(match[1])
    # Hashed and compared for an unknown key too: the time it takes tells nobody which ids there are.
    same = hmac.compare_digest(_digest(match[2]), bytes(32) if found is None else found.digest)
    if found is None or not same:
        return "unknown"
    return "revoked" if found.revoked_at is not None else found


def still_holds(standing: Standing, key: str, ledger: str) -> bool:
    """Say whether a key that was presented before, by its id, is still good for a ledger."""
    found = standing.producers.get(key)
    return found is not None and found.revoked_at is None and ledger in found.ledgers


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def _require_passphrase(vault: Vault) -> None:
    if not vault.actor.break_glass:
        raise Denied("only the holder of the vault's passphrase gives and revokes producer keys")
