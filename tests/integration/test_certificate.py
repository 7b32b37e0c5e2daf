"""Issuing a certificate: what a stranger can check from the file alone, and that it is an event."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pikepdf
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from reports.certificate import issue_certificate
from retention import destroying
from tests.support.acting import happened, last
from tests.support.board import Board
from tests.support.evidence import attachments
from tests.support.vault import Installation
from vault.core import canonical, proof
from vault.core.errors import Modified, Unknown, UsageError
from vault.core.proof import Proof

SG = 45


@pytest.fixture
def board(installation: Installation) -> Iterator[Board]:
    with installation.retaining() as vault:
        yield Board.of(vault)


def test_a_stranger_checks_it_from_the_file_alone(board: Board, tmp_path: Path) -> None:
    plan = board.intended("sg")
    with pytest.raises(UsageError, match="only one that is done"):
        issue_certificate(board.cooled, plan.id, tmp_path / "c.pdf")
    destroying.run(board.cooled, plan.id)
    made = issue_certificate(board.cooled, plan.id, tmp_path / "c.pdf")
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert hashlib.sha256(made.path.read_bytes()).digest() == made.sha256
    told = last(board.today, "certificate.issued")
    assert (told.seq, told.facts["disposal"], told.facts["sha256"]) == (made.event, plan.id, canonical.b64(made.sha256))
    held = attachments(made.path)
    assert canonical.b64(hashlib.sha256(held["manifest.txt"]).digest()) == plan.manifest
    assert canonical.b64(hashlib.sha256(held["destroyed.txt"]).digest()) == made.facts.selection
    assert canonical.b64(hashlib.sha256(held["exceptions.txt"]).digest()) == made.facts.exceptions
    assert held["planned.txt"] == held["destroyed.txt"]
    for at, one in enumerate(json.loads(held["approvals.json"]), 1):
        signed = one["statement"].encode("ascii")
        assert signed == held[f"statement-{at}.txt"]
        assert plan.manifest in one["statement"]
        key = Ed25519PublicKey.from_public_bytes(canonical.unb64(one["key"], 32))
        key.verify(canonical.unb64(one["signature"], 64), signed)
    checkpoints = board.today.checkpoints
    keys, origin = [checkpoints.verifier(board.today.events)], checkpoints.origin(board.today.events)
    names = set()
    for line in map(json.loads, held["events.jsonl"].splitlines()):
        proof.verify(Proof.parse(line["proof"]), line["leaf"].encode(), keys, origin)
        names.add(json.loads(line["leaf"])["event"])
    assert names == {
        "approver.registered",
        "disposal.planned",
        "disposal.approved",
        "disposal.intended",
        "disposal.destroying",
        "key.destroyed",
        "disposal.done",
    }
    assert {key["state"] for key in json.loads(held["keys.json"])} == {"destroyed"}
    assert json.loads(held["facts.json"])["destroyed"] == SG
    with pikepdf.open(made.path) as pdf:
        assert len(pdf.pages) == made.pages == 2
    assert not list(tmp_path.glob(".c.pdf*"))


def test_it_can_be_issued_again_and_none_without_a_disposal(board: Board, tmp_path: Path) -> None:
    plan = board.intended("sg")
    destroying.run(board.cooled, plan.id)
    first = issue_certificate(board.cooled, plan.id, tmp_path / "c.pdf")
    second = issue_certificate(board.cooled, plan.id, tmp_path / "c.pdf")
    assert first.report != second.report
    assert [one.facts["report"] for one in happened(board.today, "certificate.issued")] == [first.report, second.report]
    with pytest.raises(Unknown):
        issue_certificate(board.cooled, "d-none", tmp_path / "c.pdf")
    with pytest.raises(UsageError, match="is a directory"):
        issue_certificate(board.cooled, plan.id, tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="no file"):  # as a device would be, it is not replaced
        issue_certificate(board.cooled, plan.id, tmp_path / "pipe")
    assert len(happened(board.today, "certificate.issued")) == 2


def test_leaves_that_are_not_those_of_the_manifest_get_none(
    installation: Installation, board: Board, tmp_path: Path
) -> None:
    plan = board.intended("sg")
    destroying.run(board.cooled, plan.id)
    with installation.tampering() as connection:
        connection.execute(
            "UPDATE vault.entry e SET leaf = o.leaf FROM vault.entry o WHERE e.ledger_id = %s AND e.seq = 4"
            " AND o.ledger_id = e.ledger_id AND o.seq = 5",
            (plan.ledger,),
        )
    with pytest.raises(Modified, match=r"manifest|chain|leaf"):
        issue_certificate(board.cooled, plan.id, tmp_path / "c.pdf")
    assert happened(board.today, "certificate.issued") == []
    assert not (tmp_path / "c.pdf").exists()
