"""From the facts of one record to how long it is kept.

Which rules apply: those of ``*``, plus the defaults of every jurisdiction concerned and of its parents (DE
-> EU), plus those the ledger opted into. Concerned are the record's own jurisdictions and its ledger's.
Everything is a maximum, so one more jurisdiction or one more rule never shortens a keeping.

- A rule that the ledger opted into applies to every record of that ledger, also to one whose jurisdictions
  it does not touch. ``record_class`` chooses no rule yet: a ledger for class ``aml`` opts into the rules of
  that class.
- A rule that the ledger opted into and that a newer book leaves out goes on as the last book had it
  (``carried``): nobody shortens by leaving out.
- A ledger cannot opt out of a default rule yet.
- A rule counts its days in the zone of its own jurisdiction and in those of the concerned codes that belong
  to it; a rule of ``*`` in the zones of all concerned codes. The latest end decides.
- The floor is also counted from ``received_at``, so that an old or invented ``occurred_at`` makes no record
  due.
- A code that the book does not list gets the floor, counted as the worst zone on Earth would count it:
  no zone has a later date than UTC+14, and none ends a day later than UTC-12.
- A period that waits for an event (``relationship_ended``) leaves the record open-ended, unless the record
  itself reports that event.

Not decided here: later rule books and datings (``retention.reckoning``), and holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

from retention.counting import Counted, Plan, remember
from retention.rules import EVERYWHERE, Rule, RuleBook
from vault.core.errors import UsageError
from vault.core.keeping import Facts, Keeping

_PLANS = 256  # the bound keeps memory flat even where each record names other jurisdictions
_CODE = re.compile(r"[A-Z]{2}", re.ASCII)


class Adoption(NamedTuple):
    """What a ledger lives by; ``not_adopted`` pairs each other rule with the reason, for printing."""

    adopted: tuple[Rule, ...]
    not_adopted: tuple[tuple[Rule, str], ...]


def adopted(book: RuleBook, ledger_jurisdictions: Iterable[str], opted_in: Iterable[str]) -> Adoption:
    """Which rules of the book every record of a ledger meets, and why the others are left out.

    A record that names further jurisdictions meets their defaults as well.

    Raises:
        UsageError: an opted-in id that the book does not have, or a jurisdiction that is no code.
    """
    chosen = _known_rules(book, opted_in)
    touched = {parent for code in _codes(ledger_jurisdictions) for parent in book.lineage(code)}
    taken: list[Rule] = []
    left: list[tuple[Rule, str]] = []
    for rule in book.rules.values():
        if rule.id in chosen or (rule.applies == "default" and rule.jurisdiction in {EVERYWHERE, *touched}):
            taken.append(rule)
        elif rule.applies == "default":
            left.append((rule, f"applies only to records that name {rule.jurisdiction}"))
        elif rule.jurisdiction in {EVERYWHERE, *touched}:
            left.append((rule, "optional, and the ledger did not opt in"))
        else:
            left.append((rule, f"optional, and the ledger is not of {rule.jurisdiction}"))
    return Adoption(tuple(taken), tuple(left))


def carried(books: Sequence[RuleBook], opted_in: Iterable[str]) -> RuleBook:
    """Return the last of some books, with the rules that a ledger opted into and only an earlier one has.

    Such a rule goes on as the latest book that has it states it, with the jurisdictions that it needs. Whoever wants it
    to end says so in the book: by ``effective_until``.
    """
    book = books[-1]
    for id_ in sorted(frozenset(opted_in) - book.rules.keys()):
        earlier = next((one for one in reversed(books) if id_ in one.rules), None)
        if earlier is None:
            continue  # the keeper refuses it by name
        rule = earlier.rules[id_]
        needed = {code: earlier.jurisdictions[code] for code in earlier.lineage(rule.jurisdiction)}
        book = replace(book, rules={**book.rules, id_: rule}, jurisdictions={**needed, **book.jurisdictions})
    return book


def keeper(book: RuleBook, *, ledger_jurisdictions: tuple[str, ...], opted_in: tuple[str, ...]) -> LedgerKeeper:
    """The function that dates every record of one ledger.

    It depends on nothing but its arguments and the zone data, can be pickled, and takes about a microsecond a
    record. The Keeping objects it returns are shared.

    Raises:
        UsageError: an opted-in id that the book does not have, or a jurisdiction that is no code.

    The function raises:
        RefusedInput: a period would end after year 9999; the path names the trigger. Instants before year 1
            of the local calendar count as its first day.
    """
    return LedgerKeeper(book, _codes(ledger_jurisdictions), _known_rules(book, opted_in))


class LedgerKeeper:
    """See ``keeper``. ``counted`` gives what ``retention.reckoning`` needs besides."""

    def __init__(self, book: RuleBook, ledger: tuple[str, ...], chosen: frozenset[str]) -> None:
        self._book = book
        self._ledger = ledger
        self._chosen = chosen
        self._plans: dict[tuple[str, ...], Plan] = {}

    def __call__(self, facts: Facts) -> Keeping:
        return self.counted(facts).keeping

    def __reduce__(self) -> tuple[type[LedgerKeeper], tuple[RuleBook, tuple[str, ...], frozenset[str]]]:
        return LedgerKeeper, (self._book, self._ledger, self._chosen)  # what it remembers is not worth sending

    def counted(self, facts: Facts) -> Counted:
        plan = self._plans.get(facts.jurisdictions)
        if plan is None:
            concerned = tuple(dict.fromkeys((*self._ledger, *facts.jurisdictions)))
            plan = Plan(self._book, concerned, self._chosen)
            remember(self._plans, facts.jurisdictions, plan, _PLANS)
        return plan.count(facts)


def _codes(jurisdictions: Iterable[str]) -> tuple[str, ...]:
    codes = tuple(dict.fromkeys(jurisdictions))
    for code in codes:
        if not _CODE.fullmatch(code):
            raise UsageError(f"the ledger's jurisdiction {code!r} is no ISO 3166-1 code of two capital letters")
    return codes


def _known_rules(book: RuleBook, ids: Iterable[str]) -> frozenset[str]:
    chosen = frozenset(ids)
    for unknown in sorted(chosen - book.rules.keys()):
        raise UsageError(f"the rule book {book.version} has no rule {unknown!r}")
    return chosen
