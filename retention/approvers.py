"""Approvers: people with a signing key of their own, which the vault never holds.

A key pair is made on the approver's own machine: the private half is an Ed25519 key in PKCS#8 PEM under a passphrase of
theirs, the public half stands beside it as ``<file>.pub``. Registering tells the public half as an event, by that
person, logged in; only keys that were registered before a disposal was planned count for it. So whoever runs the vault,
its database and its key store can approve nothing.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from vault import events
from vault.context import Vault
from vault.core import canonical
from vault.core import disposal as rules
from vault.core.errors import Denied, RefusedInput, UsageError
from vault.core.governance import ApproverKey
from vault.core.note import VerifierKey
from vault.core.standing import Standing
from vault.events import Event, Ruling, refuse

MIN_PASSPHRASE = 12
"""Bytes: whoever finds the file has all the time in the world to guess."""
_MAX_FILE = 8192
_PRIVATE = b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def make_key(file: Path, passphrase: bytes) -> bytes:
    """Make a key pair: ``file`` for its owner alone, ``<file>.pub`` to be registered. Returns the public half.

    Raises:
        UsageError: one of the two files is there already, or the passphrase is shorter than ``MIN_PASSPHRASE``.
    """
    if len(passphrase) < MIN_PASSPHRASE:
        raise UsageError(f"the passphrase of an approver's key has at least {MIN_PASSPHRASE} characters")
    beside = public_file(file)
    for one in (file, beside):
        if one.exists():
            raise UsageError(f"{one} exists: an approver's key never overwrites a file")
    key = Ed25519PrivateKey.generate()
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(passphrase))
    _write_new(file, private)
    _write_new(beside, key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return key.public_key().public_bytes_raw()


def public_file(file: Path) -> Path:
    """Return where the public half of a key stands."""
    return file.with_name(f"{file.name}.pub")


def read_private(file: Path, passphrase: Callable[[], bytes]) -> Ed25519PrivateKey:
    """Return the private half from a file.

    Args:
        passphrase: asked for once the file was found to be a key under one.

    Raises:
        UsageError: no such file, no encrypted Ed25519 key, or another passphrase.
    """
    data = _read(file)
    if not data.startswith(_PRIVATE):
        raise UsageError(f"{file} is no private key under a passphrase: make one with 'reasonvault approver key'")
    try:
        key = load_pem_private_key(data, passphrase())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise UsageError(f"{file} does not open with this passphrase") from None
    if not isinstance(key, Ed25519PrivateKey):
        raise UsageError(f"{file} is no Ed25519 key")
    return key


def read_public(file: Path, passphrase: Callable[[], bytes]) -> bytes:
    """Return the 32 bytes of a public half, from its own file or out of the private one; raises like ``read_private``.

    Raises:
        UsageError: the file holds neither, or a key under which signatures prove nothing.
    """
    data = _read(file)
    if data.startswith(_PRIVATE):
        return read_private(file, passphrase).public_key().public_bytes_raw()
    try:
        key = load_pem_public_key(data)
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError(f"{file} is no key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError(f"{file} is no Ed25519 key")
    return key.public_bytes_raw()


def register(vault: Vault, public: bytes) -> ApproverKey:
    """Register the key of whoever acts. An earlier one of theirs does not count any more.

    Raises:
        Denied: they are no officer, or the key is somebody's already.
        UsageError: signatures under this key prove nothing.
    """
    try:
        VerifierKey("approver", public)  # refuses points of low order, under which signatures fit many texts
    except RefusedInput as error:
        raise UsageError(error.reason) from None
    person = vault.actor.name
    facts = {"person": person, "public": canonical.b64(public)}

    def decide(standing: Standing) -> Ruling[None]:
        roles = vault.actor.roles_by(standing)
        if (why := rules.why_no_key(standing.governance, person, roles, public)) is not None:
            return refuse(Denied(why), _denied("approver.register"))
        return Ruling([Event("approver.registered", facts)], None)

    told, _ = events.rule(vault, decide)
    return ApproverKey(person, public, told.seq)


def remove(vault: Vault, person: str) -> ApproverKey:
    """Remove somebody's key. What it approved does not count any more, unless the keys died already.

    Raises:
        Denied: whoever acts is no officer, or there is no such key.
    """

    def decide(standing: Standing) -> Ruling[ApproverKey]:
        roles = vault.actor.roles_by(standing)
        if (why := rules.why_no_removal(standing.governance, person, roles)) is not None:
            return refuse(Denied(why), _denied("approver.remove"))
        found = standing.governance.approvers[person]
        return Ruling([Event("approver.removed", {"person": person})], found)

    _, found = events.rule(vault, decide)
    return found


def listing(vault: Vault) -> list[ApproverKey]:
    """Return the keys that count now, the oldest first."""
    return sorted(vault.register.standing().governance.approvers.values(), key=lambda one: one.seq)


def fingerprint(public: bytes) -> str:
    """Return what people compare: ``SHA256:`` and the digest of a public half, base64url."""
    return f"SHA256:{canonical.b64(hashlib.sha256(public).digest())}"


def _denied(act: str) -> Event:
    return Event("access.denied", {"act": act, "code": "role"})


def _write_new(file: Path, data: bytes) -> None:
    """Create a file for its owner alone; one that is already there, or a link, is never written to."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
    except FileExistsError:
        raise UsageError(f"{file} exists: an approver's key never overwrites a file") from None
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from None


def _read(file: Path) -> bytes:
    try:
        with open(file, "rb") as stream:
            return stream.read(_MAX_FILE)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from None
