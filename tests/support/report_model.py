"""A realistic evidence report from synthetic numbers: rows by a seeded generator, aggregated by the real
statistics."""

from __future__ import annotations

import hashlib
import json
import random
import tomllib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo

from reports import checks, figures, model, sampling
from reports.phrase import phrase
from reports.rows import Opened, Row
from reports.sequences import SequenceCount
from reports.statistics import PopulationCount, finding_lines
from vault.core.flags import Flag

START = datetime(2025, 12, 31, 16, tzinfo=UTC)
ZONE = "Asia/Shanghai"
LEDGER = "杭州云帆支付有限公司 · refunds-cn"
LONGEST_ID = "订单-" + "0123456789abcdef" * 7 + "-結尾-終わり"
MODELS = ("gpt-4o", "claude-4-sonnet", "qwen2.5-72b", "deepseek-v3", "通义千问-Max-2026-01")
JURISDICTIONS = ("CN", "SG", "HK", "GB", "DE", "US")


def rows(count: int, *, seed: int = 7, first_seq: int = 1) -> Iterator[Row]:
    """Decisions of one quarter: retries, reviews, sub-threshold executions, bypasses, odd ones."""
    rng = random.Random(seed)
    for seq in range(first_seq, first_seq + count):
        yield _row(rng, seq, START + timedelta(days=89) * ((seq - first_seq) / max(count, 1)))


def _row(rng: random.Random, seq: int, at: datetime) -> Row:
    bypass, reviewing = rng.random() < 0.04, rng.random() < 0.03
    score = None if bypass or reviewing else round(min(0.999, max(0.02, rng.betavariate(7, 2))), 4)
    flags = Flag(0)
    if score is not None and rng.random() < 0.004:
        score, flags = None, Flag.SCORE_UNUSABLE
    below = not bypass and not reviewing and (score is None or score < 0.75)
    moved = rng.random() < (0.04 if below else 0.8)
    outcome = "accepted" if moved else "human_review" if below else rng.choice(("rejected", "deterministic_rule"))
    if rng.random() < 0.003:
        outcome = "outcome_unknown"
    for flag, rate in (
        (Flag.IDENTITY_NUMBER, 0.002),
        (Flag.VALIDATION_FAILED, 0.001),
        (Flag.CLOCK_AHEAD, 0.0006),
    ):
        flags |= flag if rng.random() < rate else Flag(0)
    amount = Decimal(rng.randrange(100, 900_000)).scaleb(-2)
    executed = figures.Money(amount, rng.choice(("CNY", "CNY", "CNY", "SGD", "HKD", "EUR"))) if moved else None
    if executed and rng.random() < 0.01:
        executed, flags = None, flags | Flag.AMOUNT_MISSING
    relates = ((("review_of", f"rec-{seq - 1:08d}"),) if reviewing else ()) + (
        (("settles", f"rec-{seq - 40:08d}"),) if rng.random() < 0.002 else ()
    )
    month = (at + timedelta(days=3 * 365 + 30)).strftime("%Y-%m")
    return Row(
        seq=seq,
        record_id=LONGEST_ID if seq % 997 == 0 else f"rec-{seq:08d}",
        occurred_at=at,
        jurisdictions=(rng.choice(JURISDICTIONS),) + (("FR",) if rng.random() < 0.05 else ()),
        record_class=rng.choice(("payment", "payment", "payment", "risk", "support", "aml")),
        api="non_ai_bypass"
        if bypass
        else "human_review"
        if reviewing
        else rng.choice(("payment_intelligence", "risk_compliance", "customer_interaction")),
        outcome=outcome,
        money_moved=moved,
        model=None if bypass or reviewing else rng.choice(MODELS),
        score=score,
        below_threshold=below,
        ai_ms=None if bypass or reviewing else rng.lognormvariate(5.75, 0.32),
        flags=int(flags),
        fidelity="redacted" if rng.random() < 0.005 else "wire",
        keep_until=at + timedelta(days=3 * 365 + 1),
        group=f"{month}.1",
        rules=("PROD-3Y",) + (("SG-PSN-5Y",) if rng.random() < 0.2 else ()),
        opened=Opened(
            conversation_id=f"conv-{seq // 2 if rng.random() < 0.01 else seq}",
            proposed=executed or figures.Money(amount, "CNY"),
            executed=executed,
            threshold=None if bypass or reviewing else 0.8 if rng.random() < 0.06 else 0.75,
            relates_to=relates,
            review_agreed=True if reviewing else None,
        ),
    )


def leaf_hash(seq: int) -> bytes:
    return hashlib.sha256(b"\0leaf %d" % seq).digest()


def write_population(path: Path, population: Iterator[Row]) -> Path:
    """Lines as wide as real leaves and facets: some 900 bytes, mostly digests."""
    with path.open("w", encoding="utf-8") as out:
        for row in population:
            digests = {
                name: hashlib.sha256(f"{name}{row.seq}".encode()).hexdigest()
                for name in ("prev", "id_tag", "key", "plaintext", "facets", "part")
            }
            facets = {
                "record_id": row.record_id,
                "outcome": row.outcome,
                "money_moved": row.money_moved,
                "occurred_at": row.occurred_at.isoformat(),
                "model": row.model,
                "score": row.score,
                "flags": int(row.flags),
                "jurisdictions": row.jurisdictions,
            }
            line = {"leaf": {"v": 1, "seq": row.seq, "group": row.group, **digests}, "facets": facets}
            out.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
    return path


