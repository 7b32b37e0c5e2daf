"""The certificate of destruction: what a finished disposal destroyed, on whose orders, and where copies may still be.

    1. see that the file can be written where it is wanted
    2. collect the facts (retention.evidence_of) and write the attachments, the manifest made again from the leaves
    3. lay out and write the pages into a private directory beside the target
    4. commit ``certificate.issued`` with the file's digest: the commit point
    5. rename the file into its place

No record is opened, and nothing in it names one: positions, hashes, keys, pseudonymous ids. A certificate can be issued
again; each is an event of its own. A crash between 4 and 5 leaves an event whose file was never handed out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import msgspec

from reports import layout, wording
from reports.attach import JSON_LINES, Attachment, Described, describe
from reports.beside import beside, put
from reports.fonts import FontBook
from reports.render import RenderedReport, write_report
from retention import evidence_of
from retention.certified import CertificateFacts
from vault import events, selections
from vault.context import Vault
from vault.core import canonical, packing, selection
from vault.core.errors import Forked, Modified
from vault.core.manifest import Manifest
from vault.core.selection import Selection
from vault.core.tree import leaf_hash
from vault.db import store
from vault.db.engine import translated
from vault.proving import prove

JSON, TEXT = "application/json", "text/plain"
RULES, KEYS, RANGES, COPIES = 8, 10, 12, 10
"""Rows that are printed; the attachments have all of them."""


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate in its place.

    Attributes:
        report: its id.
        sha256: of the file, as the event says.
        event: position of ``certificate.issued`` in the events ledger.
    """

    path: Path
    report: str
    sha256: bytes
    pages: int
    size: int
    event: int
    facts: CertificateFacts


def issue_certificate(vault: Vault, disposal: str, out: Path) -> IssuedCertificate:
    """Make the certificate of a disposal that is done, and hand it out as ``out``, replacing a file of that name.

    Raises:
        Unknown: there is no such disposal.
        UsageError: it is not done, or the file cannot be written there.
        Forked, Missing, Modified: events, leaves or selections are not what was signed; there is no certificate.
        Unavailable: a disk is full, or the database is out of reach.
    """
    with beside(out) as workdir:
        facts = evidence_of.collect(vault, disposal)
        report = f"cd-{uuid4()}"
        files = [describe(one) for one in _attachments(vault, facts, workdir)]
        made = render_certificate(facts, report, workdir / "certificate.pdf", files)
        told = events.record(
            vault,
            "certificate.issued",
            {"disposal": disposal, "report": report, "sha256": canonical.b64(made.sha256)},
        )
        size = made.path.stat().st_size
        put(made.path, out)
    return IssuedCertificate(out, report, made.sha256, made.pages, size, told.seq, facts)


def render_certificate(facts: CertificateFacts, report: str, out: Path, files: Sequence[Described]) -> RenderedReport:
    """Write the pages with their attachments as tagged PDF/A-3u, mode 0600.

    Raises:
        UsageError: the fonts are missing, or an attachment changed.
        Unavailable: it cannot be written to that place.
        VaultError: a template is broken.
    """
    fonts = FontBook()
    words = wording.Wording(fonts)
    templates = layout.environment(words)
    with layout.template_errors():
        body = templates.get_template("certificate.html.j2").render(
            facts=facts,
            report=report,
            issued=_moment(facts.issued_at),
            moment=_moment,
            files=files,
            readable=[copy for copy in facts.copies if copy.shows == "text"],
            most={"rules": RULES, "keys": KEYS, "ranges": RANGES, "copies": COPIES},
        )
        css, served = layout.dress(templates, fonts, words, "Certificate of destruction")
    pdf, pages = layout.to_pdf(body, css, layout.Served(served), report)
    return write_report(out, pdf, pages, files, _moment(facts.issued_at))


def _moment(spelled: str) -> datetime:
    return datetime.fromisoformat(spelled).astimezone(UTC)


def _attachments(vault: Vault, facts: CertificateFacts, workdir: Path) -> Iterator[Attachment]:
    ledger = UUID(facts.ledger)
    governed = vault.register.standing().governance.disposals[facts.disposal]
    planned = selections.load(vault, ledger, governed.selection)
    manifest = workdir / "manifest.txt"
    _write_manifest(vault, ledger, facts, planned, manifest)
    yield Attachment("manifest.txt", "What the approvers signed the hash of: positions and leaf hashes", TEXT, manifest)
    yield Attachment("planned.txt", "The positions of the plan", TEXT, selection.text(ledger, planned))
    for name, digest, words in (
        ("destroyed.txt", facts.selection, "The positions that were destroyed"),
        ("exceptions.txt", facts.exceptions, "The positions of the plan that are kept"),
    ):
        if digest:
            found = selections.load(vault, ledger, digest)
            yield Attachment(name, words, TEXT, selection.text(ledger, found))
    yield Attachment("facts.json", "Everything this certificate says, for machines", JSON, _json(facts))
    yield Attachment("approvals.json", "Statements, signatures and public keys", JSON, _json(facts.approvers))
    for at, one in enumerate(facts.approvers, 1):
        yield Attachment(f"statement-{at}.txt", "What an approver signed", TEXT, one.statement.encode("ascii"))
    yield Attachment("keys.json", "Every key that ever wrapped a destroyed record", JSON, _json(facts.keys))
    yield Attachment(
        "events.jsonl", "The events behind it, each with its way to a checkpoint", JSON_LINES, _events(vault, facts)
    )


def _json(value: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=1) + b"\n"


def _write_manifest(vault: Vault, ledger: UUID, facts: CertificateFacts, planned: Selection, file: Path) -> None:
    """Spell the manifest out.

    Raises:
        Modified: it is not the one that was signed.
    """
    made = Manifest(ledger)
    ends = planned.ranges and (planned.ranges[0][0], planned.ranges[-1][1] + 1)
    with file.open("xb") as out, translated(), vault.engine.connect() as connection:
        out.write(f"reasonvault manifest/1\n{ledger}\n".encode("ascii"))
        for seq, stored in store.stream_leaves(connection, ledger, *ends) if ends else ():
            if seq in planned:
                hashed = leaf_hash(packing.unpack(stored))
                made.add(seq, hashed)
                out.write(b"%d %b\n" % (seq, canonical.b64_bytes(hashed)))
    if canonical.b64(made.digest()) != facts.manifest:
        raise Modified("the manifest is not that of these entries", facts.ledger)


def _events(vault: Vault, facts: CertificateFacts) -> bytes:
    """Return a line for each event that the certificate rests on: the leaf, and the way to the newest checkpoint.

    Raises:
        Forked, Missing, Modified: the events ledger is not the one that was signed.
    """
    note = vault.checkpoints.note(vault.events)
    if note is None:
        raise Forked("the checkpoint outside the database is missing", str(vault.events))
    wanted = {*facts.events.values()}
    wanted |= {seq for one in facts.approvers for seq in (one.event, one.registered) if seq}
    wanted |= {key.event for key in facts.keys if key.event}
    lines = [
        msgspec.json.encode({"seq": seq, "leaf": data.decode("ascii"), "proof": proof.to_text()})
        for seq, (data, proof) in prove(vault, vault.events, wanted, note).items()
    ]
    return b"\n".join(lines) + b"\n"
