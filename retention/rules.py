"""The rule book: the law as data, versioned, validated, and pinned by its digest.

A rule book is one TOML file. It says which instrument demands which minimum from which trigger, and in which
time zone a jurisdiction counts its days. Some stand inside this package (``rulebook/<version>.toml``), and
whichever was ever used stays there; others were adopted by a vault, which keeps them (``retention.books``).
Leaves name a book's digest, which is the SHA-256 of the file's exact bytes.

It is engineering input, not legal advice. Each rule carries how well it was checked (``status``), and that
word is shown wherever the rule is shown.

How the format may grow: ``schema`` is raised, and the reader of each schema stays. Schema 2 added
``effective_from`` and ``effective_until`` to a rule.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from importlib.resources import files
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from retention.period import Period, zone
from vault.core.errors import UsageError

DEFAULT = "2026-11"
EVERYWHERE = "*"
PRODUCT_FLOOR = "P3Y"  # promise 4: a book may raise it, never lower it

Trigger = Literal[
    "decision_completed",
    "transaction_completed",
    "relationship_ended",
    "record_created",
    "log_created",
    "calendar_year_end",
]
Erase = Literal["at_minimum", "after_all_minimums", "no"]
Applies = Literal["default", "optional"]
Status = Literal["verified", "secondary", "unverified"]

_NAME = re.compile(r"[A-Za-z0-9._:/+-]{1,64}", re.ASCII)  # what a leaf may hold
_CODE = re.compile(r"[A-Z]{2}", re.ASCII)


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One instrument's demand, as the book states it.

    Attributes:
        id: stands in leaves and reports for ever.
        jurisdiction: a code of the book, or ``*``.
        instrument: the law, notice or contract by its name.
        minimum: how long the instrument wants the record kept, an ISO 8601 calendar period as written.
        trigger: what starts that period.
        erase: ``at_minimum`` where the instrument also demands deletion when its own period ends,
            ``after_all_minimums`` where it demands deletion once every rule's period has run, ``no``
            otherwise.
        applies: ``default`` to every record of the jurisdiction, or ``optional``: the ledger opts in.
        status: how well the rule was checked; carried to every screen and report that shows it.
        effective_from: first local day of decisions that the rule counts for; None for all before too.
        effective_until: local day from which it no longer counts; None where it goes on.
        note: what a reader should know.
    """

    id: str
    jurisdiction: str
    instrument: str
    minimum: str
    trigger: Trigger
    erase: Erase
    applies: Applies
    status: Status
    effective_from: date | None = None
    effective_until: date | None = None
    note: str = ""

    @property
    def period(self) -> Period:
        """The minimum, read."""
        return Period.parse(self.minimum)


