from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from bench.dialogues import LANGUAGES, texts
from bench.dice import Dice
from bench.plots import DECK, shuffled
from bench.scene import Scene
from bench.slots import Slots
from bench.synthetic import SPAN, START, decisions
from vault.core.flags import Flag
from vault.core.parse import parse

NOW_US = int((START + timedelta(days=60)).timestamp()) * 1_000_000
Json = dict[str, Any]


@pytest.fixture(scope="module")
def lines() -> list[bytes]:
    return list(decisions(2000, 7, start=START))


@pytest.fixture(scope="module")
def records(lines: list[bytes]) -> list[Json]:
    return [json.loads(line) for line in lines]


def below(record: Json) -> bool:
    return bool(parse(json.dumps(record).encode(), now_us=NOW_US).below_threshold)


def related(records: list[Json], kind: str) -> list[Json]:
    return [r for r in records if any(link["kind"] == kind for link in r.get("relates_to", ()))]


def test_the_same_arguments_give_the_same_bytes(lines: list[bytes]) -> None:
    assert list(decisions(2000, 7, start=START)) == lines
    assert list(decisions(50, 8, start=START)) != list(decisions(50, 7, start=START))


def test_another_process_gives_the_same_bytes() -> None:
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONHASHSEED": "12345", "PYTHONPATH": str(root)}
    command = [sys.executable, "-m", "bench.synthetic", "60", "--seed", "5"]
    run = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=True)
    assert run.stdout.splitlines() == list(decisions(60, 5, start=START))


@pytest.mark.parametrize("n", [0, 1, 7])
def test_it_makes_as_many_as_asked_for(n: int) -> None:
    assert len(list(decisions(n, 1, start=START))) == n


def test_every_record_is_accepted_by_the_parser(lines: list[bytes]) -> None:
    flags = Counter(flag for line in lines for flag in Flag(parse(line, now_us=NOW_US).flags))
    expected = {
        Flag.AMOUNT_MISSING,
        Flag.THRESHOLD_DEFAULTED,
        Flag.SCORE_UNUSABLE,
        Flag.REVIEW_AGREED,
        Flag.VALIDATION_FAILED,
    }
    assert set(flags) == expected


def test_the_stream_of_the_producer_has_no_gap_and_never_goes_back(records: list[Json]) -> None:
    assert [r["producer_seq"] for r in records] == list(range(1, 2001))
    times = [datetime.fromisoformat(r["occurred_at"]) for r in records]
    assert times == sorted(times)
    assert times[0] >= START
    assert times[-1] < START + 1.3 * SPAN


def test_ids_are_unique_and_relations_point_back(records: list[Json]) -> None:
    seen: set[str] = set()
    for record in records:
        assert record["id"] not in seen
        assert all(link["id"] in seen for link in record.get("relates_to", ()))
        seen.add(record["id"])


def test_about_a_third_is_chinese(records: list[Json]) -> None:
    languages = Counter(r["language"] for r in records if "language" in r)
    assert 0.28 < languages["zh-CN"] / languages.total() < 0.42
    assert set(languages) == {"en", "zh-CN"}


def test_all_outcomes_apis_and_jurisdictions_come(records: list[Json]) -> None:
    assert Counter(r["decision"]["outcome"] for r in records).keys() == {
        *("accepted", "human_review", "deterministic_rule", "rejected", "failed", "outcome_unknown")
    }
    assert Counter(r["api"] for r in records).keys() == {
        *("payment_intelligence", "risk_compliance", "customer_interaction", "non_ai_bypass", "human_review")
    }
    codes = Counter(code for r in records for code in r["jurisdictions"])
    assert codes.keys() >= {"CN", "SG", "HK", "DE", "US", "GB", "BR"}
    assert any(len(r["jurisdictions"]) == 2 for r in records)
    actions = Counter(r["decision"]["action"] for r in records)
    assert actions.keys() >= {"refund", "charge", "transfer", "payment", "payment_request", "discount"}
    assert actions.keys() >= {"cancel", "decline", "none", "plan_change"}
    assert len({r["model"]["served"] for r in records if "model" in r}) == 7
    assert len({r["model"]["gateway"] for r in records if "model" in r}) == 5


