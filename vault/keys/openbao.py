"""The key provider over OpenBao: one transit key a reference, which never leaves the server.

    keys = OpenBaoKeys.open(home / "keys-openbao", transit)
    keys.create_key("group.0b0c....2029-01.0")
    wrapped = keys.wrap("group.0b0c....2029-01.0", epoch_key, context)

A secret wrapped by it, 65 bytes:

    offset  size  field
         0     1  version, 1; another version is refused
         1     4  version of the transit key, big-endian, from 1
         5    12  nonce
        17    32  AES-256-GCM ciphertext
        49    16  tag

    derivation context = "reasonvault/openbao/wrap/1" 00 || u8 length of reference || reference || context

The key is ``derived``: the server seals with HKDF-SHA256 of its key and that context, so a secret opens under its own
reference and context only. (Associated data would say the same, but what has any cannot be re-wrapped there.)

What may be concluded of a key, and from what:

    says the record     says the server       says describe
    -                   here                  ENABLED, or DISABLED where it is soft-deleted
    made, or nothing    not here              UNKNOWN
    scheduled           anything              PENDING_DESTROY
    destroyed           not here, and proved  DESTROYED
    destroyed           here again            PENDING_DESTROY: an old copy of the server brought it back
    anything            no clear answer       KeyUnavailable

"Proved" is the canary: this server, this mount, now. A scheduled key is soft-deleted on the server as well, so that
whoever has another token cannot use it either. OpenBao's own backups hold every key that lived when they were made.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Self

import msgspec

from vault.core.errors import KeyGone, KeyUnavailable, Misconfigured, Modified, UsageError
from vault.keys.manifest import Manifest, in_utc
from vault.keys.memory import refuse_pickle
from vault.keys.openbao_book import Book, BookFile
from vault.keys.openbao_http import Forbidden, KeyFacts, Refused, Transit
from vault.keys.provider import (
    SECRET_BYTES,
    KeyDescription,
    KeyRef,
    KeyState,
    check_context,
    check_ref,
    check_secret,
)

WRAPPED_VERSION = 1
WRAPPED_BYTES = 1 + 4 + 12 + SECRET_BYTES + 16

_WRAP_LABEL = b"reasonvault/openbao/wrap/1\0"
_CANARY_LABEL = b"reasonvault/openbao/canary/1\0"
_CIPHERTEXT = re.compile(r"vault:v([1-9][0-9]{0,9}):([A-Za-z0-9+/]{80})")
# The engine's words for a ciphertext that is not whole or not this key's; whatever else it refuses proves no edit.
_NOT_WHOLE = ("cipher: message authentication failed", "invalid ciphertext")


class OpenBaoKeys:
    """A ``KeyProvider``. Processes and threads may share record and server; a forked worker goes on with its copy.

    A reference that ends in ``.`` or ``-`` raises ``UsageError`` too: OpenBao has no such names.
    """

    def __init__(self, book: BookFile, transit: Transit) -> None:
        """For the class methods below."""
        self._book = book
        self._transit = transit

    @classmethod
    def create(cls, directory: Path, transit: Transit) -> Self:
        """Make the record, and a canary on the server. Where there is a record already, open that.

        Raises:
            KeyUnavailable: the server does not answer, or the directory cannot be written.
        """
        book = BookFile(directory)
        if not book.exists():
            canary = f"canary.{secrets.token_hex(16)}"
            _fit(canary, transit.create(canary))
            proof = transit.encrypt(canary, _canary_secret(canary), _bound(canary, _CANARY_LABEL))
            book.create(Book(canary, _packed(proof)))
        return cls.open(directory, transit)

    @classmethod
    def open(cls, directory: Path, transit: Transit) -> Self:
        """Open the record. The server is asked nothing yet. Raises ``KeyUnavailable``, ``Modified``."""
        book = BookFile(directory)
        book.read()
        return cls(book, transit)

    @property
    def name(self) -> str:
        return "openbao"

    def create_key(self, ref: KeyRef) -> None:
        """A key that another process made, in a run cut short, is taken over if nothing can take it off the server."""
        _check(ref)
        with self._book.writing() as book:
            made = book.keys.has_key(ref, "wrap")
            facts = self._transit.read(ref)
            if facts is None:
                self._prove(book)
                if made:
                    raise KeyGone(f"key {ref} is missing from OpenBao, and nobody here destroyed it: restore it there")
                facts = self._transit.create(ref)
            _fit(ref, facts)
            if facts.soft_deleted:
                raise KeyGone(f"key {ref} is disabled")
            if not made:
                self._commit(book, book.keys.with_key(ref, "wrap"))

    def wrap(self, ref: KeyRef, secret: bytes, context: bytes) -> bytes:
        check_secret(secret)
        check_context(context)
        self._check_usable(ref)
        try:
            return _packed(self._transit.encrypt(ref, secret, _bound(ref, context)))
        except (Refused, Forbidden) as error:
            raise self._why_not(ref, error) from None

    def unwrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        check_context(context)
        self._check_openable(ref)
        ciphertext = self._unpacked(ref, wrapped)
        try:
            secret = self._transit.decrypt(ref, ciphertext, _bound(ref, context))
        except (Refused, Forbidden) as error:
            raise self._why_not(ref, error) from None
        if len(secret) != SECRET_BYTES:
            raise Modified(f"a secret wrapped by key {ref} does not have {SECRET_BYTES} bytes")
        return secret

    def rewrap(self, ref: KeyRef, wrapped: bytes, context: bytes) -> bytes:
        """The secret stays on the server."""
        check_context(context)
        self._check_openable(ref)
        ciphertext = self._unpacked(ref, wrapped)
        try:
            return _packed(self._transit.rewrap(ref, ciphertext, _bound(ref, context)))
        except (Refused, Forbidden) as error:
            raise self._why_not(ref, error) from None

    def describe(self, ref: KeyRef) -> KeyDescription:
        """Server and record, compared now; the table above."""
        facts = self._transit.read(_check(ref))
        book = self._book.read()
        known = book.keys.describe(ref)
        if known.state is KeyState.DESTROYED:
            if facts is not None:
                return KeyDescription(KeyState.PENDING_DESTROY, known.destroy_at)
            self._prove(book)
            return known
        if known.state is KeyState.PENDING_DESTROY:
            return known
        if facts is None:
            self._prove(book)
            return KeyDescription(KeyState.UNKNOWN)
        return KeyDescription(KeyState.DISABLED if facts.soft_deleted else KeyState.ENABLED)

    def schedule_destroy(self, ref: KeyRef, at: datetime) -> None:
        """Recorded first, then soft-deleted on the server; the same call again ends what was cut short."""
        at, ref = in_utc(at), _check(ref)
        with self._book.writing() as book:
            keys = book.keys
            known = keys.describe(ref).state
            facts = None if known is KeyState.DESTROYED else self._transit.read(ref)
            if known is KeyState.UNKNOWN and facts is not None:
                keys = keys.with_key(ref, "wrap")  # of a vault whose record is older than its keys
            scheduled = keys.with_schedule(ref, at)
            if facts is None:
                self._prove(book)
            elif known is not KeyState.PENDING_DESTROY:
                scheduled = scheduled.with_disabled(ref, facts.soft_deleted)
            self._commit(book, scheduled)
            if facts is not None and not facts.soft_deleted:
                self._transit.soft_delete(ref)

    def cancel_destroy(self, ref: KeyRef) -> None:
        _check(ref)
        with self._book.writing() as book:
            known = book.keys.describe(ref).state
            if known is KeyState.DESTROYED:
                raise KeyGone(f"key {ref} was destroyed")
            facts = self._transit.read(ref)
            if facts is None:
                self._prove(book)
                raise KeyGone(f"key {ref} is not in OpenBao")
            if known is KeyState.PENDING_DESTROY:
                keys = book.keys.without_schedule(ref)
                if facts.soft_deleted and not keys.keys[ref].disabled:
                    self._transit.restore(ref)
                self._commit(book, keys)

    def destroy_due(self, now: datetime) -> list[KeyRef]:
        """Delete on the server, prove that it is so, then record the tombstones.

        1. The canary answers: this is the server. Keys that an old copy of it brought back count as due.
        2. What is due is marked as dying: past cancelling from here.
        3. Each is deleted. A crash here leaves them PENDING_DESTROY; the next call goes on.
        4. Each is "not here", and the canary answers still.
        5. The tombstones are recorded, together with those of a call that crashed in 3. COMMIT POINT.

        Raises:
            KeyUnavailable: no clear answer at some step; none counts as destroyed then.
        """
        now = in_utc(now)
        with self._book.writing() as book:
            self._prove(book)
            back = frozenset(book.keys.destroyed) & self._transit.names() if book.keys.destroyed else frozenset()
            self._commit(book, book.keys.with_destroying(book.keys.due(now)))
            book = self._book.read()
            dying = book.keys.destroying() | back
            if dying:
                for ref in sorted(dying):
                    self._delete(ref)
                self._prove(book)
                self._commit(book, book.keys.with_destroyed(dying, now))
        return sorted(dying)

    def rotate(self) -> int:
        """Give every living key, and the canary, a new version; returns how many keys.

        What older versions sealed stays sealed under them until it is re-wrapped, so they live as long as the key.
        A run cut short may be repeated: a version more does no harm.
        """
        with self._book.writing() as book:
            self._prove(book)
            count = 0
            for ref, entry in sorted(book.keys.survivors()):
                facts = self._transit.read(ref)
                if entry.destroy_at is None and facts is not None and not facts.soft_deleted:
                    self._transit.rotate(ref)
                    count += 1
            self._transit.rotate(book.canary)
            proof = self._transit.rewrap(book.canary, self._unpacked(book.canary, book.proof), _canary_context(book))
            self._book.commit(msgspec.structs.replace(book, proof=_packed(proof)))
        return count

    def close(self) -> None:
        """Close this process's connections."""
        self._transit.close()

    def __repr__(self) -> str:
        return f"OpenBaoKeys({self._transit!r})"

    def __reduce__(self) -> tuple[object, ...]:
        refuse_pickle(self)

    def _commit(self, book: Book, keys: Manifest) -> None:
        self._book.commit(msgspec.structs.replace(book, keys=keys))

    def _check_usable(self, ref: KeyRef, *, but: KeyState | None = None) -> None:
        """What the record says; a reference it does not know is the server's to judge."""
        state = self._book.read().keys.describe(_check(ref)).state
        if state in (KeyState.PENDING_DESTROY, KeyState.DESTROYED) and state is not but:
            raise KeyGone(f"key {ref} is {state.value}")

    def _check_openable(self, ref: KeyRef) -> None:
        """The same, but that a destroyed key opens nothing is asked of the server, not taken from the record: whoever
        tries it wants proof."""
        self._check_usable(ref, but=KeyState.DESTROYED)
        if self._book.read().keys.describe(ref).state is KeyState.DESTROYED:
            if self.describe(ref).state is KeyState.DESTROYED:
                raise KeyGone(f"key {ref} is destroyed")
            raise KeyUnavailable(
                f"key {ref} was destroyed, and an old copy of OpenBao brought it back: destroy it again"
            )

    def _unpacked(self, ref: KeyRef, wrapped: bytes) -> str:
        """The server's way to write it; ``Modified`` where it cannot be one of ours."""
        version = int.from_bytes(wrapped[1:5], "big")
        if len(wrapped) != WRAPPED_BYTES or wrapped[0] != WRAPPED_VERSION or not version:
            raise Modified(f"a secret said to be wrapped by key {ref} has another length or version")
        return f"vault:v{version}:{base64.b64encode(wrapped[5:]).decode('ascii')}"

    def _why_not(self, ref: KeyRef, error: Refused | Forbidden) -> Exception:
        """What a refusal means, once key and canary were asked; never more than they say."""
        book, facts = self._book.read(), self._transit.read(ref)
        if facts is None:
            self._prove(book)
            return KeyGone(f"key {ref} is not in OpenBao")
        if facts.soft_deleted:
            return KeyGone(f"key {ref} is disabled")
        if isinstance(error, Forbidden):
            return error
        if error.words.startswith(_NOT_WHOLE):
            self._prove(book)
            return Modified(f"a wrapped secret does not open with key {ref} in its context")
        return KeyUnavailable(f"OpenBao refuses to use key {ref}: compare its configuration with the documented one")

    def _prove(self, book: Book) -> None:
        """Raises ``KeyUnavailable`` unless the server opens the canary: it is the one this vault's keys are on."""
        try:
            ciphertext = self._unpacked(book.canary, book.proof)
            if self._transit.decrypt(book.canary, ciphertext, _canary_context(book)) == _canary_secret(book.canary):
                return
        except (Refused, Modified):
            pass
        raise KeyUnavailable(
            "what answers as OpenBao is not where this vault's keys were made, or an older copy of it:"
            " nothing is concluded about any key"
        )

    def _delete(self, ref: KeyRef) -> None:
        if self._transit.read(ref) is None:
            return
        with suppress(Refused):  # another host may have done it; what counts is the look that follows
            self._transit.delete(ref)
        if self._transit.read(ref) is not None:
            raise KeyUnavailable(f"OpenBao does not delete key {ref}: nothing counts as destroyed")


def _check(ref: KeyRef) -> KeyRef:
    if check_ref(ref)[-1] in ".-":
        raise UsageError("a key reference in OpenBao does not end in '.' or '-'")
    return ref


def _fit(ref: KeyRef, facts: KeyFacts) -> None:
    if not facts.fit:
        raise Misconfigured(f"OpenBao has a key {ref} that can leave it, or is of another type: it is not used")


def _bound(ref: KeyRef, context: bytes) -> bytes:
    return _WRAP_LABEL + bytes((len(ref),)) + ref.encode("ascii") + context


def _canary_context(book: Book) -> bytes:
    return _bound(book.canary, _CANARY_LABEL)


def _canary_secret(canary: KeyRef) -> bytes:
    return hashlib.sha256(_CANARY_LABEL + canary.encode("ascii")).digest()


def _packed(ciphertext: str) -> bytes:
    found = _CIPHERTEXT.fullmatch(ciphertext)
    try:
        if found is not None:
            sealed = base64.b64decode(found[2], validate=True)
            return bytes((WRAPPED_VERSION,)) + int(found[1]).to_bytes(4, "big") + sealed
    except (binascii.Error, OverflowError):
        pass
    raise KeyUnavailable("OpenBao answers with a ciphertext of an unknown form")