def write_findings(path: Path, count: PopulationCount) -> Path:
    path.write_bytes(b"".join(finding_lines(count.findings())))
    return path


def counted(records: int, *, opened: bool = True) -> PopulationCount:
    count = PopulationCount(zone=ZoneInfo(ZONE), opened=opened)
    for row in rows(records):
        count.add(row)
    return count


def evidence(
    count: PopulationCount,
    *,
    purpose: str = "Quarterly internal control review, payments (季度内部控制复核)",
    ledger: str = LEDGER,
) -> model.EvidenceReport:
    """The whole model around one aggregated population."""
    decisions = count.decisions()
    population = _population(decisions.count)
    return model.EvidenceReport(
        identification=model.Identification(
            report_id="rep-01KAR5S2M9Q8Z6T4W0XYBN3C7D",
            ledger=ledger,
            ledger_id="5b0d2f0e-3a57-4c0e-9d77-5d0f4a1f6c52",
            tenant="云帆集团 Yunfan Group",
            region="cn-east",
            jurisdictions=("CN", "SG"),
            period=model.Period(START, datetime(2026, 3, 31, 16, tzinfo=UTC), ZONE),
            made_by="local:li.na",
            break_glass=True,
            purpose=purpose,
            generated_at=datetime(2026, 4, 2, 3, 14, 15, tzinfo=UTC),
            vault_version="0.1.0",
            access_entry=phrase("events ledger, seq {seq}", seq=41),
        ),
        population=population,
        decisions=decisions,
        low_confidence=count.low_confidence(),
        exceptions=count.checks() + checks.capture_checks(population),
        integrity=_integrity(decisions.count, population),
        retention=_retention(count),
        strata=count.strata(),
    )


def _population(records: int) -> model.Population:
    sequences = SequenceCount()
    for number in range(1, max(records, 2) + 6):
        if number not in (17, 40, 41, 42, 88):
            sequences.add("psp-gateway-hz-1", number)
    for number in range(1, 40):
        sequences.add("客服机器人-2", number)
    sequences.add("batch-import", None)
    return model.Population(
        tree_size=records + 12 + 214,
        governance=12,
        in_period=records,
        outside_period=211,
        destroyed=3,
        opened=records,
        refusals=model.Refusals(
            open=2,
            closed=7,
            by_reason=(
                figures.Count("card_number", 6),
                figures.Count("duplicate_key", 2),
                figures.Count("confidence", 1),
            ),
            examples=(
                model.Refusal(
                    START + timedelta(days=3),
                    "psp-gateway-hz-1",
                    "line 412, $.prompt[1].content",
                    "a card number",
                ),
                model.Refusal(
                    START + timedelta(days=9),
                    "客服机器人-2",
                    "line 7, $.decision",
                    "the key amount stands twice",
                ),
            ),
        ),
        conflicts=1,
        sequences=sequences.result(),
        accesses=4,
    )


def _integrity(records: int, population: model.Population) -> model.Integrity:
    root, key = hashlib.sha256(b"root").digest(), "cmVhc29udmF1bHQtdmVyaWZpZXIta2V5LWJ5dGVzLTMyISE"
    origin = "reasonvault.example/5b0d2f0e-3a57-4c0e-9d77-5d0f4a1f6c52"
    seed = hashlib.sha256(root + b"nonce").digest()
    size = sampling.sample_size(Fraction(95, 100), Fraction(5, 100))
    drawn = sampling.draw(seed, records, size)
    head = f"{origin}\n{population.tree_size}\nTGrFfN3oB0cXK8sZ2YbYvX2rV5vJ1kI3n0m8o5Jq9hE=\n"
    note = f"{head}\n\u2014 {origin} 9fKx2c{key}{key}\n"
    return model.Integrity(
        depth="open",
        checked_at=datetime(2026, 4, 2, 3, 13, 2, tzinfo=UTC),
        verdicts={"OK": population.tree_size - 3, "ERASED-BY-POLICY": 3},
        faults=(),
        checkpoint=model.Checkpoint(origin, population.tree_size, root, note, f"{origin}+9f1a2b3c+{key}"),
        sample=model.Sample(
            items=tuple(model.SampleItem(i + 1, i + 1, leaf_hash(i + 1), "OK") for i in drawn),
            population=records,
            confidence=Fraction(95, 100),
            tolerable_rate=Fraction(5, 100),
            seed=seed,
            seed_origin="SHA-256 of the checkpoint's root and a random number drawn when the report was made.",
            self_drawn=True,
        ),
    )


def _retention(count: PopulationCount) -> model.Retention:
    used = count.rule_counts()
    book = tomllib.loads(files("retention").joinpath("rulebook/2026-11.toml").read_text(encoding="utf-8"))
    rules = tuple(
        model.Rule(
            rule_id=rule["id"],
            jurisdiction=rule["jurisdiction"],
            instrument=rule["instrument"],
            minimum=rule["minimum"],
            trigger=rule["trigger"],
            erase=rule["erase"],
            status=rule["status"],
            adopted=rule["applies"] == "default" or rule["id"] in used,
            records=used.get(rule["id"], 0),
        )
        for rule in book["rule"]
    )
    return model.Retention(
        rulebook_version=book["version"],
        rulebook_digest=hashlib.sha256(b"rules").digest(),
        rules=rules,
        groups=count.groups(),
        total_groups=count.group_count,
        restricted=count.flagged("erasure_conflict"),
        unconfigured=count.flagged("unconfigured_jurisdiction"),
    )
