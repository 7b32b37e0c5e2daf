"""A kind of report: what it is called, and how one is collected.

    model -> collect -> render -> sign

A kind collects: it reads what the vault holds, under the access entry that its reading needs, and returns what stands
on the pages. ``reports.issue`` does the rest, the same way for every kind: lay out, attach, sign, tell, hand out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from reports.attach import Attachment
from reports.charts import Charts
from reports.model import Identification, Period
from reports.phrase import Phrase
from retention.rules import RuleBook
from vault.context import Vault
from vault.core.errors import UsageError
from vault.events import Event, Told
from vault.ledgers import Ledger

Progress = Callable[[str, int, int], None]
"""Told (what is read, entries read, entries to read)."""

Section = tuple[int, str, str]
"""Number, anchor, title."""

Tell = Callable[[Callable[[dict[str, object]], Event]], Told]
"""Commits an event about the report after deciding, at that very moment, that whoever acts may have it. It is given
what makes the event from the facts that name the right (a grant). Raises ``Denied``."""


def _no_charts(_charts: Charts) -> Mapping[str, bytes]:
    return {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked for.

    Attributes:
        ledger: None for a report on the whole tenant.
        book: the rule book in force.
        purpose: why; sealed into the access event, printed on page one.
        grant: id of the grant it is made under; None takes one that will do.
        options: what only this kind knows, by name.
        facts: for the event ``report.issued``, from whoever has it made: which order it is for.
    """

    ledger: Ledger | None
    book: RuleBook
    period: Period
    purpose: str
    grant: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pages:
    """What the layout needs to make pages.

    Attributes:
        template: name of the kind's template, which extends ``base.html.j2``.
        who: stands on page one.
        title: of the document, such as "Integrity report"; also at the foot of each page.
        sections: for the contents, in order.
        values: what else the template prints.
        charts: draws the pictures, by the name under which the template asks for them (``chart/<name>``).
        limits: what the report does not prove; one sentence each. What none proves follows them (reports.limits).
    """

    template: str
    who: Identification
    title: Phrase
    sections: Sequence[Section]
    values: Mapping[str, Any]
    charts: Callable[[Charts], Mapping[str, bytes]] = _no_charts
    limits: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Collected:
    """What a kind found.

    Attributes:
        attachments: in the order in which the pages list them; their files lie in the caller's ``workdir``.
        facts: of the event ``report.issued``, beside those that every kind has: words, integers, lists of them.
        tell: commits that event.
        verdict: OK, or the worst of MODIFIED, MISSING, FORKED that the report tells of: the command's exit code.
        problems: what the reader has to know and no verdict says, one sentence each.
        model: what the kind counted, for whoever knows it.
        words: the findings in a few lines, for the terminal.
        document: the same for machines.
    """

    pages: Pages
    attachments: Sequence[Attachment]
    facts: Mapping[str, object]
    tell: Tell
    verdict: str = "OK"
    problems: Sequence[str] = ()
    model: Any = None
    words: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)


class Collect(Protocol):
    """Reads what a report says. ``workdir`` is an empty directory that only its owner can read."""

    def __call__(self, vault: Vault, wanted: Wanted, workdir: Path, report: str, progress: Progress) -> Collected:
        """Collect for the report of that id.

        Raises:
            Denied: whoever acts may not have it; nothing was opened.
            UsageError: something that the kind needs is not among the options.
            Forked: a checkpoint is missing, or the events ledger cannot be appended to.
            Unavailable: database or keys are out of reach, a disk is full.
        """
        ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of report.

    Attributes:
        name: as the command line, events and schedules spell it.
        prefix: of the ids of its reports.
        repeats: it can be made of period after period with nothing else said, so it can be ordered (reports.orders).
        require: lets whoever acts go on before any work is done for them, else raises ``Denied``; what opens anything
            decides again. Given the ledger, None for a report on the whole tenant.
    """

    name: str
    prefix: str
    title: Phrase
    require: Callable[[Vault, Ledger | None], None]
    collect: Collect
    repeats: bool = True


def the_ledger(ledger: Ledger | None) -> Ledger:
    """Return the ledger of a kind that is about one.

    Raises:
        UsageError: none was named.
    """
    if ledger is None:
        raise UsageError("this report is about one ledger: name it with --ledger")
    return ledger
