"""Pages of the threshold report, the cost report and the dossier: hostile strings, the longest ids, Chinese."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
import pypdfium2
import pytest

from reports.basis import Basis
from reports.catalog import catalog
from reports.cost import kind as cost
from reports.cost.count import CostCount
from reports.cost.model import CostReport
from reports.dossier import kind as dossier
from reports.dossier.model import Access, Dossier, Reviewed, Said, Score, Step, Used
from reports.dossier.timeline import executed, timeline
from reports.figures import Money
from reports.kind import Pages
from reports.layout import lay_out
from reports.look import Look
from reports.model import Checkpoint, Fault, Identification, Period
from reports.threshold import kind as threshold
from reports.threshold.collect import _Below
from reports.threshold.count import AGREED, ALONE, OVERRULED, Asked, ThresholdCount
from reports.threshold.model import ThresholdReport
from tests.unit.reports.test_cost import bare
from tests.unit.reports.test_cost import row as used
from tests.unit.reports.test_threshold import row as decided

HOSTILE = (
    "{{ 7*7 }}</td></table><script>alert(1)</script>\u202egnp.exe\0\x1b[31m"
    '<img src="http://127.0.0.1:9/x.png"><style>body{display:none}</style>'
)
LONG = "订单-" + "0123456789abcdef" * 7 + "-結尾-終わり"
WORD = "x" * 5_000
AT = datetime(2026, 1, 5, 8, tzinfo=UTC)
WHO = Identification(
    report_id="xx-" + "1" * 36,
    ledger="payments-cn-" + "0" * 51,
    ledger_id="a" * 36,
    tenant="t-1",
    region="cn-east",
    jurisdictions=("CN", "SG"),
    period=Period(AT, None, "Asia/Shanghai"),
    made_by="local:auditor",
    break_glass=True,
    purpose=HOSTILE,
    generated_at=AT,
    vault_version="0.1.0",
    access_entry="events ledger, seq 4",
)
CHECKPOINT = Checkpoint("vault.example/" + "a" * 36, 12, b"\1" * 32, "note\n", "key")
BASIS = Basis(CHECKPOINT, {"OK": 11, "MODIFIED": 1}, (Fault("MODIFIED", 3, HOSTILE),), 9, 2, 1, 8, 2, 0)


def _threshold(folder: Path) -> Pages:
    count = ThresholdCount(ZoneInfo("Asia/Shanghai"), (Asked(0.8), Asked(add=0.05)), folder / "waiting")
    huge = Money(Decimal("999999999999999999.999999"), "CNY")
    for at in range(300):
        changes: dict[str, Any] = {"record_id": LONG[:-1] + str(at % 10), "model": HOSTILE if at % 9 == 0 else LONG}
        changes |= {"policy": WORD[:256] if at % 2 else HOSTILE[:80], "jurisdictions": ("CN", "SG"), "executed": huge}
        count.add(msgspec.structs.replace(decided(at, 0.6 + at % 30 / 100), **changes))
    found = _Below(count)
    found.read(folder)
    in_use, total, changed = count.in_use()
    return threshold.pages(
        ThresholdReport(
            identification=WHO,
            basis=BASIS,
            decisions=count.decisions,
            others=1,
            usable=count.usable,
            unusable=0,
            defaulted=0,
            alone=found.review(ALONE),
            overruled=found.review(OVERRULED),
            agreed=found.review(AGREED),
            rows=tuple(found.rows),
            sums=found.sums.result(),
            without_amount=1,
            models=found.shares(count.models, "model"),
            apis=found.shares(count.apis, "api"),
            jurisdictions=found.shares(count.jurisdictions, "jurisdiction"),
            months=found.months(count.months),
            near=count.near(),
            what_if=count.what_if(),
            in_use=in_use,
            in_use_total=total,
            changed=changed,
            limits=(HOSTILE,),
        )
    )


def _cost(_folder: Path) -> Pages:
    count = CostCount(ZoneInfo("Asia/Shanghai"))
    huge = Money(Decimal("999999999999999999.999999"), "CNY")
    for at in range(40):
        count.add(
            used(at, model=f"{LONG}{at % 20}" if at % 3 else HOSTILE, fee=huge, occurred_at=AT + timedelta(30 * at))
        )
    count.add(bare(99, "human_review", reviews=("dec-3",), decided_at=AT + timedelta(days=400)))
    currency, by_month = count.by_month()
    return cost.pages(
        CostReport(
            identification=WHO,
            basis=BASIS,
            ai=40,
            bypass=0,
            reviews=1,
            total=count.total(),
            elsewhere=count.elsewhere(),
            apis=count.apis(),
            models=count.models(),
            months=count.months(),
            origins=count.origins(),
            discounts=count.discounts(),
            per_decision=count.per_decision(),
            times=count.times(),
            model_times=count.model_times(),
            waiting=count.waiting(),
            currency=currency,
            by_month=by_month,
        )
    )


def _dossier(_folder: Path) -> Pages:
    steps = [
        Step(
            seq=at,
            record_id=LONG,
            step=at,
            attempt=1,
            occurred_at=AT + timedelta(hours=at),
            api="payment_intelligence",
            record_class="payment",
            action="refund",
            outcome="accepted",
            moved=True,
            masked=False,
            grant="g-1",
            model=WORD[:256],
            asked=LONG,
            gateway=HOSTILE[:60],
            score=Score(0.5, ">=", 0.75, below=True, stated=True, policy=LONG),
            used=Used(10, 10, 5, 5, "CNY 999999999999999999.999999", LONG, 0.5, True, 1.0, 2.0, 0.5),
            proposed="CNY 999999999999999999.999999",
            money="CNY 999999999999999999.999999",
            executed_at=AT,
            transaction=LONG,
            reason=HOSTILE,
            explanation=WORD,
            consent=False,
            review=Reviewed(LONG, AT, False, HOSTILE, ""),
            relations=(("retry_of", LONG), ("settles", LONG)),
            redactions=(HOSTILE,),
            valid=False,
            prompt=(Said("user", HOSTILE, 5_000), Said("", WORD[:700], 5_000)),
            earlier=3,
            response=(Said("", "第一行\n第二行", 7),),
            leaf_hash=b"\2" * 32,
        )
        for at in range(2)
    ]
    return dossier.pages(
        Dossier(
            identification=WHO,
            conversation=LONG,
            steps=tuple(steps),
            records=5,
            timeline=tuple(timeline(steps)),
            moments=60,
            executed=executed(steps, ()),
            accesses=(Access(4, "2026-01-05T08:00:00.000Z", "p-1", "records.opened", "g-1", "full", True),),
            access_count=9,
            own=(4,),
            grants=("g-1", "g-2"),
            checkpoint=CHECKPOINT,
            closed=1,
            uncovered=2,
            gone=1,
            strangers=2,
            shows="mixed",
        )
    )


@pytest.fixture(scope="module", params=[_threshold, _cost, _dossier], ids=["threshold", "cost", "dossier"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[pypdfium2.PdfDocument]:
    build: Callable[[Path], Pages] = request.param
    pdf, _ = lay_out(build(tmp_path_factory.mktemp("pages")), [], Look("zh-Hans"))
    document = pypdfium2.PdfDocument(pdf)
    yield document
    document.close()


def test_hostile_text_is_text_and_pages_stay_bounded(made: pypdfium2.PdfDocument) -> None:
    text = "".join(page.get_textpage().get_text_range() for page in made)
    flat = text.replace("\r", "").replace("\n", "")
    assert "<script>alert(1)</script>" in flat
    assert "{{ 7*7 }}" in flat
    assert "49" not in flat.split("</td></table>")[0][-8:]
    assert "\\u{202E}" in flat
    assert "\u202e" not in flat
    assert len(made) <= 14


def test_nothing_leaves_the_page(made: pypdfium2.PdfDocument) -> None:
    for page in made:
        width, height = page.get_size()
        for one in page.get_objects(filter=[1]):  # text
            left, bottom, right, top = one.get_bounds()
            assert left >= 0
            assert right <= width - 40, "text runs into the margin"
            assert 0 <= bottom <= top <= height


def test_chinese_is_spoken(made: pypdfium2.PdfDocument) -> None:
    text = "".join(page.get_textpage().get_text_range() for page in made)
    assert "记录" in text
    assert "授权" in text or "阈值" in text or "时延" in text


def test_translations_have_the_places_of_their_messages() -> None:
    from string import Formatter

    for message, said in catalog("zh-Hans").messages.items():
        places = [sorted(name for _, name, _, _ in Formatter().parse(one) if name) for one in (message, said)]
        assert places[0] == places[1], message
