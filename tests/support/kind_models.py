"""Fixed models of reports for whoever looks at pages: long ids, Chinese, hostile strings, more rows than fit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from reports.access import kind as access
from reports.access.model import AccessReview, Account, GrantUse, Reader, Taken
from reports.basis import Basis
from reports.completeness import kind as completeness
from reports.completeness.model import CompletenessReport, Day, Doubled, MovementRow, RecordRow, Repeated
from reports.completeness.movements import Listed
from reports.figures import Count, Money, ProducerSequence, Sequences
from reports.integrity import kind as integrity
from reports.integrity.model import Anchored, Destruction, IntegrityReport, Key, LedgerState, Seen
from reports.keeping import kind as keeping
from reports.keeping.model import DisposalState, HoldState, KeepingReport, LedgerKeeping, Month
from reports.kind import Pages
from reports.model import BookInForce, Checkpoint, Fault, Identification, Period, Refusals, Rule
from reports.phrase import phrase

AT = datetime(2026, 1, 5, 8, 1, 12, tzinfo=UTC)
LEDGER = "杭州云帆支付有限公司 · refunds-cn"
LONG = "订单-" + "0123456789abcdef" * 7 + "-結尾-終わり"
HOSTILE = "{{ 7*7 }}</td><script>alert(1)</script>\u202egnp.exe\0\x1b[31m"
_UUID = "5b0d2f0e-3a57-4c0e-9d77-5d0f4a1f6c52"
_ORIGIN = f"reasonvault.example/{_UUID}"
_PERSON = "p-9f1a2b3c4d5e6f70"


@dataclass(frozen=True)
class Outside:
    """What others said; stands for ``vault.outside.Assured``."""

    witnessed_at: datetime | None = AT
    witnesses: tuple[str, ...] = ("witness.example/w1", "证人.example/二号")
    independent: bool = True
    stamped_at: datetime | None = AT
    authority: str | None = "CN=Example TSA,O=Example,C=XX"
    problems: tuple[str, ...] = ()


@dataclass(frozen=True)
class Signer:
    """Who signs; stands for ``reports.signing``'s own facts."""

    subject: str = "CN=Reasonvault reports,O=云帆集团"
    fingerprint: bytes = bytes(range(32))
    not_after: datetime = datetime(2028, 1, 1, tzinfo=UTC)
    self_signed: bool = True


def who(ledger: str = "", **changes: Any) -> Identification:
    """Return page one of a report on the tenant, or on a ledger."""
    made: dict[str, Any] = {
        "report_id": "xx-" + _UUID,
        "ledger": ledger or phrase("all ledgers"),
        "ledger_id": _UUID if ledger else "",
        "tenant": "云帆集团 Yunfan Group",
        "region": "cn-east",
        "jurisdictions": ("CN", "SG") if ledger else (),
        "period": Period(AT, AT + timedelta(days=90), "Asia/Shanghai"),
        "made_by": "local:li.na",
        "break_glass": not ledger,
        "purpose": f"Quarterly review 季度复核 {HOSTILE}",
        "generated_at": AT + timedelta(days=91),
        "vault_version": "0.1.0",
        "assured": Outside() if ledger else None,
        "signer": Signer() if ledger else None,
    }
    return Identification(**made | changes)


def integrity_pages() -> Pages:
    """A vault with faults, a frozen ledger and destructions."""
    verdicts = {"OK": 1_234_560, "ERASED-BY-POLICY": 17, "UNSEALED": 0, "MODIFIED": 2, "MISSING": 0, "FORKED": 0}
    ledgers = tuple(
        LedgerState(
            name=name,
            ledger=_UUID,
            kind="decisions",
            entries=1_234_579,
            records=1_234_578,
            envelopes=1_234_561,
            size=1_234_579,
            root=bytes(range(32)),
            origin=_ORIGIN,
            note="note\n",
            keys=("key",),
            verdicts=verdicts,
            lost=(1_200_000, 1_234_578) if at == 2 else None,
            successor="refunds-cn-2" if at == 2 else "",
        )
        for at, name in enumerate(("events", LEDGER, "ledger-" + "0" * 57))
    )
    return integrity.pages(
        IntegrityReport(
            identification=who(problems=("3 of 5 witnesses cosigned within 60 minutes",)),
            depth="envelopes",
            checked_at=AT,
            ledgers=ledgers,
            total_ledgers=40,
            faults=tuple(Fault("MODIFIED", at * 1_000_003, f"{LEDGER}: {HOSTILE}") for at in range(4)),
            total_faults=900,
            anchored=tuple(
                Anchored(one.name, 52_560, AT, AT + timedelta(days=90), one.size, timedelta(hours=7)) for one in ledgers
            ),
            seen=tuple(
                Seen(1_000 + at, AT + timedelta(days=at), "witness.example/w1", "witness", bool(at % 2))
                for at in range(6)
            ),
            total_seen=2_000,
            longest_unseen=timedelta(days=3),
            destructions=(
                Destruction("d-aaaabbbbccccdddd", LEDGER, "expiry", 17, "2026-01-05 08:01", 2, "", True),
                Destruction("d-eeeeffffgggghhhh", "cn", "early", 1, "2026-01-06 08:01", 2, "2026-01-06 09:00", False),
            ),
            total_destructions=9,
            keys=(Key(bytes(range(32)), None, AT), Key(bytes(32), AT, None)),
        )
    )


