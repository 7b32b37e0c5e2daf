"""Samples from committed populations: what is fixed, who saw it, and that a nonce comes after it or is told of."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import pytest

from reports import committing, sampling
from reports.collect import Collected, collect_evidence
from reports.period import period_of
from service import wiring
from tests.support.acting import happened
from tests.support.decisions import decision, spelled
from tests.support.evidence import attachments, lines
from tests.support.outside import configure, go, trusting
from tests.support.vault import RECORDS, Installation
from tests.support.witness import Witness
from vault import ledgers
from vault.context import Actor, Vault
from vault.core import canonical
from vault.core.errors import Denied, Unknown, UsageError
from vault.ledgers import Ledger

CN = RECORDS["cn"]
NONCE = bytes(range(16))
SURE, SEVENTH = Fraction(9, 10), Fraction(1, 4)


@pytest.fixture(scope="module")
def site(built: Installation, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with built.copied(tmp_path_factory.mktemp("sampled") / "home") as copy:
        yield copy


@pytest.fixture
def vault(site: Installation) -> Iterator[Vault]:
    (site.home / "witness.toml").unlink(missing_ok=True)
    with site.opened() as vault:
        yield vault


@pytest.fixture
def cn(vault: Vault) -> Ledger:
    return ledgers.get(vault, "cn")


@pytest.fixture
def witness(vault: Vault, site: Installation) -> Iterator[Witness]:
    for path in vault.checkpoints.outside(vault.events).glob("*"):
        path.unlink()
    with Witness.opened(trusting(vault)) as witness:
        configure(site.home, [witness])
        yield witness


def commit(vault: Vault, ledger: Ledger) -> committing.Committed:
    return committing.commit(vault, ledger, confidence=SURE, tolerable=SEVENTH)


def collect(vault: Vault, ledger: Ledger, drawn: committing.Drawn, workdir: Path) -> Collected:
    workdir.mkdir(mode=0o700)
    book = wiring.rule_book(vault)
    period = period_of(book, ledger.genesis.jurisdictions, None, None)
    high = {"CNY": Decimal(CN)}
    return collect_evidence(vault, ledger, book, period, "audit", workdir, drawn=drawn, high_value=high)


def test_the_sample_is_drawn_from_what_was_committed(
    vault: Vault, cn: Ledger, site: Installation, witness: Witness, tmp_path: Path
) -> None:
    made = commit(vault, cn)
    size = made.signed.checkpoint.size
    assert go(vault).problems == ()
    site.ingest("cn", [(1, spelled(decision(9001)))])  # later: in no figure of this report
    drawn = committing.draw(vault, cn, made.sample, NONCE)
    found = collect(vault, cn, drawn, tmp_path / "work")
    report, sample = found.report, found.report.integrity.sample
    assert (report.population.tree_size, report.population.in_period) == (size, size - 1)
    assert report.population.adds_up
    assert report.integrity.verdict == "OK"
    assert report.integrity.checkpoint.note == made.signed.note
    assert sample.seed == made.signed.checkpoint.root + NONCE
    positions = sampling.draw(sample.seed, size - 1, sampling.sample_size(SURE, SEVENTH))
    assert [item.position for item in sample.items] == [at + 1 for at in positions]
    assert {item.verdict for item in sample.items} == {"OK"}
    chosen = sample.commitment
    assert chosen is not None
    ((cosigned_at, by, own),) = [(one.at, one.by, one.own) for one in chosen.seen]
    assert (by, own, chosen.draws, sample.self_drawn) == (witness.name, False, 1, False)
    assert chosen.committed_at.replace(microsecond=0) <= cosigned_at <= chosen.nonce_at
    assert committing.problems(chosen) == ()
    # The order of events: committed, then drawn, then opened.
    (committed,) = (one for one in happened(vault, "sample.committed") if one.facts["sample"] == made.sample)
    (given,) = (one for one in happened(vault, "sample.drawn") if one.facts["sample"] == made.sample)
    opened = happened(vault, "records.opened")[-1]
    assert committed.seq < given.seq < opened.seq
    assert (committed.facts["size"], committed.facts["root"]) == (size, canonical.b64(made.signed.checkpoint.root))
    assert (committed.facts["confidence"], committed.facts["tolerable"]) == (900, 250)
    # Its proofs lead to the committed checkpoint.
    (proofs,) = (one for one in found.attachments if one.name == "sample-proofs.jsonl")
    assert isinstance(proofs.source, bytes)
    assert all(made.signed.note in line["proof"] for line in lines(proofs.source))


def test_who_saw_it_only_after_the_nonce_saw_it_too_late(vault: Vault, cn: Ledger, witness: Witness) -> None:
    made = commit(vault, cn)
    committing.draw(vault, cn, made.sample, NONCE)
    assert go(vault).problems == ()
    chosen = committing.draw(vault, cn, made.sample, NONCE).seed.commitment
    assert chosen is not None
    assert (chosen.seen, chosen.draws) == ((), 1), "the same nonce again is no news"
    assert committing.problems(chosen) == ("nobody outside saw the sample’s population before the nonce was given",)


def test_a_second_nonce_is_counted_and_told(vault: Vault, cn: Ledger, witness: Witness) -> None:
    made = commit(vault, cn)
    go(vault)
    first = committing.draw(vault, cn, made.sample, NONCE)
    second = committing.draw(vault, cn, made.sample, NONCE[::-1])
    assert first.seed.seed != second.seed.seed
    assert second.seed.commitment is not None
    assert committing.problems(second.seed.commitment) == ("2 different nonces were given for this sample",)
    told = [one.facts["nonce"] for one in happened(vault, "sample.drawn") if one.facts["sample"] == made.sample]
    assert told == [canonical.b64(NONCE), canonical.b64(NONCE[::-1])]


def test_what_cannot_be_drawn(vault: Vault, cn: Ledger) -> None:
    made = commit(vault, cn)
    for nonce in (b"", NONCE[:15], bytes(65)):
        with pytest.raises(UsageError, match="a nonce has 16 to 64 bytes"):
            committing.draw(vault, cn, made.sample, nonce)
    with pytest.raises(Unknown, match="has no sample of this id"):
        committing.draw(vault, cn, "s-aaaa", NONCE)
    with pytest.raises(Unknown, match="has no sample of this id"):
        committing.draw(vault, ledgers.get(vault, "sg"), made.sample, NONCE)
    with pytest.raises(UsageError, match="whole thousandths"):
        committing.commit(vault, cn, confidence=Fraction(1, 3), tolerable=SEVENTH)
    assert [one for one in happened(vault, "sample.drawn") if one.facts["sample"] == made.sample] == []


def test_whoever_may_not_have_the_report_commits_and_draws_nothing(vault: Vault, cn: Ledger) -> None:
    made = commit(vault, cn)
    stranger = replace(vault, actor=Actor("p-stranger", False, roles=frozenset({"auditor"})))
    for act in (lambda: commit(stranger, cn), lambda: committing.draw(stranger, cn, made.sample, NONCE)):
        with pytest.raises(Denied, match="no grant"):
            act()
    assert happened(vault, "access.denied")[-1].facts["act"] == "report.request"
    assert len([one for one in happened(vault, "sample.drawn") if one.facts["sample"] == made.sample]) == 0


def test_strata_are_listed_in_full(vault: Vault, cn: Ledger, site: Installation, tmp_path: Path) -> None:
    overruled = decision(9100, review={"reviewer": "staff-7", "agreed": False})
    elsewhere = decision(9101)
    review = decision(
        9102,
        api="human_review",
        review={"reviewer": "staff-7", "agreed": False},
        relates_to=[{"kind": "review_of", "id": "dec-9101"}],
        **dict.fromkeys(("prompt", "response", "model", "confidence")),
    )
    results = site.ingest("cn", list(enumerate(map(spelled, (overruled, elsewhere, review)), 1)))
    at = [result.seq for result in results]
    made = commit(vault, cn)
    found = collect(vault, cn, committing.draw(vault, cn, made.sample, NONCE), tmp_path / "work")
    (listed,) = (one for one in found.attachments if one.name == "strata.jsonl")
    assert isinstance(listed.source, Path)
    told: dict[str, list[int]] = {}
    for line in lines(listed.source):
        told.setdefault(line["stratum"], []).append(line["seq"])
    assert told["overruled"] == at[:2]
    assert told["low_confidence"] == sorted(told["low_confidence"])
    assert len(told["low_confidence"]) == found.report.low_confidence.count
    assert {one.code: one.count for one in found.report.strata} == {
        code: len(told.get(code, ())) for code in ("overruled", "low_confidence", "held", "high_value")
    }
    assert CN in told["high_value"], "an amount of CN and a half"
    assert 1 not in told["high_value"]


def test_the_commands(vault: Vault, site: Installation, witness: Witness, tmp_path: Path) -> None:
    ran = site.run("sample", "commit", "--ledger", "cn", "--json")
    assert ran.exit_code == 0, ran.stderr
    told = json.loads(ran.stdout)
    assert (told["records_to_draw"], [one["by"] for one in told["seen"]]) == (59, [witness.name])
    out = tmp_path / "evidence.pdf"
    asked = ("report", "evidence", "--ledger", "cn", "--purpose", "audit", "-o", str(out))
    ran = site.run(*asked, "--sample", told["sample"])
    assert (ran.exit_code, "give --sample and --nonce" in ran.stderr) == (2, True)
    for wrong in (("--nonce", "0x12"), ("--high-value", "CNY"), ("--high-value", "cny:1")):
        assert site.run(*asked, *wrong).exit_code == 2
    ran = site.run(
        *asked, "--sample", told["sample"], "--nonce", NONCE.hex(), "--high-value", "CNY:40", "--language", "zh-Hans",
        "--json",
    )  # fmt: skip
    assert ran.exit_code == 0, ran.stderr
    sample = json.loads(ran.stdout)["sample"]
    assert (sample["sample"], sample["draws"], sample["self_drawn"]) == (told["sample"], 1, False)
    assert sample["seed"] == told["root"] + NONCE.hex()
    assert attachments(out)["strata.jsonl"]
    issued = happened(vault, "report.issued")[-1]
    assert issued.facts["sample"] == told["sample"]
    (site.home / "witness.toml").unlink()
    ran = site.run("sample", "commit", "--ledger", "cn", "--confidence", "0.9", "--tolerable", "0.25")
    assert ran.exit_code == 0
    assert "nobody outside has seen it" in ran.stdout
    assert "9 records will be drawn" in ran.stdout
    (alone,) = re.findall(r"sample (s-[a-z2-7]{16}): ", ran.stdout)
    ran = site.run(*asked, "--sample", alone, "--nonce", NONCE.hex())
    assert (ran.exit_code, "nobody outside saw the sample" in ran.stdout) == (7, True)