@pytest.mark.parametrize(
    ("kind", "least"),
    [
        ("retry_of", 60),
        ("review_of", 150),
        ("settles", 10),
        ("cached_from", 8),
        ("refund_of", 8),
        ("correction_of", 3),
    ],
)
def test_related_records_come_often_enough(records: list[Json], kind: str, least: int) -> None:
    assert len(related(records, kind)) >= least


def test_what_reports_must_find_is_there(records: list[Json]) -> None:
    moved = [r for r in records if r["decision"]["money_moved"]]
    agreed = {link["id"] for r in related(records, "review_of") if r["review"]["agreed"] for link in r["relates_to"]}
    unreviewed = [r for r in moved if "model" in r and below(r) and not r.get("review", {}).get("agreed")]
    assert sum(r["id"] not in agreed for r in unreviewed) >= 15
    assert sum(r["id"] in agreed for r in unreviewed) >= 5
    assert sum("executed" not in r["decision"] for r in moved) >= 10
    unknown = [r for r in records if r["decision"]["outcome"] == "outcome_unknown"]
    settled = {link["id"] for r in related(records, "settles") for link in r["relates_to"]}
    assert any(r["id"] not in settled for r in unknown)
    assert any("response" not in r for r in records if r["decision"]["outcome"] == "failed")
    assert any(r["source"]["fidelity"] == "redacted" for r in records)
    assert any(r["confidence"]["direction"] == "lower_is_better" for r in records if "confidence" in r)
    assert any("redactions" in r for r in records)
    assert any("attachments" in r for r in records)


def test_possible_double_charges_are_few_but_there(records: list[Json]) -> None:
    steps: dict[tuple[str, int], list[Json]] = defaultdict(list)
    for record in records:
        if record["decision"]["money_moved"]:
            steps[record["conversation_id"], record["step"]].append(record)
    twice = [step for step in steps.values() if len(step) > 1 and not related(step, "settles")]
    assert 3 <= len(twice) <= 20


def test_nothing_in_it_could_be_taken_for_a_card_or_identity_number(lines: list[bytes]) -> None:
    for line in lines:
        assert not re.search(rb"[0-9](?:[ .-]?[0-9]){11}", line)


def test_records_have_the_size_of_real_ones(lines: list[bytes], records: list[Json]) -> None:
    ai = sorted(len(line) for line, record in zip(lines, records, strict=True) if "prompt" in record)
    assert ai[0] > 1000
    assert 1900 < sum(ai) / len(ai) < 3000
    assert ai[-1] < 4500


def test_prompts_vary(records: list[Json]) -> None:
    prompts = {json.dumps(r["prompt"]) for r in records if "prompt" in r and r["attempt"] == 1 and r["step"] == 0}
    first = sum("prompt" in r and r["attempt"] == 1 and r["step"] == 0 for r in records)
    assert len(prompts) == first


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_slot_of_every_sentence_can_be_filled(language: str) -> None:
    book = texts(language)
    slots = Slots(Dice(1), book.slots, language, "USD", START.date(), "12.50")
    sentences = [text for group in (*book.system.values(), *book.review.values()) for text in group]
    sentences += [text for hidden in book.redacted for text in hidden.text]
    exchanges = [*book.aside, *book.courtesy]
    for talk in book.talk:
        assert talk.closing or talk.scenario == "fraud"
        sentences += [*talk.closing, *talk.answer, *talk.hold, *talk.refuse, *talk.alternative]
        exchanges += talk.exchange
    for exchange in exchanges:
        assert not exchange.paired or len(exchange.user) == len(exchange.assistant)
        sentences += [*exchange.user, *exchange.assistant]
    for sentence in sentences:
        filled = sentence.format_map(slots)
        assert filled
        assert "{" not in filled


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_scenario_has_a_talk_and_a_policy(language: str) -> None:
    book = texts(language)
    scenarios = {talk.scenario for talk in book.talk}
    assert scenarios == book.system.keys() - {"facts"} == {"booking", "travel_refund", "churn", "fraud", "invoice"}


def test_every_plot_is_in_the_deck_and_makes_a_record() -> None:
    deck = shuffled(Dice(3))
    assert len(deck) == sum(DECK.values()) == 200
    for plot in DECK:
        scene = Scene.open(Dice(9), datetime(2026, 3, 1, tzinfo=UTC))
        plot(scene)
        assert scene.records
