"""The facts of a certificate as tests print them: long ids, Chinese instruments, copies that are outstanding."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from retention.certified import ApproverFacts, CertificateFacts, KeyFacts, Position, RuleFacts
from retention.copies import Copy

_LEDGER = "7c1f0a52-6b39-4f0e-9a77-2f1f1d5f0f3e"
_DIGEST = "yF6Tn8m3o0bQmXrFz5u7Vw9A1c2E4g6I8k0M2o4Q6s8"

_STATEMENT = "\n".join(
    (
        "reasonvault disposal approval/1",
        "b2c8e0a4-1f7d-4c6b-9d53-0a9b8c7d6e5f",
        "d-20361104-5d0f6f1b2c",
        "expiry",
        _LEDGER,
        _DIGEST,
        "4815",
        "2036-10-31T16:00:00Z",
        "30090",
        "259200",
        "",
    )
)


def facts(**changes: Any) -> CertificateFacts:
    """Return a certificate's facts, some of them changed."""
    made = CertificateFacts(
        disposal="d-20361104-5d0f6f1b2c",
        tenant="b2c8e0a4-1f7d-4c6b-9d53-0a9b8c7d6e5f",
        kind="expiry",
        early=False,
        ledger=_LEDGER,
        ledger_name="cn-hangzhou-payments",
        ledger_kind="decisions",
        jurisdictions=("CN", "SG", "DE"),
        requested_by="worker",
        reason="",
        planned_at="2036-11-04T02:00:11Z",
        rules=(
            _rule("PROD-3Y", "Product floor for every jurisdiction", "P3Y", "verified", 4812),
            _rule(
                "CN-PBOC-10",
                "金融机构客户身份识别和客户身份资料及交易记录保存管理办法（中国人民银行令〔2007〕第2号）第二十九条",
                "P5Y",
                "secondary",
                4790,
            ),
            _rule("SG-MAS-626", "MAS Notice 626, paragraph 12.3", "P5Y", "verified", 1301),
            _rule("DE-AO-147", "§ 147 Abs. 1 Nr. 4 und Abs. 3 Abgabenordnung", "P8Y", "unverified", 77),
        ),
        due="2036-10-31T16:00:00Z",
        manifest=_DIGEST,
        planned=4815,
        destroyed=4812,
        selection=_DIGEST[::-1],
        ranges=((1, 1407), (1409, 3000), (3002, 4815)),
        holds_checked_at="2036-11-07T03:15:40Z",
        holds_checked=30122,
        held=2,
        extended=1,
        open_ended=0,
        moved_before=0,
        excepted=3,
        exceptions=_DIGEST,
        exception_ranges=((1408, 1408), (3001, 3001), (4816, 4816)),
        groups=("2036-10.0", "2036-10.1"),
        keys=tuple(
            KeyFacts(
                group,
                f"g.{_LEDGER}.{group}",
                "keyfile",
                "2026-11-01T00:00:02Z",
                "2036-11-07T03:15:44Z",
                "destroyed",
                30125 + at,
                "d-20361104-5d0f6f1b2c",
            )
            for at, group in enumerate(("2036-10.0", "2036-10.1", "held.0"))
        ),
        provider="keyfile",
        epochs_tried=61,
        deleted=4812,
        approvers=tuple(
            ApproverFacts(
                person,
                "2036-11-04T07:30:00Z",
                30101 + at,
                _DIGEST,
                "SHA256:9f2c 11ab 7d5e 0c44 8b1a 6e2f d0c9 3a17",
                11 + at,
                _DIGEST * 2,
                _STATEMENT + person + "\n",
                counts=True,
            )
            for at, person in enumerate(("p-9a8b7c6d5e4f3a2b", "p-0011223344556677"))
        ),
        intended_at="2036-11-04T07:31:02Z",
        cooling_off_seconds=72 * 3600,
        not_before="2036-11-07T07:31:02Z",
        before=Position(1204511, _DIGEST),
        after=Position(1204523, _DIGEST),
        copies=(
            Copy(
                "key_store_copy",
                "copies of the key store made before the keys were destroyed (keyfile)",
                "",
                "",
                "their destruction is confirmed by whoever keeps it",
                "text",
            ),
            Copy(
                "recovery_file",
                "opens copies of the key store",
                "Notar Dr. Müller, 杭州 Tresor 4",
                "",
                "its destruction is confirmed by whoever keeps it",
                "text",
            ),
            Copy(
                "open_keys",
                "keys that a running process opened before, in its memory",
                "",
                "",
                "2036-11-11T03:15:44Z, or the restart of every process",
                "text",
            ),
            Copy(
                "database_dump",
                "dumps and backups of the database made before: facets in clear, and envelopes that open no more",
                "",
                "",
                "they are overwritten or expire",
                "facets",
            ),
            Copy(
                "report",
                "evidence report ev-2f6a1c1e-7a52-4b3d-9a55-1d2f3b4c5d6e",
                "p-9a8b7c6d5e4f3a2b",
                "2034-02-01T09:00:00.000Z",
                "its destruction is confirmed by whoever keeps it",
                "facets",
            ),
        ),
        destroying_at="2036-11-07T03:15:40Z",
        destroyed_at="2036-11-07T03:15:44Z",
        done_at="2036-11-07T03:16:20Z",
        issued_at="2036-11-08T10:00:00Z",
        events={"planned": 30090, "intended": 30103, "destroying": 30122, "done": 30140},
    )
    return replace(made, **changes)


def _rule(name: str, instrument: str, minimum: str, status: str, count: int) -> RuleFacts:
    return RuleFacts(
        name,
        "2027-01",
        _DIGEST,
        name[:2],
        instrument,
        minimum,
        "decision_completed",
        "no",
        status,
        "",
        count,
        "2026-10-01T00:03:11Z",
        "2026-10-31T15:58:40Z",
        "2036-10-01T16:00:00Z",
        "2036-10-31T16:00:00Z",
    )
