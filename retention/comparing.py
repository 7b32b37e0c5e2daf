"""Comparing: what would change for whom if another rule book came into force.

A change that lengthens reaches everything that is kept. One that shortens, or ends, reaches new records only: what is
kept stays as long as its own book says. Lengths are compared as calendar periods, months before days; where the trigger
or the time of effect changes as well, nobody can say which is longer, and the change is called ``changed``.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple

from retention.keeping import adopted, carried
from retention.rules import Rule, RuleBook

Kind = Literal["longer", "added", "shorter", "dropped", "changed", "wording"]
REACH: Final[dict[Kind, str]] = {
    "longer": "applies to all that is kept",
    "added": "applies to all that is kept",
    "shorter": "applies to new records only; what is kept stays as it is",
    "dropped": "ends for new records; ledgers that opted in keep it",
    "changed": "what it lengthens applies to all that is kept, what it shortens to new records only",
    "wording": "changes no date",
}


class Terms(NamedTuple):
    """What a ledger lives by, as its genesis says."""

    ledger: str
    jurisdictions: tuple[str, ...]
    opted_in: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """One rule or jurisdiction that differs.

    Attributes:
        id: of the rule; a jurisdiction's code.
        old, new: the rule on either side; both None for a jurisdiction.
        what: in words.
        ledgers: how many ledgers' own terms meet the rule on either side. Records may name further jurisdictions.
    """

    kind: Kind
    id: str
    old: Rule | None
    new: Rule | None
    what: str
    ledgers: int


def compare(old: RuleBook, new: RuleBook, ledgers: Iterable[Terms]) -> list[Change]:
    """Return the differences, in the order of the new book, what is left out after them."""
    known = list(ledgers)
    changes = []
    for id_ in dict.fromkeys((*new.rules, *old.rules)):
        before, after = old.rules.get(id_), new.rules.get(id_)
        if before != after:
            kind, what = _rule(before, after)
            met = sum(_meets(old, id_, one) or _meets(carried((old, new), one.opted_in), id_, one) for one in known)
            changes.append(Change(kind, id_, before, after, what, met))
    return changes + _jurisdictions(old, new, known)


def _rule(before: Rule | None, after: Rule | None) -> tuple[Kind, str]:
    if before is None:
        assert after is not None
        return "added", f"{after.minimum} from {after.trigger}, {after.applies}"
    if after is None:
        return "dropped", f"{before.minimum} from {before.trigger}, {before.applies}"
    fields = ("jurisdiction", "minimum", "trigger", "erase", "applies", "effective_from", "effective_until")
    moved = [name for name in fields if getattr(before, name) != getattr(after, name)]
    said = [f"{name} {_spelled(getattr(before, name))} -> {_spelled(getattr(after, name))}" for name in moved]
    if not moved:
        other = [name for name in ("instrument", "status", "note") if getattr(before, name) != getattr(after, name)]
        return "wording", ", ".join(other)
    if moved == ["minimum"]:
        old, new = ((rule.period.months, rule.period.days) for rule in (before, after))
        return ("longer" if new > old else "shorter" if new < old else "wording"), said[0]
    if moved == ["applies"]:
        return ("longer" if after.applies == "default" else "shorter"), said[0]
    return "changed", ", ".join(said)


def _jurisdictions(old: RuleBook, new: RuleBook, known: list[Terms]) -> list[Change]:
    changes = []
    for code in dict.fromkeys((*new.jurisdictions, *old.jurisdictions)):
        before, after = old.jurisdictions.get(code), new.jurisdictions.get(code)
        if before == after:
            continue
        kind: Kind = "added" if before is None else "dropped" if after is None else "changed"
        sides = [f"{one.zone}{f', of {one.parent}' if one.parent else ''}" for one in (before, after) if one]
        met = sum(code in one.jurisdictions for one in known)
        changes.append(Change(kind, code, None, None, f"jurisdiction, {' -> '.join(sides)}", met))
    return changes


def _meets(book: RuleBook, id_: str, terms: Terms) -> bool:
    if id_ not in book.rules:
        return False
    opted_in = [one for one in terms.opted_in if one in book.rules]
    return any(rule.id == id_ for rule in adopted(book, terms.jurisdictions, opted_in).adopted)


def _spelled(value: object) -> str:
    return "none" if value is None else str(value)
