"""Steps and timeline of a dossier: from documents, full or masked, to what is printed."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from reports.dossier.model import Step
from reports.dossier.steps import CHARACTERS, LINES, MESSAGES, said, step_of
from reports.dossier.timeline import executed, related, timeline
from tests.support.decisions import decision
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.leaf import RecordLeaf
from vault.core.masking import mask


def leaf() -> RecordLeaf:
    made = dict.fromkeys(("at", "facets", "group", "id_tag", "key", "ledger", "plaintext", "prev", "producer"), "x")
    fields = {field.name: made.get(field.name) for field in msgspec.structs.fields(RecordLeaf) if field.required}
    return RecordLeaf(**fields | {"seq": 7, "keep_until": "2029-01-01T00:00:00Z"})  # type: ignore[arg-type]


def facets(*, below: bool | None = False, flags: int = 0) -> Facets:
    values: dict[str, Any] = dict.fromkeys(Facets._fields, 0)
    return Facets(**values | {"record_id": "dec-1", "below_threshold": below, "flags": flags})


def step(document: dict[str, Any], **more: Any) -> Step:
    below, flags = more.pop("below", False), more.pop("flags", 0)
    return step_of(document, leaf(), b"leaf", facets(below=below, flags=flags), masked=False, grant="g-1")


def test_text_is_cut_at_whole_lines_and_says_how_long_it_was() -> None:
    short = said("one\ntwo")
    assert (short.text, short.cut) == ("one\ntwo", False)
    long = said("word " * 1_000)
    assert (len(long.text), long.length, long.cut) == (CHARACTERS, 5_000, True)
    lines = said("\n".join(str(at) for at in range(50)))
    assert (lines.text.count("\n"), lines.cut) == (LINES - 1, True)


def test_the_last_messages_are_printed_and_parts_are_named() -> None:
    messages: list[dict[str, Any]] = [{"role": "user", "content": str(at)} for at in range(9)]
    parts = [{"type": "text", "text": "see"}, {"type": "image", "attachment": "receipt.png"}]
    messages.append({"role": "tool", "content": parts, "tool_calls": [{"name": "pay"}]})
    made = step(decision(1, prompt=messages))
    assert (made.earlier, len(made.prompt)) == (10 - MESSAGES, MESSAGES)
    assert made.prompt[-1].text == 'see\n[receipt.png]\n[{"name": "pay"}]'
    answer = step(decision(1, response={"决定": "退款"})).response
    assert json.loads(answer[0].text) == {"决定": "退款"}
    assert "退款" in answer[0].text


def test_a_masked_document_has_masked_in_any_place() -> None:
    document = decision(
        1,
        id="Li Wei",
        step=10**12,
        confidence={"score": 0.5, "threshold": 0.7, "policy": "a sentence here"},
        usage={
            "input_tokens": 10**12,
            "cost": {"amount": "6217000000000000003", "currency": "CNY"},
            "batch": {"id": "b"},
        },
        review={"reviewer": "Zhang San", "agreed": True, "decided_at": "2026-01-02T08:00:00Z", "reason": "ok"},
        redactions=[{"type": "name of a person", "count": 2}],
        relates_to=[{"kind": "retry_of", "id": "Wang Wu"}],
        extra={"note": "Li Wei"},
    )
    made = step_of(mask(document), leaf(), b"leaf", facets(below=True), masked=True, grant="g-1")
    spelled = repr(made)
    for secret in ("Li Wei", "Zhang San", "Wang Wu", "a sentence", "cancelled", "txn-1", "6217"):
        assert secret not in spelled
    assert made.score is not None
    assert (made.score.score, made.score.policy, made.score.below) == (0.5, "[masked]", True)
    assert (made.step, made.used.input_tokens, made.used.batch) == (0, None, "[masked]")
    assert related(made) == ("a retry of [masked]",)


@pytest.mark.parametrize("odd", [None, 3, "x", [], [3], {"a": 1}, True])
def test_no_shape_of_a_value_breaks_a_step(odd: Any) -> None:
    names = [name for name in decision(1) if name != "occurred_at"] + ["usage", "review", "relates_to", "redactions"]
    for name in names:
        made = step(decision(1) | {name: odd})
        assert timeline([made])


def test_the_threshold_is_judged_by_the_facets_and_not_again() -> None:
    low = {"score": 0.2, "direction": "lower_is_better", "maximum": 1}
    made = step(decision(1, confidence=low), below=False, flags=Flag.THRESHOLD_DEFAULTED)
    assert made.score is not None
    assert (made.score.comparator, made.score.threshold, made.score.stated, made.score.below) == (
        "<=",
        None,
        False,
        False,
    )
    assert step(decision(1), below=None).score is None


def test_a_timeline_is_in_order_and_a_settled_movement_counts_once() -> None:
    money = {"executed": {"amount": "10.50", "currency": "CNY"}, "money_moved": True, "action": "refund"}
    unknown = decision(1, decision=money | {"outcome": "outcome_unknown"}, occurred_at="2026-01-01T00:00:00Z")
    settled = decision(
        2,
        decision=money | {"outcome": "accepted", "executed_at": "2025-12-31T23:59:59Z"},
        relates_to=[{"kind": "settles", "id": "dec-1"}],
        occurred_at="2026-01-01T00:10:00Z",
        review={"reviewer": "staff", "agreed": False, "decided_at": "2026-01-01T00:05:00Z"},
    )
    masked = decision(
        3, decision=money | {"outcome": "accepted", "executed": {"amount": "[masked]", "currency": "CNY"}}
    )
    steps = [step(unknown), step(settled), step(masked)]
    moments = timeline(steps[:2])
    assert [(one.after, one.alert) for one in moments] == [(0, False), (1, True), (301, True), (601, False)]
    assert moments[0].what == "money moved: CNY 10.50"
    steps[1] = replace(steps[1], seq=8)
    assert executed(steps, {7}) == (("CNY 10.50", 1),)
    assert executed(steps, ()) == (("CNY 21.00", 2),)
    assert timeline([]) == []