def access_pages() -> Pages:
    """A quarter with readers, grants and files that left."""
    return access.pages(
        AccessReview(
            identification=who(),
            events=123_456,
            readers=tuple(
                Reader(f"{_PERSON}{at}" if at else "local:" + HOSTILE, 12, 3, 1_234_567, 4, 5, at, 2 - at % 2, AT, AT)
                for at in range(6)
            ),
            total_readers=17,
            records=1_234_579,
            searches=24,
            break_glass=9,
            denials=(Count("record.open", 7), Count("report.request", 3)),
            total_denials=10,
            strangers=(Count("login", 12),),
            total_strangers=12,
            grants=tuple(
                GrantUse(f"g-{at}aaaabbbbccccdddd", _PERSON, "" if at else _PERSON, state, fields, 2, AT, at, AT)
                for at, (state, fields) in enumerate(
                    (("requested", "masked"), ("approved", "full"), ("expired", "full"), ("revoked", "masked"))
                )
            ),
            total_grants=31,
            unused=2,
            taken=tuple(
                Taken(AT, kind, f"ev-{_UUID}", "p-" + "0" * 60, 1_234_567, "ab" * 32, kind == "bundle")
                for kind in ("evidence", "bundle", "certificate")
            ),
            total_taken=80,
            accounts=(
                Account(_PERSON, ("officer", "auditor"), False, 44, 3),
                Account("p-2", ("operator",), True, 0, 0),
            ),
            total_accounts=2,
            producers=(("psp-gateway-hz-1", 2, 1), ("客服机器人-2", 1, 0)),
            total_producers=2,
            policy=False,
            days=tuple(Count(f"2026-{at:02}-01", at * 37 % 50) for at in range(1, 13)),
            unit="month",
        )
    )


def keeping_pages() -> Pages:
    """Ledgers with holds, disposals in every state, and two rule books."""
    states = ("planned", "intended", "destroying", "done", "cancelled")
    return keeping.pages(
        KeepingReport(
            identification=who(),
            ledgers=(
                LedgerKeeping(LEDGER, _UUID, 1_234_567, 17, 3, 120, 4, 2, 1, ("CN", "SG")),
                LedgerKeeping("ledger-" + "0" * 57, _UUID, 45, 0, 0, 0, 0, 0, 0, ("DE",)),
            ),
            total_ledgers=30,
            months=tuple(Month(LEDGER, f"2029-{at:02}", 100_000 * at, at, AT, at < 3) for at in range(1, 9)),
            total_months=400,
            holds=tuple(
                HoldState(
                    f"h-{at}aaaabbbbccccdddd", f"c-{'0' * 24}", _PERSON, AT, 4_321 * at, 2, AT, at == 1, at == 2, ""
                )
                for at in range(3)
            ),
            total_holds=3,
            open_holds=3,
            disposals=tuple(
                DisposalState(f"d-{at}aaaabbbbccccdddd", LEDGER, "expiry", state, 1_000 * at, AT, 2, at == 3)
                for at, state in enumerate(states)
            ),
            total_disposals=9,
            books=(BookInForce("2026-01", bytes(32), AT, 5), BookInForce("2026-11", bytes(32), AT, 9)),
            rulebook_version="2026-11",
            rulebook_digest=bytes(range(32)),
            rules=tuple(
                Rule(f"CN-{at}-RULE", "CN", f"反洗钱法 Anti-Money Laundering Law, Art. {at}", "P10Y", trigger, erase,
                     "secondary", at < 2, LEDGER)
                for at, (trigger, erase) in enumerate(
                    (("relationship_ended", "at_minimum"), ("transaction_completed", "no"), ("log_created", "no"))
                )
            ),
            verdicts={"OK": 1_234_629},
            faults=(),
        )
    )  # fmt: skip


def completeness_pages() -> Pages:
    """A list of movements that disagrees with the ledger in every way."""
    moved = tuple(
        MovementRow(
            at, f"txn-{at}" if at else "z" * 128, Decimal("999999999999999999.999999"), "CNY", AT, at, LONG, "CNY 1.00"
        )
        for at in range(12)
    )
    sums = ((Money(Decimal("999999999999999999.999999"), "CNY"), 12), (Money(Decimal("3.10"), "USD"), 1))
    faults = (Fault("MODIFIED", 3, HOSTILE),)
    gaps = ProducerSequence("客服机器人-2", 39, 1, 44, 5, ((17, 17), (40, 42)), True)
    checkpoint = Checkpoint(_ORIGIN, 12_000, bytes(range(32)), "note\n", "key")
    return completeness.pages(
        CompletenessReport(
            identification=who(LEDGER, access_entry=phrase("events ledger, seq {seq}", seq=41)),
            basis=Basis(checkpoint, {"OK": 11_999, "MODIFIED": 1}, faults, 9_000, 2, 1, 8, 2, 0),
            listed=Listed("资金划转-" + "x" * 80 + ".csv", bytes(32), 123_456),
            states={"matched": 8_000, "mismatched": 12, "denied": 12, "unlogged": 12},
            outside=5,
            grace_days=7,
            counts={"unlogged": 12, "denied": 12, "mismatched": 12, "unlisted": 900, "doubled": 40, "repeated": 2},
            unlogged=moved,
            unlogged_sums=sums,
            denied=moved[:3],
            mismatched=moved,
            unlisted=tuple(RecordRow(at, LONG, None, Decimal(1), "CNY", AT, "psp-gateway-hz-1") for at in range(6)),
            unlisted_sums=sums,
            doubled=tuple(Doubled("会话" + "c" * 100, at, 2, "1, 2") for at in range(4)),
            repeated=(Repeated("z" * 128, 2, 17, 123_456),),
            days=tuple(Day(f"2026-01-{at:02}", at * 31 % 40, at % 3, at % 4) for at in range(1, 29)),
            refusals=Refusals(2, 7),
            conflicts=1,
            sequences=Sequences((gaps,), 4, 39, 3, 5),
            kept=12_000,
        )
    )  # fmt: skip
