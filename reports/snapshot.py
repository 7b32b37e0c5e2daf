"""One pass over one snapshot of a ledger, verified as it is read: what every report on a population stands on.

    1. sign what a crash left unsigned; read the checkpoint that the report will stand under
    2. count what will be opened; decide that whoever acts may open it, commit the access event and sign it; where that
       fails nothing is opened
    3. fork the processes that open records
    4. verify the events ledger and this ledger up to that checkpoint (vault.audit), each entry as it passes:
       of the period: opened, counted, written to the attachment; after it: opened for its relations alone

A crash after 2 leaves an access that perhaps did not happen, which is harmless. Memory does not grow with the contents
of records: lines go to files, and what is kept of each record the kind decides (reports.opened.Extraction).

Records that occurred after the period are opened as well, since a review or a settlement usually comes later and only
the record itself says what it is about; the access event counts them, and so does the report.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar
from uuid import UUID

from reports.assurance import Signed
from reports.gathering import Counting, Gathering
from reports.model import Period
from reports.opened import Extraction
from vault.audit import audit
from vault.context import Vault
from vault.core import canonical
from vault.core.checkpoint import Checkpoint
from vault.core.errors import EvidenceError, Forked
from vault.db import store
from vault.db.engine import transact
from vault.db.store import Extent
from vault.events import Event
from vault.linking import append
from vault.reading import tell_whole
from vault.verdict import Depth, LedgerReport

Progress = Callable[[str, int, int], None]
C = TypeVar("C", bound=Counting)


@dataclass(frozen=True, slots=True)
class Taken(Generic[C]):
    """What the pass left behind.

    Attributes:
        access: position of the access event, None where the period holds nothing to open.
        grant: id of the grant that opened the records, None where none did.
        verified: the events ledger's report, then this ledger's.
    """

    signed: Signed
    access: int | None
    grant: str | None
    gathered: Gathering[C]
    verified: list[LedgerReport]


def take(
    vault: Vault,
    ledger: UUID,
    period: Period,
    purpose: str,
    report: str,
    population: Path,
    *,
    count: C,
    extraction: Extraction,
    grant: str | None = None,
    under: Signed | None = None,
    progress: Progress = lambda _name, _done, _total: None,
) -> Taken[C]:
    """Make the pass.

    Args:
        purpose: why; sealed into the access event.
        report: id of the report that it is made for.
        population: where the lines of the period's records go: a file that is not there yet.
        count: takes what ``extraction`` makes of each record.
        grant: id of the grant to open records under; None takes one that will do.
        under: an earlier checkpoint of the ledger, read and verified by the caller: what came after it is left aside.
            None takes the newest.
        progress: told (ledger's name, entries read, entries to read).

    Raises:
        Denied: whoever acts may not open the whole ledger, or not any more; nothing was opened.
        Forked: the checkpoint outside the database is missing, or the events ledger cannot be appended to.
        Unavailable: database or keys are out of reach, a disk is full.
    """
    newest = _signed(vault, ledger)
    signed = under or newest
    size = signed.checkpoint.size
    extent = transact(vault.engine, lambda found: store.measure(found, ledger, size, period.start, period.end))
    access: int | None = None
    if extent.inside:
        access, used = _log_access(vault, ledger, signed.checkpoint, extent, report, purpose, grant)
        grant = used or grant
    with Gathering(
        vault,
        ledger,
        period,
        size,
        opening=extent.inside + extent.after if extent.inside else 0,
        access=access,
        file=population,
        count=count,
        extraction=extraction,
    ) as gathered:
        with _uncollected():
            verified = audit(
                vault.engine,
                vault.checkpoints,
                vault.events,
                Depth.ENVELOPES,
                only=str(ledger),
                at={ledger: signed.checkpoint},
                watch=gathered.take,
                progress=progress,
            )
        gathered.finish()
    return Taken(signed, access, grant, gathered, verified)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Leave the cyclic garbage collector out of a pass over millions of rows: it finds nothing there, and looking costs
    a tenth of the time."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


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
