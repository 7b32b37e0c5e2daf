"""Whose signatures count: the vault's verifier key, given by the application or trusted on first use.

Trust on first use is as good as the first answer. Whoever can get the key by another way should pass ``verifier``. The
pin file beside the spool has one verifier key a line; when the vault's owner announces a new key, add it as a line and
start again, or pass both.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from reasonvault_client import files, note, receipts
from reasonvault_client.errors import BadReceipt, Misconfigured, SpoolBroken, VerifierChanged
from reasonvault_client.note import Verifier


class Trusted(NamedTuple):
    """The keys that count, and the ledger that they sign for."""

    origin: str
    verifiers: tuple[Verifier, ...]


class _Description(msgspec.Struct, frozen=True):
    ledger: str
    origin: str
    verifier: str


class Trust:
    """The trusted keys of one ledger.

    Args:
        given: what the application passed; None to trust on first use.
        origin: the expected origin, where the application knows it.
        pin: file that remembers what was trusted; None to remember in memory only.
        producer: the vault's id of this producer, where the application knows it.

    Raises:
        Misconfigured: a key or the pin file is malformed, or a key is another ledger's.
    """

    def __init__(
        self, given: str | Sequence[str] | None, origin: str | None, pin: Path | None, producer: str | None
    ) -> None:
        self._pin, self._origin, self._producer = pin, origin, producer
        self._first_use = given is None
        texts = [given] if isinstance(given, str) else given
        if texts is None and pin is not None and pin.exists():
            try:
                texts = pin.read_text("utf-8").split()
            except (OSError, UnicodeError):
                raise Misconfigured(f"cannot read the verifier key in {pin}") from None
        self._trusted = _trusted(texts, origin) if texts else None

    @property
    def known(self) -> bool:
        """Whether there are keys to check receipts with."""
        return self._trusted is not None

    def adopt(self, description: bytes) -> None:
        """Trust what the vault says about itself, unless something is trusted already.

        Raises:
            VerifierChanged: another process trusted another key first.
            Misconfigured: the vault's answer makes no sense.
        """
        if self._trusted is not None:
            return
        said = self._read(description)
        if self._pin is not None:
            try:
                texts = files.create_once(self._pin, f"{said.verifiers[0]}\n".encode()).decode().split()
            except OSError as error:
                raise SpoolBroken(f"cannot write {self._pin}: {error.strerror}") from None
            pinned = _trusted(texts, self._origin)
            if not _within(said, pinned):
                raise VerifierChanged(f"trusted before: {self._pin}")
            said = pinned
        self._trusted = said

    def check(self, data: bytes, record: bytes) -> receipts.Receipt:
        """Check a receipt; raises BadReceipt."""
        if self._trusted is None:
            raise BadReceipt("no verifier key is known yet")
        return receipts.check(data, record, self._trusted.verifiers, self._trusted.origin, self._producer)

    def compare(self, description: bytes) -> None:
        """Raise VerifierChanged where the vault shows another key than the one trusted so far."""
        if self._first_use and self._trusted is not None and not _within(self._read(description), self._trusted):
            raise VerifierChanged(f"trusted before: {self._pin or 'in this process'}")

    def _read(self, description: bytes) -> Trusted:
        try:
            said = msgspec.json.decode(description, type=_Description)
        except (msgspec.MsgspecError, RecursionError):
            raise Misconfigured("the vault's description of the ledger makes no sense: check url and ledger") from None
        found = _trusted([said.verifier], said.origin)
        if said.origin.rpartition("/")[2] != said.ledger:
            raise Misconfigured("the vault describes a ledger whose origin is another's")
        if self._origin is not None and said.origin != self._origin:
            raise VerifierChanged(f"expected origin: {self._origin}")
        return found


def _within(said: Trusted, trusted: Trusted) -> bool:
    """Say whether all that the vault shows is trusted: while its key changes, the pin file has two."""
    return said.origin == trusted.origin and set(said.verifiers) <= set(trusted.verifiers)


def _trusted(texts: Sequence[str], origin: str | None) -> Trusted:
    verifiers = tuple(note.parse_verifier(text) for text in texts)
    names = {verifier.name for verifier in verifiers}
    if len(names) != 1 or (origin is not None and names != {origin}):
        raise Misconfigured("verifier keys must all be named after the ledger's origin")
    return Trusted(names.pop(), verifiers)
