"""The dossier: one conversation under a grant, what it shows, what it never shows, and that the vault knows of it."""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from reports.dossier import kind as dossier
from reports.dossier.collect import collect_dossier
from reports.dossier.model import Dossier
from reports.issue import Issued
from reports.issue import issue as issue_report
from reports.kind import Wanted
from reports.period import period_of
from retention import copies
from service import wiring
from tests.support.acting import granted, happened, hire, last
from tests.support.decisions import decision, spelled
from tests.support.evidence import PURPOSE, attachments
from tests.support.vault import Installation
from vault import grants, ledgers, selections
from vault.context import Actor, Vault
from vault.core import canonical, leaf, proof
from vault.core.errors import Denied, Unknown, UsageError
from vault.core.note import VerifierKey
from vault.core.selection import Selection

TALK = {"conversation": "conv-2"}  # dec-4 and dec-5
_numbers = count()

FAILED = {"action": "refund", "outcome": "failed", "money_moved": False}
PAID = decision(906)["decision"]
MORE = (
    decision(901, conversation_id="talk", confidence=None, response=None, decision=FAILED),
    decision(902, conversation_id="talk", attempt=2, relates_to=[{"kind": "retry_of", "id": "dec-901"}]),
    decision(903, conversation_id="talk", record_class="aml", step=1, prompt="a secret look at Li Wei"),
    decision(904, conversation_id="Li Wei's refund"),
    decision(905, conversation_id="paid", id="Li Wei 1", decision=PAID | {"outcome": "outcome_unknown"}),
    decision(906, conversation_id="paid", id="Li Wei 2", relates_to=[{"kind": "settles", "id": "Li Wei 1"}]),
)


