"""Issuing a report: it exists for others only once the vault remembers that it does.

    1. see that the file can be written where it is wanted, before anything is opened
    2. collect and render into a private directory beside it
    3. sign the file, where somebody is to sign
    4. decide again that whoever acts may have it, and commit ``report.issued`` with the file's digest: the commit point
    5. rename the file into its place

A crash before 4 leaves a hidden directory that nobody was told of; one between 4 and 5 leaves an event whose report
was never handed out. In no order is there a report without its event.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from reports.beside import beside, put
from reports.kind import Collected, Kind, Progress, Wanted
from reports.layout import PLAIN
from reports.look import Look
from reports.model import Assured, SignerFacts
from reports.render import render
from vault.context import Vault
from vault.core import canonical
from vault.core.errors import UsageError
from vault.events import Event


class Signature(Protocol):
    """What signing came to (reports.signing): how far it goes, and what kept it from going further."""

    @property
    def level(self) -> str: ...
    @property
    def problems(self) -> tuple[str, ...]: ...


class Signer(Protocol):
    """Signs a finished PDF (reports.signing)."""

    def describe(self) -> SignerFacts:
        """Return what the pages say of the signature before there is one."""
        ...

    def sign(self, made: Path, out: Path, *, report_id: str, kind: str) -> Signature:
        """Write the signed file; ``made`` is not changed."""
        ...


@dataclass(frozen=True, slots=True)
class Desk:
    """What reports are issued with here, whatever their kind.

    Attributes:
        signer: None leaves them unsigned, and each says so.
        assured: asked once a report: when somebody outside last saw the vault's history.
    """

    look: Look = PLAIN
    signer: Signer | None = None
    assured: Callable[[Vault], Assured | None] = lambda _vault: None


@dataclass(frozen=True, slots=True)
class Issued:
    """A report in its place.

    Attributes:
        sha256: of the file, as the event says.
        event: position of ``report.issued`` in the events ledger.
        signed: level of its signature, "" where it has none.
        problems: what the reader has to know and no verdict says.
    """

    path: Path
    report: str
    kind: str
    sha256: bytes
    pages: int
    size: int
    event: int
    signed: str
    problems: Sequence[str]
    collected: Collected


BARE = Desk()


def issue(
    vault: Vault,
    kind: Kind,
    wanted: Wanted,
    out: Path,
    *,
    desk: Desk = BARE,
    progress: Progress = lambda _name, _done, _total: None,
) -> Issued:
    """Make a report and hand it out as ``out``, replacing a file of that name.

    Raises:
        Denied: whoever acts may not have it, or not any more; there is no report.
        UsageError: the file cannot be written there, or the kind needs something that is not given; nothing was opened.
        Unavailable: a disk is full, the database or the keys are out of reach; there is no report.
        Forked: the events ledger cannot be appended to; there is no report.
    """
    if not wanted.purpose.strip():
        raise UsageError("--purpose must say why the report is made")
    kind.require(vault, wanted.ledger)
    report = f"{kind.prefix}-{uuid4()}"
    with beside(out) as workdir:
        assured = desk.assured(vault)
        collected = kind.collect(vault, wanted, workdir, report, progress)
        outside = assured.problems if assured else ()
        who = replace(
            collected.pages.who,
            assured=assured,
            signer=desk.signer.describe() if desk.signer else None,
            problems=(*collected.pages.who.problems, *collected.problems, *outside),
        )
        made = render(replace(collected.pages, who=who), collected.attachments, workdir / "report.pdf", desk.look)
        path, digest, signature = made.path, made.sha256, None
        if desk.signer is not None:
            path = workdir / "signed.pdf"
            signature = desk.signer.sign(made.path, path, report_id=report, kind=kind.name)
            digest = _digest(path)
        facts: dict[str, object] = {
            "report": report,
            "kind": kind.name,
            "sha256": canonical.b64(digest),
            "recipient": vault.actor.name,
            **wanted.facts,
            **collected.facts,
        }
        told = collected.tell(lambda by: Event("report.issued", facts | by))
        size = path.stat().st_size
        put(path, out)
    signed, unsigned = (signature.level, signature.problems) if signature else ("", ())
    problems = (*collected.problems, *outside, *unsigned)
    return Issued(out, report, kind.name, digest, made.pages, size, told.seq, signed, problems, collected)


def _digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
