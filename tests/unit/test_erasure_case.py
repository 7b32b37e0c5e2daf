"""One entry's absence against one disposal: what needs no database to be tried."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vault.core import canonical
from vault.core import selection as sets
from vault.core.destruction import Destruction, Destructions, Move
from vault.core.disposal import signed_bytes
from vault.core.errors import Missing
from vault.core.governance import Approval, ApproverKey, Disposal
from vault.core.leaf import RecordLeaf
from vault.core.manifest import Manifest
from vault.core.selection import Selection
from vault.erasure import UNEXPLAINED, Case, Evidence
from vault.judge import Judge
from vault.outside import OutsideTime
from vault.verdict import LedgerReport, Verdict

LEDGER = UUID("3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634")
TENANT = "t-1"
AT = 2_000_000_000_000_000  # 2033-05-18T03:33:20Z
SEQS = Selection.of([3, 4, 5])
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32) for at in range(2)]
KEPT = [ApproverKey(f"p-{at}", key.public_key().public_bytes_raw(), 1 + at) for at, key in enumerate(KEYS)]


def leaf(seq: int, keep_until: str | None = "2033-05-18T03:33:20Z", group: str = "2033-04.0") -> RecordLeaf:
    digest = canonical.b64(bytes(32))
    return RecordLeaf(
        facets=digest,
        group=group,
        id_tag=canonical.b64(bytes(16)),
        keep_until=msgspec.UNSET if keep_until is None else keep_until,
        key=digest,
        kind="record",
        ledger=str(LEDGER),
        parts=(digest,),
        plaintext=digest,
        prev=digest,
        producer="psp-1",
        received_at="2030-01-01T00:00:00.000Z",
        rulebook=digest,
        rules=("PROD-3Y",),
        seq=seq,
        v=1,
    )


def hashed(seq: int) -> bytes:
    return bytes([seq]) * 32


def manifest() -> bytes:
    made = Manifest(LEDGER)
    for seq in SEQS:
        made.add(seq, hashed(seq))
    return made.digest()


def told(kind: str = "expiry") -> Destruction:
    """Return a lawful destruction of ``SEQS``."""
    named = canonical.b64(sets.digest(LEDGER, SEQS))
    disposal = Disposal(
        "d-1",
        kind,  # type: ignore[arg-type]
        str(LEDGER),
        canonical.b64(manifest()),
        named,
        len(SEQS),
        ("2033-04.0",),
        0,
        "worker",
        9,
        AT - 10,
        0,
        state="intended",
        intended_seq=12,
        intended_at=AT - 5,
        not_before=AT // 1_000_000,
    )
    return Destruction(approved(disposal), named, len(SEQS), AT, 13, tuple(KEPT), (), done=True)


def approved(disposal: Disposal) -> Disposal:
    """Return it as both people sign it."""
    made = []
    for at, (one, key) in enumerate(zip(KEPT, KEYS, strict=True)):
        signature = canonical.b64(key.sign(signed_bytes(disposal, TENANT, one.person)))
        made.append(Approval(one.person, 10 + at, signature, canonical.b64(one.public)))
    return replace(disposal, approvals=tuple(made))


def evidence(one: Destruction, **more: object) -> Evidence:
    known = {canonical.b64(sets.digest(LEDGER, made)): made for made in (SEQS, Selection.of([4]))}

    def load(_ledger: UUID, digest: str) -> Selection:
        if digest not in known:
            raise Missing("it is not stored")
        return known[digest]

    said = Destructions({"d-1": one}, dead={str(LEDGER): frozenset({"2033-04.0"})})
    return Evidence(TENANT, said, load, **more)  # type: ignore[arg-type]


def test_a_lawful_one_explains_to_the_second() -> None:
    case = Case(evidence(told()), told())
    assert case.why_not(leaf(3)) is None
    assert case.why_not(leaf(3, "2033-05-18T03:33:21Z")) == "it was to be kept until 2033-05-18T03:33:21Z"
    assert case.why_not(leaf(3, group="2033-04.1")) == "the key of its group 2033-04.1 is not destroyed"


@pytest.mark.parametrize(("dated", "why"), [(True, None), (False, "it had no date, and none was told before the plan")])
def test_without_a_date_one_must_have_been_told(dated: bool, why: str | None) -> None:
    said = evidence(told(), dated=lambda *_: dated)
    assert Case(said, told()).why_not(leaf(3, None)) == why
    assert Case(said, told("early")).why_not(leaf(3, None)) is None


def test_only_a_date_from_before_the_plan_and_up_to_the_destruction_is_asked_for() -> None:
    asked: list[tuple[str, int, int, int]] = []
    said = evidence(told(), dated=lambda *question: bool(asked.append(question)))  # type: ignore[func-returns-value]
    Case(said, told()).why_not(leaf(3, None))
    assert asked == [(str(LEDGER), 3, told().disposal.seq, AT)]


def test_a_date_has_to_be_over_by_the_time_that_others_saw() -> None:
    """The vault's clock ran ahead of the date that was told; a witness saw the destruction before it."""
    asked: list[int] = []
    seen = OutsideTime(datetime.fromtimestamp(AT // 1_000_000 - 60, UTC), ("w",), True, 20)
    said = evidence(told(), dated=lambda *question: bool(asked.append(question[3])), vouch=lambda _seq: seen)  # type: ignore[func-returns-value]
    assert Case(said, told()).why_not(leaf(3, None)) is not None
    assert asked == [AT - 60_000_000]


def test_an_early_one_asks_for_no_date() -> None:
    assert Case(evidence(told("early")), told("early")).why_not(leaf(3, "2099-01-01T00:00:00Z")) is None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"at": AT - 1}, "its cooling-off was not over"),
        ({"count": 2}, "it destroyed other entries than were planned"),
        ({"final": canonical.b64(bytes(32))}, "what it destroyed cannot be told: it is not stored"),
        ({"approvers": ()}, "0 of 2 approvals are sound"),
        ({"wrong": "its keys began to die twice"}, "its keys began to die twice"),
        ({"holds": (("h-1", (canonical.b64(bytes(32)),)),)}, "what was held or moved cannot be told: it is not stored"),
    ],
    ids=["cooling-off", "count", "final", "approvers", "twice", "hold"],
)
def test_what_does_not_hold_is_told(changes: dict[str, object], why: str) -> None:
    bad = replace(told(), **changes)  # type: ignore[arg-type]
    assert Case(evidence(bad), bad).why_not(leaf(3)) == why