@pytest.fixture(scope="module")
def grown(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with built.copied(tmp_path_factory.mktemp("dossier") / "home") as site:
        results = site.ingest("cn", list(enumerate(map(spelled, MORE), 1)))
        assert [result.status.value for result in results] == ["accepted"] * len(MORE)
        yield site


@pytest.fixture
def vault(grown: Installation) -> Iterator[Vault]:
    with grown.opened() as opened:
        yield opened


@pytest.fixture
def anna(vault: Vault) -> Actor:
    return hire(vault, f"anna-{next(_numbers)}", "auditor")


@pytest.fixture
def olaf(vault: Vault) -> Actor:
    return hire(vault, f"olaf-{next(_numbers)}", "officer")


def _wanted(vault: Vault, **options: Any) -> Wanted:
    book, ledger = wiring.rule_book(vault), ledgers.get(vault, "cn")
    return Wanted(ledger, book, period_of(book, ledger.genesis.jurisdictions, None, None), PURPOSE, options=options)


def _issue(vault: Vault, out: Path, **options: Any) -> Issued:
    return issue_report(vault, dossier.KIND, _wanted(vault, **options), out)


def _collect(vault: Vault, folder: Path, **options: Any) -> Dossier:
    folder.mkdir()
    return collect_dossier(vault, _wanted(vault, **options), folder, "do-test", lambda *_: None).dossier


def _lines(data: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in data.splitlines()]


def test_a_full_dossier_stands_on_its_own(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    grant = granted(vault, anna, olaf, ["cn"]).id
    made = _issue(vault.acting(anna), tmp_path / "made.pdf", **TALK)
    files = attachments(made.path)
    keys = [VerifierKey.parse(line) for line in files["verifier-keys.txt"].decode().splitlines()]
    records, leaves = _lines(files["records.jsonl"]), files["leaves.jsonl"].splitlines()
    assert [one["seq"] for one in records] == [4, 5]
    for record, data in zip(records, leaves, strict=True):
        place = leaf.parse(data)
        held = proof.Proof.parse(files[f"record-{record['seq']}.tlog-proof"])
        assert held.checkpoint == files["checkpoint.txt"].decode()
        assert held.index == record["seq"]
        proof.verify(held, data, keys, f"{vault.checkpoints.origin(ledgers.get(vault, 'cn').id)}")
        opening, raw = canonical.unb64(record["opening"], 32), record["record"].encode()
        assert isinstance(place, leaf.RecordLeaf)
        assert canonical.b64(hmac.new(opening, raw, sha256).digest()) == place.plaintext
        assert raw == spelled(decision(record["seq"]))
    log = _lines(files["access-log.jsonl"])
    own = [one for one in log if one["event"] == "records.opened" and one["facts"].get("report") == made.report]
    (facts,) = [one["facts"] for one in own]
    assert (facts["count"], facts["fields"], facts["grant"]) == (2, "full", grant)
    assert selections.load(vault, ledgers.get(vault, "cn").id, facts["selection"]) == Selection.of([4, 5])
    held = proof.Proof.parse(files[f"access-{own[0]['seq']}.tlog-proof"])
    data = next(line for line in files["access-log.jsonl"].splitlines() if json.loads(line)["seq"] == own[0]["seq"])
    proof.verify(held, data, keys, vault.checkpoints.origin(vault.events))
    assert PURPOSE.encode() not in files["access-log.jsonl"]


def test_it_is_an_outstanding_copy_of_exactly_its_records(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"])
    made = _issue(vault.acting(anna), tmp_path / "made.pdf", **TALK)
    event = last(vault, "report.issued").facts
    assert (event["kind"], event["count"], event["fields"], event["recipient"]) == ("dossier", 2, "full", anna.name)

    def of(*seqs: int) -> list[tuple[str, str]]:
        cn, told = ledgers.get(vault, "cn").id, happened(vault, *copies.NAMES)
        listed = copies.outstanding(vault, cn, Selection.of(seqs), "2029-01-01T00:00:00Z", told)
        return [(one.what, one.shows) for one in listed if made.report in one.what]

    assert of(5) == [(f"dossier report {made.report}", "text")]
    assert of(6) == []


def test_what_a_dossier_that_died_left_is_outstanding(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    granted(vault, anna, olaf, ["cn"], fields="masked")

    def die(*_: Any, **__: Any) -> Any:
        raise RuntimeError

    monkeypatch.setattr("reports.issue.render", die)
    with pytest.raises(RuntimeError):
        _issue(vault.acting(anna), tmp_path / "made.pdf", **TALK)
    assert list(tmp_path.iterdir()) == []
    died = last(vault, "records.opened").facts["report"]
    cn, told = ledgers.get(vault, "cn").id, happened(vault, *copies.NAMES)
    listed = copies.outstanding(vault, cn, Selection.of([4]), "2029-01-01T00:00:00Z", told)
    assert (f"what dossier {died} left when it died, if anything", "facets") in [
        (one.what, one.shows) for one in listed
    ]


def test_a_masked_dossier_shows_no_text(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    granted(vault, anna, olaf, ["cn"], fields="masked")
    made = _issue(vault.acting(anna), tmp_path / "made.pdf", **TALK)
    model: Dossier = made.collected.model
    assert model.shows == "masked"
    assert [step.money for step in model.steps] == ["CNY 4.50", "CNY 5.50"]
    assert [(step.prompt[0].text, step.transaction) for step in model.steps] == [("[masked]", "[masked]")] * 2
    files = attachments(made.path)
    for line in _lines(files["records.jsonl"]):
        assert (line["state"], line["masked"]["prompt"]) == ("masked", "[masked]")
        assert "opening" not in line
    text = b"".join(files.values())
    for secret in (b"was cancelled", b"Yes, refund", b"txn-4", b"cus-4"):
        assert secret not in text
    event = last(vault, "report.issued").facts
    assert event["fields"] == last(vault, "records.opened").facts["fields"] == "masked"


def test_a_settled_movement_counts_once_also_where_ids_are_masked(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"], fields="masked")
    found = _collect(vault.acting(anna), tmp_path / "one", conversation="paid")
    assert [step.record_id for step in found.steps] == ["[masked]", "[masked]"]
    assert found.executed == (("CNY 906.50", 1),)


def test_a_conversation_is_found_by_a_record_or_a_transaction(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    granted(vault, anna, olaf, ["cn"])
    acting = vault.acting(anna)
    for at, named in enumerate(({"record": "dec-5"}, {"transaction": "txn-4"})):
        found = _collect(acting, tmp_path / str(at), **named)
        assert [step.seq for step in found.steps] == [4, 5]
    with pytest.raises(Unknown, match="transaction"):
        _collect(acting, tmp_path / "a", transaction="txn-none")
    with pytest.raises(Unknown, match="conversation"):
        _collect(acting, tmp_path / "b", conversation="conv-none")
    for named in ({}, {"record": "dec-4", "conversation": "conv-2"}):
        with pytest.raises(UsageError, match="one conversation"):
            _collect(acting, tmp_path / f"c{len(named)}", **named)


def test_a_masked_grant_confirms_nothing_that_it_masks(vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path) -> None:
    granted(vault, anna, olaf, ["cn"], fields="masked")
    for at, named in enumerate(({"transaction": "txn-4"}, {"conversation": "Li Wei's refund"}, {"record": "dec-904"})):
        with pytest.raises(Denied, match=r"masks such a conversation|by customer or transaction"):
            _collect(vault.acting(anna), tmp_path / str(at), **named)
    assert not any("report" in one.facts and one.actor == anna.name for one in happened(vault, "records.opened"))


def test_a_class_that_no_grant_covers_is_neither_shown_nor_counted(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path
) -> None:
    payment = granted(vault, anna, olaf, ["cn"], classes=("payment",)).id
    found = _collect(vault.acting(anna), tmp_path / "one", conversation="talk")
    assert ([step.record_id for step in found.steps], found.uncovered) == (["dec-901", "dec-902"], 0)
    assert found.timeline[1].detail == "qwen-max-2"
    # Another grant of the same person would show it, so searching would tell them already.
    granted(vault, anna, olaf, ["cn"], fields="masked")
    narrow = _collect(vault.acting(anna), tmp_path / "two", conversation="talk", grant=payment)
    assert (narrow.records, narrow.uncovered, narrow.grants) == (2, 1, (payment,))
    both = _collect(vault.acting(anna), tmp_path / "three", conversation="talk")
    assert (both.records, both.uncovered, both.shows, len(both.own)) == (3, 0, "mixed", 2)
    assert {step.record_id: step.masked for step in both.steps} == {"dec-901": False, "dec-902": False, "dec-903": True}
    assert b"Li Wei" not in (tmp_path / "three" / "records.jsonl").read_bytes()


def test_whoever_has_no_grant_gets_nothing(vault: Vault, anna: Actor, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--user"):
        _issue(vault, tmp_path / "made.pdf", **TALK)
    with pytest.raises(Denied, match="no grant"):
        _issue(vault.acting(anna), tmp_path / "made.pdf", **TALK)
    assert last(vault, "access.denied").facts["act"] == "report.request"
    assert list(tmp_path.iterdir()) == []


def test_a_grant_that_ends_while_it_is_made_hands_out_nothing(
    vault: Vault, anna: Actor, olaf: Actor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    grant = granted(vault, anna, olaf, ["cn"])
    _on_the_way(monkeypatch, lambda: grants.revoke(vault.acting(olaf), grant.id))
    before = len(happened(vault, "report.issued"))
    with pytest.raises(Denied, match="no grant"):
        _issue(vault.acting(anna), tmp_path / "made.pdf", **TALK)
    assert (list(tmp_path.iterdir()), len(happened(vault, "report.issued"))) == ([], before)


def _on_the_way(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Have something happen after the records were opened, and before the report is handed out."""
    from reports import issue

    made = issue.render

    def render(*arguments: Any) -> Any:
        act()
        return made(*arguments)

    monkeypatch.setattr(issue, "render", render)
