"""The evidence report as a file: what it holds, what it never holds, and that the vault knows of it first."""

from __future__ import annotations

import base64
import hashlib
import json
import stat
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from reports import sampling
from reports.issue import Issued
from tests.support.decisions import decision
from tests.support.evidence import PURPOSE, attachments, issue, lines, told
from tests.support.vault import RECORDS, Installation
from vault import events
from vault.context import Vault
from vault.core import canonical, facets, note, proof
from vault.core.checkpoint import open_checkpoint
from vault.core.errors import Unavailable, UsageError
from vault.core.parse import epoch_us
from vault.core.record import API_CODES, FIDELITY_CODES, OUTCOME_CODES
from vault.linking import Item
from vault.opening import Opener


@pytest.fixture(scope="module")
def issued(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Issued]]:
    """One report for the tests that only read it."""
    folder = tmp_path_factory.mktemp("issued")
    with built.copied(folder / "home") as site:
        yield site, issue(site, folder / "evidence.pdf")


def test_the_population_is_every_record_with_its_leaf_and_facets(issued: tuple[Installation, Issued]) -> None:
    _, made = issued
    population = lines(attachments(made.path)["population.jsonl"])
    assert [line["seq"] for line in population] == list(range(1, RECORDS["cn"] + 1))
    for line in population:
        leaf = json.dumps(line["leaf"], sort_keys=True, separators=(",", ":")).encode()
        assert hashlib.sha256(b"\0" + leaf).hexdigest() == line["leaf_hash"]
    first, second = population[0], population[1]
    assert second["leaf"]["prev"] == canonical.b64(bytes.fromhex(first["leaf_hash"]))
    assert first["facets"]["record_id"] == "dec-1"
    assert first["facets"]["occurred_at"] == "2026-01-02T00:01:12.111000Z"
    assert (first["facets"]["api"], first["facets"]["outcome"]) == ("payment_intelligence", "accepted")


def test_the_salt_lets_a_reader_check_the_facets(issued: tuple[Installation, Issued]) -> None:
    _, made = issued
    for line in lines(attachments(made.path)["population.jsonl"])[:5]:
        said = line["facets"]
        columns = facets.Facets(
            said["record_id"],
            epoch_us(datetime.fromisoformat(said["occurred_at"])),
            ",".join(said["jurisdictions"]),
            said["record_class"],
            API_CODES[said["api"]],
            OUTCOME_CODES[said["outcome"]],
            FIDELITY_CODES[said["fidelity"]],
            said["money_moved"],
            said["below_threshold"],
            said["score"],
            said["ai_ms"],
            0,
            said["model"],
        )
        salt = base64.urlsafe_b64decode(line["salt"] + "==")
        assert said["flags"] == []
        assert canonical.b64(facets.digest(columns, salt)) == line["leaf"]["facets"]


def test_no_prompt_no_answer_and_no_key_is_in_it(issued: tuple[Installation, Issued]) -> None:
    _, made = issued
    everything = made.path.read_bytes() + b"".join(attachments(made.path).values())
    record = decision(7)
    for secret in (record["prompt"], record["response"], record["conversation_id"], record["customer_ref"]):
        assert f'"{secret}"'.encode() not in everything
        assert secret.encode() not in b"".join(attachments(made.path).values())


def test_a_stranger_verifies_checkpoint_and_sample(issued: tuple[Installation, Issued]) -> None:
    _, made = issued
    files = attachments(made.path)
    key = note.VerifierKey.parse(files["verifier-key.txt"].decode().strip())
    checkpoint = open_checkpoint(files["checkpoint.txt"], [key], key.name)
    population = lines(files["population.jsonl"])
    sample = made.collected.model.integrity.sample
    assert sample.seed.startswith(checkpoint.root)
    drawn = sampling.draw(sample.seed, len(population), 59)
    assert [item.position for item in sample.items] == [at + 1 for at in drawn]
    proofs = {line["seq"]: proof.Proof.parse(line["proof"]) for line in lines(files["sample-proofs.jsonl"])}
    for at, item in zip(drawn, sample.items, strict=True):
        leaf = canonical.encode(population[at]["leaf"])
        assert (item.seq, item.leaf_hash.hex()) == (population[at]["seq"], population[at]["leaf_hash"])
        assert proof.verify(proofs[item.seq], leaf, [key], key.name) == checkpoint


def test_the_access_and_the_report_are_events(issued: tuple[Installation, Issued]) -> None:
    site, made = issued
    (access,), (issue_event,) = told(site, "records.opened"), told(site, "report.issued")
    report = made.collected.model
    size = site.size("cn")
    assert access.facts == {
        "ledger": str(site.ledger("cn")),
        "first": 1,
        "last": RECORDS["cn"],
        "count": RECORDS["cn"],
        "related": 0,
        "size": size,
        "root": canonical.b64(report.integrity.checkpoint.root),
        "break_glass": 1,
    }
    assert report.identification.access_entry == f"events ledger, seq {access.seq}"
    assert issue_event.seq == made.event
    assert issue_event.actor == issue_event.facts["recipient"]
    assert issue_event.facts["sha256"] == canonical.b64(hashlib.sha256(made.path.read_bytes()).digest())
    assert (issue_event.facts["report"], issue_event.facts["kind"]) == (report.identification.report_id, "evidence")
    assert PURPOSE not in str(access.facts) + str(issue_event.facts)
    assert all(not found.counts for found in site.audit())


def test_only_its_owner_can_read_it(issued: tuple[Installation, Issued]) -> None:
    _, made = issued
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o600
    assert [path.name for path in made.path.parent.iterdir() if path.name.startswith(".")] == []


def test_nothing_is_opened_unless_the_access_is_written_down(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Opener, "open", lambda *_: pytest.fail("opened"))
    _fails_to_record(monkeypatch, "records.opened")
    with pytest.raises(Unavailable):
        issue(installation, tmp_path / "evidence.pdf")
    assert list(tmp_path.glob("*evidence*")) == []


def test_there_is_no_report_without_its_event(
    installation: Installation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "evidence.pdf"
    out.write_text("an earlier report")
    _fails_to_record(monkeypatch, "report.issued")
    with pytest.raises(Unavailable):
        issue(installation, out)
    assert out.read_text() == "an earlier report"
    assert [path.name for path in tmp_path.glob("*evidence*")] == ["evidence.pdf"]


def test_a_place_that_cannot_be_written_is_found_before_anything_is_opened(
    installation: Installation, tmp_path: Path
) -> None:
    before = installation.size("events")
    for out in (tmp_path, tmp_path / "nowhere" / "evidence.pdf", tmp_path / "home" / "vault.json" / "evidence.pdf"):
        with pytest.raises(UsageError):
            issue(installation, out)
    assert installation.size("events") == before


def _fails_to_record(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    item = events._item

    def fails(vault: Vault, event: events.Event, *rest: Any) -> Item:
        if event.name == name:
            raise Unavailable("the database went away")
        return item(vault, event, *rest)

    monkeypatch.setattr(events, "_item", fails)