def test_doubt_about_the_events_is_doubt_about_all_of_it() -> None:
    assert Case(evidence(told(), doubt="not whole"), told()).why_not(leaf(3)) == "not whole"


def test_a_move_whose_selection_is_lost_stops_all_of_it() -> None:
    said = evidence(told())
    said.destructions.moves[str(LEDGER)] = (Move("held.0", canonical.b64(bytes(32)), AT - 1),)
    assert "cannot be told" in str(Case(said, told()).why_not(leaf(3)))


def _judged(gone: set[int], hashes: dict[int, bytes] | None = None, one: Destruction | None = None) -> LedgerReport:
    report = LedgerReport(LEDGER)
    judge = Judge(evidence(one or told()), LEDGER)
    for seq in range(1, 8):
        why = judge.take(leaf(seq), (hashes or {}).get(seq, hashed(seq)), seq not in gone)
        if why is not None:
            report.add(Verdict.MISSING, seq, why)
    judge.finish(report)
    return report


def test_the_judge_counts_what_is_explained_and_names_what_is_not() -> None:
    report = _judged({3, 4, 5, 7})
    assert (report.erased, report.dying) == (3, 0)
    assert [(fault.seq, fault.what) for fault in report.faults] == [(7, UNEXPLAINED)]


def test_one_leaf_that_differs_makes_another_manifest() -> None:
    report = _judged({3, 4, 5}, {4: bytes(32)})
    assert report.erased == 0
    assert [(fault.seq, fault.last) for fault in report.faults] == [(3, 5)]
    assert "the manifest is not that of these entries" in report.faults[0].what


def test_what_still_stands_there_is_dying_or_undeleted() -> None:
    report = _judged({3}, one=replace(told(), done=False))
    assert (report.erased, report.dying, report.faults) == (1, 2, [])
    report = _judged({3})
    assert [(fault.verdict, fault.seq, fault.last) for fault in report.faults] == [(Verdict.MODIFIED, 4, 5)]
