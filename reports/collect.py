"""Collecting: everything the evidence report says, from one pass over one snapshot (reports.snapshot).

    1. make the pass: open, count and verify
    2. draw the sample from what was counted, look up its verdicts, prove it against the checkpoint

The counting keeps some tens of bytes a record (reports.relations).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from uuid import uuid4
from zoneinfo import ZoneInfo

from reports import model
from reports.assurance import integrity, own_seed, sample_proofs
from reports.attach import JSON_LINES, Attachment
from reports.checks import capture_checks
from reports.committing import Drawn
from reports.deflated import Deflated
from reports.gathering import Gathering, private
from reports.identity import identify
from reports.opened import EVIDENCE
from reports.phrase import phrase
from reports.retaining import held, retention
from reports.snapshot import take
from reports.statistics import PopulationCount, finding_lines
from reports.strata import Strata
from retention.rules import RuleBook
from vault.context import Vault
from vault.core.errors import UsageError
from vault.ledgers import Ledger
from vault.verdict import LedgerReport

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What ``render_evidence`` takes; the files lie in the caller's ``workdir``.

    Attributes:
        deflated: the population as it is attached.
        grant: id of the grant that opened the records, None where none did.
    """

    report: model.EvidenceReport
    population: Path
    deflated: Deflated | None
    findings: Path
    attachments: tuple[Attachment, ...]
    grant: str | None


def collect_evidence(
    vault: Vault,
    ledger: Ledger,
    book: RuleBook,
    period: model.Period,
    purpose: str,
    workdir: Path,
    *,
    report: str | None = None,
    grant: str | None = None,
    drawn: Drawn | None = None,
    high_value: Mapping[str, Decimal] | None = None,
    random: Callable[[int], bytes] = os.urandom,
    progress: Progress = lambda _name, _done, _total: None,
) -> Collected:
    """Read a ledger for an evidence report.

    Args:
        book: the rule book whose digest the vault writes into leaves.
        purpose: why; sealed into the access event and printed on page one.
        workdir: an empty directory that only its owner can read: facets lie in it in clear.
        report: its id; None makes one.
        grant: id of the grant to open records under; None takes one that will do.
        drawn: the sample's committed population and its nonce; None lets the vault draw by itself, from the newest.
        high_value: by currency, the amount from which on a sum is listed beside the sample.
        random: n unpredictable bytes, for the sample's seed.
        progress: told (ledger's name, entries read, entries to read).

    Raises:
        UsageError: no purpose.
        Denied: whoever acts may not open the whole ledger, or not any more; nothing was opened.
        Forked: the checkpoint outside the database is missing, or the events ledger cannot be appended to.
        Unavailable: database or keys are out of reach, a disk is full.
    """
    if not purpose.strip():
        raise UsageError("--purpose must say why the records are opened")
    report_id = report or f"ev-{uuid4()}"
    population, findings, strata = (workdir / name for name in ("population.jsonl", "findings.jsonl", "strata.jsonl"))
    taken = take(
        vault,
        ledger.id,
        period,
        purpose,
        report_id,
        population,
        count=PopulationCount(zone=ZoneInfo(period.zone), opened=True, strata=Strata(held(vault, ledger), high_value)),
        extraction=EVIDENCE,
        grant=grant,
        under=drawn.signed if drawn else None,
        progress=progress,
    )
    signed, access, gathered, verified = taken.signed, taken.access, taken.gathered, taken.verified
    with open(findings, "xb", opener=private) as file:
        file.writelines(finding_lines(gathered.count.findings()))
    with open(strata, "xb", opener=private) as file:
        file.writelines(gathered.count.strata_lines())
    seed = drawn.seed if drawn else own_seed(signed.checkpoint, random)
    found = integrity(vault, ledger.id, signed, gathered, verified, seed)
    counted = _population(vault, signed.checkpoint.size, gathered, verified[-1], access)
    found_model = model.EvidenceReport(
        identification=identify(vault, ledger, period, purpose, report_id, access),
        population=counted,
        decisions=gathered.count.decisions(),
        low_confidence=gathered.count.low_confidence(),
        exceptions=gathered.count.checks() + capture_checks(counted),
        integrity=found,
        retention=retention(vault, ledger, book, gathered.count),
        strata=gathered.count.strata(),
    )
    listed = phrase("What is listed in full beside the sample: stratum and seq")
    attached = Attachment("strata.jsonl", listed, JSON_LINES, strata)
    beside = (attached, *sample_proofs(vault, ledger.id, signed, found.sample))
    return Collected(found_model, population, gathered.deflated, findings, beside, taken.grant)


def _population(
    vault: Vault, size: int, gathered: Gathering[PopulationCount], verified: LedgerReport, access: int | None
) -> model.Population:
    return model.Population(
        tree_size=size,
        governance=gathered.governance,
        in_period=gathered.inside,
        outside_period=gathered.outside,
        destroyed=verified.erased,
        destroyed_early=verified.early,
        disposals=sum(1 for one in verified.erasures if one.count),
        dying=gathered.dying,
        opened=gathered.opened,
        related=gathered.related,
        refusals=gathered.history.refusals(vault, details=access is not None),
        conflicts=gathered.history.conflicts,
        sequences=gathered.sequences.result(),
        accesses=gathered.history.accesses,
    )
