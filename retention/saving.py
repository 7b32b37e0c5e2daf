"""Saving: from the terms of a hold to a frozen set of records that can still be kept.

A disposal that passed its commit point only goes forward, so what it destroys is taken out and told. Whether one passed
it since is asked again under the events ledger's lock (``unchanged``); if so, ``Stale`` sends the caller back.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple
from uuid import UUID

from vault import selections
from vault.context import Vault
from vault.core.errors import Forked, Stale
from vault.core.governance import Disposal, DisposalState, Governance
from vault.core.selection import Selection
from vault.matching import Terms, matching

_PASSED: Final[frozenset[DisposalState]] = frozenset({"destroying", "done"})
_COMING: Final[frozenset[DisposalState]] = frozenset({"planned", "intended"})


class Found(NamedTuple):
    """What matches: the records, and how many of them are not what their leaf says."""

    records: Selection
    unsound: int


@dataclass(frozen=True, slots=True)
class Saved:
    """A frozen set of one ledger.

    Attributes:
        selection: digest of the set, which is stored.
        lost: disposal past its commit point -> matching records that it destroys.
        stopped: disposal before it -> matching records that it will leave behind.
        passed: disposals of the ledger past their commit point, when this was made.
    """

    ledger: str
    selection: str
    count: int
    lost: Mapping[str, int]
    stopped: Mapping[str, int]
    passed: frozenset[str]


def find(vault: Vault, ledger: str, terms: Terms, first: int, size: int) -> Found:
    """Return what matches at positions from ``first`` and below ``size``; raises as ``vault.matching.matching``."""
    seqs: list[int] = []
    unsound = 0
    for match in matching(vault, UUID(ledger), terms, first, size):
        seqs.append(match.seq)
        unsound += match.facets is None
    return Found(Selection.of(seqs), unsound)


def save(vault: Vault, ledger: str, found: Selection) -> Saved:
    """Freeze what can still be kept of a set. Nothing is held before an event names the digest.

    Raises:
        Missing, Modified: the set of a disposal is not whole.
    """
    governance = vault.register.standing().governance
    ending = _disposals(governance, ledger, _PASSED)
    kept = found
    lost: dict[str, int] = {}
    for one in ending:
        if not one.final:
            continue  # nothing was left to destroy when it ran
        dead = found & selections.load(vault, UUID(ledger), one.final)
        if dead:
            lost[one.id] = len(dead)
            kept = kept - dead
    stopped: dict[str, int] = {}
    for one in _disposals(governance, ledger, _COMING):
        if left := kept & selections.load(vault, UUID(ledger), one.selection):
            stopped[one.id] = len(left)
    digest = selections.keep(vault, UUID(ledger), kept)
    return Saved(ledger, digest, len(kept), lost, stopped, frozenset(one.id for one in ending))


def unchanged(governance: Governance, saved: Saved) -> None:
    """Raise ``Stale`` where a disposal passed its commit point since ``save``; for deciders, under the lock."""
    if frozenset(one.id for one in _disposals(governance, saved.ledger, _PASSED)) != saved.passed:
        raise Stale("a disposal began to destroy meanwhile")


def size_of(vault: Vault, ledger: str) -> int:
    """Return how many entries of a ledger are signed.

    Raises:
        Forked: the checkpoint outside the database is missing.
    """
    checkpoint = vault.checkpoints.read(UUID(ledger))
    if checkpoint is None:
        raise Forked("the checkpoint outside the database is missing", ledger)
    return checkpoint.size


def said(terms: Terms) -> dict[str, Any]:
    """Return terms as the event of a hold seals them."""
    named: dict[str, Any] = {name: list(values) for name, values in terms.named.items() if values}
    lists = {name: list(getattr(terms, name)) for name in ("classes", "jurisdictions") if getattr(terms, name)}
    bounds = {name: getattr(terms, name) for name in ("start", "end") if getattr(terms, name) is not None}
    return named | lists | bounds


def terms_of(told: Mapping[str, Any]) -> Terms:
    """Return the terms that ``said`` spelled."""
    lists = {name: tuple(map(str, told.get(name, ()))) for name in _LISTS}
    start, end = told.get("start"), told.get("end")
    return Terms(
        lists["customer"],
        lists["conversation"],
        lists["transaction"],
        lists["classes"],
        lists["jurisdictions"],
        None if start is None else int(start),
        None if end is None else int(end),
    )


_LISTS: Final = ("customer", "conversation", "transaction", "classes", "jurisdictions")


def _disposals(governance: Governance, ledger: str, states: frozenset[DisposalState]) -> list[Disposal]:
    return [one for one in governance.disposals.values() if one.ledger == ledger and one.state in states]