class Jurisdiction(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A code of the book, the IANA zone in which it counts days, and the jurisdiction it belongs to."""

    code: str
    zone: str
    parent: str | None = None


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    schema: Literal[1, 2]
    version: str
    rule: list[Rule]
    jurisdiction: list[Jurisdiction]


@dataclass(frozen=True)
class RuleBook:
    """A rule book that holds together. Made by :func:`load`.

    Attributes:
        version: as the file names it.
        rules: by id, in the order of the file.
        jurisdictions: by code.
        digest: SHA-256 over the file's exact bytes, 32 bytes.
    """

    version: str
    rules: Mapping[str, Rule]
    jurisdictions: Mapping[str, Jurisdiction]
    digest: bytes

    @property
    def floor(self) -> Rule:
        """The longest rule that every record meets from its decision on; never below the product's floor."""
        return max(
            (rule for rule in self.rules.values() if _is_floor(rule)),
            key=lambda rule: (rule.period.months, rule.period.days),
        )

    def lineage(self, code: str) -> tuple[str, ...]:
        """The code and its parents, nearest first; empty for a code that the book does not list."""
        line: list[str] = []
        here = self.jurisdictions.get(code)
        while here is not None:
            line.append(here.code)
            here = self.jurisdictions.get(here.parent) if here.parent else None
        return tuple(line)

    def zone_of(self, code: str) -> ZoneInfo:
        """The zone in which a listed code counts its days."""
        return zone(self.jurisdictions[code].zone)


def load_default() -> RuleBook:
    """The rule book that this version of the product applies to new records."""
    return load(files(__package__).joinpath("rulebook", f"{DEFAULT}.toml").read_bytes())


def load(content: bytes) -> RuleBook:
    """Read and check a rule book.

    Not checked: whether the law says so, and whether an id of an earlier book kept its meaning.

    Raises:
        UsageError: not TOML, an unknown or missing field, a bad value, a duplicate id or code, a
            jurisdiction or parent that is not listed, a circle of parents, an unknown time zone, or no rule
            that holds the floor.
    """
    document = _parse(content)
    if not _NAME.fullmatch(document.version):
        raise UsageError("rule book: version has characters that a leaf cannot hold")
    _refuse_duplicates("rule id", (rule.id for rule in document.rule))
    _refuse_duplicates("jurisdiction", (entry.code for entry in document.jurisdiction))
    jurisdictions = {entry.code: entry for entry in document.jurisdiction}
    for entry in document.jurisdiction:
        _check_jurisdiction(entry, jurisdictions)
    for rule in document.rule:
        _check_rule(rule, jurisdictions)
    if document.schema == 1 and any(rule.effective_from or rule.effective_until for rule in document.rule):
        raise UsageError("rule book: effective_from and effective_until need schema = 2")
    if not any(_is_floor(rule) for rule in document.rule):
        raise UsageError(
            f"rule book: no default rule for every jurisdiction keeps {PRODUCT_FLOOR} from decision_completed"
        )
    rules = {rule.id: rule for rule in document.rule}
    return RuleBook(document.version, rules, jurisdictions, hashlib.sha256(content).digest())


def _parse(content: bytes) -> _Document:
    try:
        return msgspec.convert(tomllib.loads(content.decode()), _Document)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError, RecursionError) as fault:
        raise UsageError(f"rule book: {fault}") from None


def _refuse_duplicates(what: str, names: Iterable[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise UsageError(f"rule book: {what} {name!r} stands there {count} times")


def _check_jurisdiction(entry: Jurisdiction, listed: Mapping[str, Jurisdiction]) -> None:
    if not _CODE.fullmatch(entry.code):
        raise UsageError(f"rule book: {entry.code!r} is no code of two capital letters")
    try:
        zone(entry.zone)
    except UsageError as fault:
        raise UsageError(f"rule book: jurisdiction {entry.code}: {fault}") from None
    seen = {entry.code}
    parent = entry.parent
    while parent is not None:
        if parent not in listed:
            raise UsageError(f"rule book: the parent {parent!r} of jurisdiction {entry.code} is not listed")
        if parent in seen:
            raise UsageError(f"rule book: the parents of jurisdiction {entry.code} form a circle")
        seen.add(parent)
        parent = listed[parent].parent


def _check_rule(rule: Rule, listed: Mapping[str, Jurisdiction]) -> None:
    if not _NAME.fullmatch(rule.id):
        raise UsageError(f"rule book: rule id {rule.id!r} has characters that a leaf cannot hold")
    if rule.jurisdiction != EVERYWHERE and rule.jurisdiction not in listed:
        raise UsageError(f"rule book: rule {rule.id}: jurisdiction {rule.jurisdiction!r} is not listed")
    try:
        Period.parse(rule.minimum)
    except UsageError as fault:
        raise UsageError(f"rule book: rule {rule.id}: {fault}") from None
    if rule.effective_from and rule.effective_until and rule.effective_from >= rule.effective_until:
        raise UsageError(f"rule book: rule {rule.id}: effective_until is not after effective_from")


def _is_floor(rule: Rule) -> bool:
    return (
        rule.jurisdiction == EVERYWHERE
        and rule.applies == "default"
        and rule.trigger == "decision_completed"
        and rule.effective_from is None
        and rule.effective_until is None
        and rule.period.months >= Period.parse(PRODUCT_FLOOR).months
    )
