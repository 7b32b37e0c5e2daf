"""Issuing a report: it exists for others only once the vault remembers that it does.

    1. see that the file can be written where it is wanted, before anything is opened
    2. collect and render into a private directory beside it
    3. decide again that whoever acts may have it, and commit ``report.issued`` with the file's digest and sign it: the
       commit point
    4. rename the file into its place

A crash before 3 leaves a hidden directory that nobody was told of; one between 3 and 4 leaves an event whose report
was never handed out. In no order is there a report without its event.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reports.collect import Progress, collect_evidence
from reports.model import EvidenceReport, Period
from reports.render import render_evidence
from retention.rules import RuleBook
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import Unavailable, UsageError
from vault.events import Event
from vault.ledgers import Ledger
from vault.reading import tell_whole


@dataclass(frozen=True, slots=True)
class Issued:
    """A report in its place.

    Attributes:
        sha256: of the file, as the event says.
        event: position of ``report.issued`` in the events ledger.
    """

    path: Path
    sha256: bytes
    pages: int
    size: int
    event: int
    report: EvidenceReport


def issue_evidence(
    vault: Vault,
    ledger: Ledger,
    book: RuleBook,
    period: Period,
    purpose: str,
    out: Path,
    *,
    grant: str | None = None,
    random: Callable[[int], bytes] = os.urandom,
    progress: Progress = lambda _name, _done, _total: None,
) -> Issued:
    """Make the evidence report of a ledger and hand it out as ``out``, replacing a file of that name.

    Args:
        grant: id of the grant it is made under; None takes one that will do.

    Raises:
        Denied: whoever acts may not open the whole ledger, or not any more; there is no report.
        UsageError: the file cannot be written there, or there is no purpose; nothing was opened.
        Unavailable: a disk is full, the database or the keys are out of reach; there is no report.
        Forked: the events ledger cannot be appended to; there is no report.
    """
    with beside(out) as workdir:
        collected = collect_evidence(
            vault, ledger, book, period, purpose, workdir, grant=grant, random=random, progress=progress
        )
        made = render_evidence(
            collected.report,
            workdir / "report.pdf",
            population=collected.population,
            findings=collected.findings,
            attachments=collected.attachments,
        )
        facts: dict[str, object] = {
            "report": collected.report.identification.report_id,
            "kind": "evidence",
            "sha256": canonical.b64(made.sha256),
            "ledger": str(ledger.id),
            "count": collected.report.population.in_period,
            "recipient": vault.actor.name,
        }
        told, _ = tell_whole(vault, ledger.id, collected.grant, lambda by: Event("report.issued", facts | by))
        size = made.path.stat().st_size
        put(made.path, out)
    return Issued(out, made.sha256, made.pages, size, told.seq, collected.report)


@contextmanager
def beside(out: Path) -> Iterator[Path]:
    """A directory beside the report: on the same file system, and as private as nothing beside it need be."""
    if out.is_dir():
        raise UsageError(f"{out} is a directory: name a file for the report")
    if out.exists() and not out.is_file():  # a device, too, would be replaced
        raise UsageError(f"{out} is no file: name one for the report")
    try:
        place = tempfile.TemporaryDirectory(prefix=f".{out.name}.", dir=out.absolute().parent)
    except OSError as error:
        raise UsageError(f"cannot write a report to {out}: {error.strerror}") from None
    try:
        with place as workdir:
            yield Path(workdir)
    except OSError as error:
        raise Unavailable(f"cannot write the report: {error.strerror or error}") from None


def put(made: Path, out: Path) -> None:
    """Rename a finished file into its place, durably."""
    os.replace(made, out)
    _sync(out.parent)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
