"""Rule books by their digest, and the one in force.

In force is the book that the events ledger adopted last, from its event on and in every process; until one was adopted,
the book that the vault was initialised with. A newer version of this product brings a newer packaged book, and changes
nothing before two officers have adopted it.

A book is read once a process and known by its digest, so what it says cannot change afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from importlib.resources import files
from uuid import UUID

from sqlalchemy import Engine

from retention.keeping import carried, keeper
from retention.reckoning import Reckoning
from retention.rules import RuleBook, load, load_default
from vault import rulebooks
from vault.context import Conflict, Keeper, Law, Vault
from vault.core.canonical import unb64
from vault.core.errors import Modified, UsageError
from vault.core.standing import Standing


@lru_cache(maxsize=1)
def packaged() -> Mapping[bytes, RuleBook]:
    """Return the books inside this package, by digest."""
    folder = files("retention").joinpath("rulebook")
    found = [load(file.read_bytes()) for file in folder.iterdir() if file.name.endswith(".toml")]
    return {book.digest: book for book in found}


def chain(vault: Vault, digests: Iterable[bytes]) -> tuple[RuleBook, ...]:
    """Return the books of some digests, in their order.

    Raises:
        Missing, Modified: one is neither packaged nor stored, or what is stored is another.
    """
    return tuple(_book(vault.engine, vault.events, digest) for digest in digests)


def adopted(vault: Vault) -> tuple[RuleBook, ...]:
    """Return the books that were in force, in order; the last one is now. Raises like ``chain``."""
    return _in_force(vault.engine, vault.events, vault.register.standing().governance.rulebooks)


def current(vault: Vault) -> RuleBook:
    """Return the book in force. Raises like ``chain``."""
    return adopted(vault)[-1]


def founding() -> Law:
    """Return the law of a vault that is being made: the packaged book."""
    return _law((load_default(),))


class InForce:
    """The law as one process knows it; what ``Vault.law`` calls. Threads share it.

    Args:
        latest: the standing as of the last look; empty before the first.
        look: the standing as of now.
    """

    def __init__(
        self, engine: Engine, events: UUID, latest: Callable[[], Standing], look: Callable[[], Standing]
    ) -> None:
        self._engine = engine
        self._events = events
        self._latest = latest
        self._look = look
        self._lock = threading.Lock()
        self._known: tuple[tuple[str, ...], Law] | None = None

    def __call__(self) -> Law:
        """Return the law.

        Raises:
            Missing, Modified: a book that was adopted is not there, or is another: nothing can be dated then.
            Forked, Unavailable: nobody looked at the events ledger yet, and it cannot be read now.
        """
        named = self._latest().governance.rulebooks or self._look().governance.rulebooks
        known = self._known
        if known is None or known[0] != named:
            with self._lock:
                known = self._known = (named, _law(_in_force(self._engine, self._events, named)))
        return known[1]


def _in_force(engine: Engine, events: UUID, named: tuple[str, ...]) -> tuple[RuleBook, ...]:
    if not named:  # the vault is being made, or its making ended half way
        return (load_default(),)
    return tuple(_book(engine, events, unb64(digest, 32)) for digest in named)


def _law(books: tuple[RuleBook, ...]) -> Law:
    def keep(jurisdictions: tuple[str, ...], rules: tuple[str, ...]) -> Keeper:
        return keeper(carried(books, rules), ledger_jurisdictions=jurisdictions, opted_in=rules)

    @lru_cache(maxsize=64)
    def conflict(jurisdictions: tuple[str, ...], rules: tuple[str, ...]) -> Conflict:
        reckoning = Reckoning(books, jurisdictions, rules, {})
        return lambda leaf, columns, record: reckoning.of_record(leaf, columns, record).conflict

    return Law(books[-1].digest, keep, conflict)


_read: dict[bytes, RuleBook] = {}


def _book(engine: Engine, events: UUID, digest: bytes) -> RuleBook:
    found = packaged().get(digest) or _read.get(digest)
    if found is None:
        try:
            found = load(rulebooks.fetch(engine, events, digest))
        except UsageError as fault:  # this version reads less than the one that adopted it
            raise Modified(f"an adopted rule book cannot be read: {fault}", str(events)) from None
        _read[digest] = found
    return found
