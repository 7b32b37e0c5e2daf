"""Retaining: what a report says about keeping: rule books, rules, groups, holds and what is restricted.

Figures of the period come from its leaves. Holds, requests and reported dates are those of the whole ledger, as the
events said when the report was made.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from reports import model
from reports.figures import Count
from reports.phrase import phrase
from reports.statistics import PopulationCount
from retention import books
from retention.history import Adopted, History
from retention.keeping import adopted, carried
from retention.rules import Rule, RuleBook
from vault import selections
from vault.context import Vault
from vault.core.canonical import b64
from vault.core.governance import Governance
from vault.core.selection import Selection
from vault.ledgers import Ledger


def retention(vault: Vault, ledger: Ledger, book: RuleBook, count: PopulationCount) -> model.Retention:
    """Return the section's figures; ``book`` is the one in force.

    Raises:
        Missing, Modified: a rule book, or the set of a hold or a request, is not whole.
    """
    history = History.read(vault)
    chain = books.chain(vault, [one.digest for one in history.books]) or (book,)
    governance = vault.register.standing().governance
    genesis, used, by_book = ledger.genesis, count.rule_counts(), count.book_counts()
    adoption = adopted(carried(chain, genesis.rules), genesis.jurisdictions, genesis.rules)
    rules = [(rule, _of_another(rule, chain)) for rule in adoption.adopted] + [
        (rule, _why(rule, reason)) for rule, reason in adoption.not_adopted
    ]
    return model.Retention(
        rulebook_version=book.version,
        rulebook_digest=book.digest,
        rules=tuple(_rule(rule, reason, used) for rule, reason in [*rules, *_earlier(chain, rules, used)]),
        groups=count.groups(),
        total_groups=count.group_count,
        restricted=count.flagged("erasure_conflict"),
        unconfigured=count.flagged("unconfigured_jurisdiction"),
        holds=_holds(vault, ledger, governance),
        books=tuple(
            _book(one, told, by_book.get(b64(one.digest), 0)) for one, told in zip(chain, history.books, strict=False)
        ),
        asked=_size(vault, ledger, {one.selection for one in governance.restrictions if one.ledger == str(ledger.id)}),
        dated=len(history.dated(str(ledger.id))),
    )


def _rule(rule: Rule, reason: str | None, used: dict[str, int]) -> model.Rule:
    """A rule the ledger did not adopt may still be that of a record, which may name jurisdictions of its own."""
    records = used.get(rule.id, 0)
    return model.Rule(
        rule_id=rule.id,
        jurisdiction=rule.jurisdiction,
        instrument=rule.instrument,
        minimum=rule.minimum,
        trigger=rule.trigger,
        erase=rule.erase,
        status=rule.status,
        adopted=reason is None or records > 0 or reason.startswith(_OF),
        reason=reason,
        records=records,
    )


_OF = "of rule book "  # how the reasons begin that name another book


def _why(rule: Rule, reason: str) -> str:
    """Return why a ledger does not apply a rule (retention.keeping), as a phrase."""
    place = rule.jurisdiction
    known = (
        phrase("applies only to records that name {place}", place=place),
        phrase("optional, and the ledger did not opt in"),
        phrase("optional, and the ledger is not of {place}", place=place),
    )
    return next((one for one in known if one == reason), reason)


def _of_another(rule: Rule, chain: tuple[RuleBook, ...]) -> str | None:
    """Say so where the book in force leaves a rule out that the ledger opted into."""
    if rule.id in chain[-1].rules:
        return None
    return next(
        phrase("of rule book {version}, for this ledger", version=one.version)
        for one in reversed(chain)
        if rule.id in one.rules
    )


def _earlier(
    chain: tuple[RuleBook, ...], listed: Iterable[tuple[Rule, str | None]], used: dict[str, int]
) -> list[tuple[Rule, str | None]]:
    """Return the rules that leaves name and the book in force has no more, as the latest book that had them states."""
    known = {rule.id for rule, _ in listed}
    found: list[tuple[Rule, str | None]] = []
    for id_ in sorted(used.keys() - known):
        book = next((one for one in reversed(chain) if id_ in one.rules), None)
        if book is not None:
            found.append(
                (book.rules[id_], phrase("of rule book {version}, for what was written under it", version=book.version))
            )
    return found


def _book(book: RuleBook, told: Adopted, records: int) -> model.BookInForce:
    return model.BookInForce(book.version, book.digest, datetime.fromtimestamp(told.at // 1_000_000, UTC), records)


def _holds(vault: Vault, ledger: Ledger, governance: Governance) -> tuple[Count, ...]:
    found = []
    for hold in governance.holds.values():
        sets = {digest for place, digest in hold.sets if place == str(ledger.id)}
        if hold.is_open and sets:
            found.append(
                Count(phrase("hold {hold}, case {case}", hold=hold.id, case=hold.case), _size(vault, ledger, sets))
            )
    return tuple(found)


def held(vault: Vault, ledger: Ledger) -> Selection:
    """Return the positions that open holds have frozen.

    Raises:
        Missing, Modified: the set of a hold is not whole.
    """
    governance = vault.register.standing().governance
    place = str(ledger.id)
    open_ = (hold for hold in governance.holds.values() if hold.is_open)
    return _joined(vault, ledger, {digest for hold in open_ for at, digest in hold.sets if at == place})


def _size(vault: Vault, ledger: Ledger, digests: Iterable[str]) -> int:
    return len(_joined(vault, ledger, digests))


def _joined(vault: Vault, ledger: Ledger, digests: Iterable[str]) -> Selection:
    joined = Selection()
    for digest in sorted(digests):
        joined |= selections.load(vault, ledger.id, digest)
    return joined
