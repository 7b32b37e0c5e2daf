"""Collecting: everything the evidence report says, from one pass over one snapshot that is verified as it is read.

    1. sign what a crash left unsigned; read the checkpoint that the report will stand under
    2. count what will be opened; decide that whoever acts may open it, commit the access event and sign it; where that
       fails nothing is opened
    3. fork the processes that open records
    4. verify the events ledger and this ledger up to that checkpoint (vault.audit), each entry as it passes:
       of the period: opened, counted, written to the attachment; after it: opened for its relations alone
    5. draw the sample from what was counted, look up its verdicts, prove it against the checkpoint

A crash after 2 leaves an access that perhaps did not happen, which is harmless. Memory does not grow with the contents
of records: lines go to files, the counting keeps some tens of bytes a record (reports.relations).

Records that occurred after the period are opened as well, since a review or a settlement usually comes later and only
the record itself says what it is about; the access event counts them, and so does the report.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID, uuid4

from reports import model
from reports.assurance import NONCE_BYTES, Signed, integrity, sample_proofs
from reports.attach import Attachment
from reports.checks import capture_checks
from reports.gathering import Gathering, private
from reports.identity import identify
from reports.retaining import retention
from reports.statistics import finding_lines
from retention.rules import RuleBook
from vault.audit import audit
from vault.context import Vault
from vault.core import canonical
from vault.core.checkpoint import Checkpoint
from vault.core.errors import EvidenceError, Forked, UsageError
from vault.db import store
from vault.db.engine import transact
from vault.db.store import Extent
from vault.events import Event
from vault.ledgers import Ledger
from vault.linking import append
from vault.reading import tell_whole
from vault.verdict import Depth, LedgerReport

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Collected:
    """What ``render_evidence`` takes; the files lie in the caller's ``workdir``.

    Attributes:
        grant: id of the grant that opened the records, None where none did.
    """

    report: model.EvidenceReport
    population: Path
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
    signed = _signed(vault, ledger.id)
    size = signed.checkpoint.size
    extent = transact(vault.engine, lambda found: store.measure(found, ledger.id, size, period.start, period.end))
    access: int | None = None
    if extent.inside:
        access, used = _log_access(vault, ledger.id, signed.checkpoint, extent, report_id, purpose, grant)
        grant = used or grant
    population, findings = workdir / "population.jsonl", workdir / "findings.jsonl"
    with Gathering(
        vault,
        ledger.id,
        period,
        size,
        opening=extent.inside + extent.after if extent.inside else 0,
        access=access,
        file=population,
    ) as gathered:
        verified = audit(
            vault.engine,
            vault.checkpoints,
            vault.events,
            Depth.ENVELOPES,
            only=str(ledger.id),
            at={ledger.id: signed.checkpoint},
            watch=gathered.take,
            progress=progress,
        )
        gathered.finish()
    with open(findings, "xb", opener=private) as file:
        file.writelines(finding_lines(gathered.count.findings()))
    found = integrity(vault, ledger.id, signed, gathered, verified, random(NONCE_BYTES))
    counted = _population(vault, signed.checkpoint.size, gathered, verified[-1], access)
    found_model = model.EvidenceReport(
        identification=identify(vault, ledger, period, purpose, report_id, access),
        population=counted,
        decisions=gathered.count.decisions(),
        low_confidence=gathered.count.low_confidence(),
        exceptions=gathered.count.checks() + capture_checks(counted),
        integrity=found,
        retention=retention(vault, ledger, book, gathered.count),
    )
    return Collected(
        found_model, population, findings, tuple(sample_proofs(vault, ledger.id, signed, found.sample)), grant
    )


def _signed(vault: Vault, ledger: UUID) -> Signed:
    """Step 1."""
    with suppress(EvidenceError):  # the report is to say so, not to be missing
        append(vault.engine, vault.checkpoints, ledger, lambda _connection: ())
    note = vault.checkpoints.note(ledger)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(ledger))
    checkpoint = vault.checkpoints.open(ledger, note)
    return Signed(checkpoint, note)


def _log_access(
    vault: Vault, ledger: UUID, checkpoint: Checkpoint, extent: Extent, report_id: str, purpose: str, grant: str | None
) -> tuple[int, str]:
    """Step 2. Returns the position of the event, and the grant's id."""
    facts: dict[str, object] = {
        "ledger": str(ledger),
        "first": extent.first,
        "last": extent.last,
        "count": extent.inside,
        "related": extent.after,
        "size": checkpoint.size,
        "root": canonical.b64(checkpoint.root),
    }
    details = {"purpose": purpose, "report": report_id}
    told, used = tell_whole(vault, ledger, grant, lambda by: Event("records.opened", facts | by, details))
    return told.seq, used


def _population(
    vault: Vault, size: int, gathered: Gathering, verified: LedgerReport, access: int | None
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
        access_entry=None if access is None else f"events ledger, seq {access}",
    )
