"""A masked record shows what the list names, in its form, and nothing else."""

from __future__ import annotations

import copy
import json
import types
import typing
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.records import BASES
from vault.core import record
from vault.core.masking import MASKED, SHAPE, mask, secret

SECRET = "Li Wei, card on file"
FULL: dict[str, Any] = {
    "schema": "reasoning-log/1",
    "id": "dec-1",
    "conversation_id": "conv:1",
    "step": 0,
    "attempt": 2,
    "producer_seq": 1234567890123456,
    "occurred_at": "2026-01-05T08:00:12.111+08:00",
    "jurisdictions": ["CN", "SG"],
    "record_class": "payment",
    "api": "payment_intelligence",
    "source": {"adapter": "litellm", "adapter_version": "1.2.3", "fidelity": "wire"},
    "model": {
        "provider": "alibaba",
        "requested": "qwen-max",
        "served": "vendor/claude-3-5@20240620",
        "gateway": "openrouter",
    },
    "confidence": {
        "score": 0.91,
        "direction": "higher_is_better",
        "minimum": 0,
        "maximum": 1,
        "threshold": 0.75,
        "comparator": ">=",
        "policy": "refunds/v2",
    },
    "decision": {
        "action": "refund",
        "outcome": "accepted",
        "money_moved": True,
        "proposed": {"amount": "128.50", "currency": "CNY"},
        "executed": {"amount": "128.50", "currency": "CNY"},
        "executed_at": "2026-01-05T00:00:12Z",
        "consent": False,
    },
    "review": {"decided_at": "2026-01-05T00:00:12Z", "agreed": True, "rule_id": "rule-7"},
    "relates_to": [{"kind": "retry_of", "id": "dec-0"}],
    "language": "zh-Hans-CN",
    "usage": {
        "input_tokens": 812,
        "output_tokens": 20,
        "cached_tokens": 0,
        "reasoning_tokens": 5,
        "cost": {"amount": "0.002", "currency": "USD"},
        "price_table": "2026-01",
        "batch": {"discount": 0.5},
        "cache": {"hit": True},
    },
    "timing": {"ai_ms": 201.5, "total_ms": 300, "first_token_ms": None},
    "redactions": [{"type": "pan", "count": 1, "rule": "luhn"}],
    "validation": {"schema": "refund/2", "ok": True},
    "attachments": [{"media_type": "image/png", "size": 1200, "sha256": "ab" * 32}],
}
"""Every field that stays, and none that does not."""
HIDDEN: dict[str, Any] = {
    "source": {"endpoint": "https://x", "call_id": "c-1", "raw_sha256": "ab" * 32},
    "prompt": [{"role": "user", "content": SECRET}],
    "response": {"answer": SECRET},
    "model": {"call_id": "c-2", "parameters": {"user": SECRET}},
    "decision": {"transaction_id": "txn-1", "reason": SECRET, "explanation": SECRET, "alternative": SECRET},
    "review": {"reviewer": "r-1", "reason": SECRET},
    "customer_ref": "cus-1",
    "usage": {"batch": {"id": "b-1", "item": "i-1"}, "cache": {"key": "k-1"}},
    "validation": {"errors": [SECRET]},
    "attachments": [{"name": "passport.png", "content": "aGk="}],
    "extra": {"anything": {"deep": [SECRET]}},
}
"""Every field that does not stay."""


def test_what_is_on_the_list_stays() -> None:
    assert mask(FULL) == FULL


def test_what_is_not_on_the_list_is_masked_whole() -> None:
    def hidden(value: Any, shape: Any) -> Any:
        if isinstance(shape, dict):
            return {name: hidden(item, shape[name]) for name, item in value.items()}
        return [hidden(value[0], shape[0])] if isinstance(shape, list) else MASKED

    assert mask(HIDDEN) == hidden(HIDDEN, SHAPE)


def test_a_masked_record_is_a_copy() -> None:
    before = copy.deepcopy(FULL)
    mask(FULL)["decision"]["action"] = "changed"
    assert before == FULL


def fields(kind: Any) -> Iterator[tuple[str, Any]]:
    """Yield the fields of a struct by the names they have in JSON, with the structs their values may be."""
    types_of = typing.get_type_hints(kind)
    for one in msgspec.structs.fields(kind):
        yield one.encode_name, types_of[one.name]


def structs(hint: Any) -> set[Any]:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return {hint}
    if typing.get_origin(hint) in (typing.Union, types.UnionType, list):
        return {found for part in typing.get_args(hint) for found in structs(part)}
    return set()


def unlike(kind: Any, shape: Any, path: str = "$") -> Iterator[str]:
    """Yield where the list and the record's types differ."""
    shape = shape[0] if isinstance(shape, list) else shape
    if shape is secret:
        return
    if not isinstance(shape, dict):
        yield f"{path} is an object and stays whole"
        return
    named = dict(fields(kind))
    yield from (f"{path}.{name} is on one side only" for name in named.keys() ^ shape.keys())
    for name, hint in named.items():
        for below in structs(hint):
            yield from unlike(below, shape[name], f"{path}.{name}")


def test_every_field_of_the_record_is_considered() -> None:
    assert list(unlike(record.Record, SHAPE)) == []
    together = {*paths(FULL), *paths(HIDDEN)}
    assert together == set(shape_paths(SHAPE)), "FULL and HIDDEN of this test name every field between them"


def paths(tree: Any, at: str = "$") -> Iterator[str]:
    if isinstance(tree, list):
        tree = tree[0]
    if isinstance(tree, dict) and shape_at(at) is not secret:
        for name, below in tree.items():
            yield from paths(below, f"{at}.{name}")
    else:
        yield at


def shape_paths(shape: Any, at: str = "$") -> Iterator[str]:
    shape = shape[0] if isinstance(shape, list) and not callable(shape) else shape
    if isinstance(shape, dict):
        for name, below in shape.items():
            yield from shape_paths(below, f"{at}.{name}")
    else:
        yield at


def shape_at(path: str) -> Any:
    shape: Any = SHAPE
    for step in path.split(".")[1:]:
        shape = shape[0] if isinstance(shape, list) else shape
        if not isinstance(shape, dict):
            return secret
        shape = shape[step]
    return shape[0] if isinstance(shape, list) else shape


SAID = st.sampled_from(
    [
        SECRET,
        "李伟",
        "li.wei@example.com",
        "+8613800138000",
        "13800138000",
        "138-0013-8000",
        "4111111111111111",
        "11010519491231002X",
        "refund Li Wei",
        "dec-1\nLi Wei",
        "x" * 129,
        "\u202eiew il",
    ]
)
PLANTED = st.recursive(
    SAID,
    lambda inner: st.lists(inner, min_size=1, max_size=2) | st.dictionaries(SAID, inner, min_size=1, max_size=2),
    max_leaves=3,
)


def spots(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield (container, key) of every value of a tree, and a fresh name in every object."""
    if isinstance(tree, dict):
        yield tree, "unheard_of"
        for name, below in tree.items():
            yield tree, name
            yield from spots(below)
    elif isinstance(tree, list):
        for index, below in enumerate(tree):
            yield tree, index
            yield from spots(below)


def merged(left: Any, right: Any) -> Any:
    if isinstance(left, dict) and isinstance(right, dict):
        return {name: merged(left.get(name), right.get(name)) for name in left.keys() | right.keys()}
    if isinstance(left, list) and isinstance(right, list):
        return [merged(left[0], right[0])]
    return right if left is None else left


EVERYTHING = merged(FULL, HIDDEN)


@settings(max_examples=300)
@given(st.data())
def test_what_somebody_said_never_shows_wherever_it_stands(data: st.DataObject) -> None:
    document = copy.deepcopy(EVERYTHING)
    for _ in range(data.draw(st.integers(1, 4))):
        container, key = data.draw(st.sampled_from(list(spots(document))))
        if key == "amount":
            continue  # digits are its form
        container[key] = data.draw(PLANTED)
        if isinstance(container, dict) and data.draw(st.booleans()):
            container[data.draw(SAID)] = data.draw(PLANTED)
    shown = json.dumps(mask(document), ensure_ascii=False)
    for said in (SECRET, "Li Wei", "李伟", "li.wei", "138", "4111", "11010519491231002X", "x" * 20, "\u202e"):
        assert said not in shown


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(list(SHAPE)), inner),
    )
)
def test_whatever_a_parser_returns_is_masked_without_complaint(tree: Any) -> None:
    shown = mask(tree)
    assert shown is None or shown == MASKED or isinstance(shown, dict)
    assert mask(shown) == shown


@pytest.mark.parametrize("name", sorted(BASES))
def test_records_of_the_vectors_keep_their_decision(name: str) -> None:
    shown = mask(BASES[name])
    assert shown["decision"]["action"] == BASES[name]["decision"]["action"]
    assert shown["id"] == BASES[name]["id"]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "8613800138000"),
        ("id", "138-0013-8000"),
        ("id", "11010519491231002X"),
        ("id", "4111111111111111"),
        ("redactions", [{"type": "13800138000"}]),
        ("redactions", [{"rule": "id-11010519491231002X"}]),
        ("record_class", "card.4111-1111-1111-1111"),
        ("conversation_id", "wechat user"),
        ("record_class", "Li Wei"),
        ("language", "li-wei-lives-at"),
        ("jurisdictions", "CN"),
        ("jurisdictions", ["China, Li Wei"]),
        ("occurred_at", "yesterday, at Li Wei's"),
        ("step", "0"),
        ("step", True),
        ("step", 4111111111111111),
        ("step", float("nan")),
        ("producer_seq", 1.5),
        ("decision", {"money_moved": 1}),
        ("decision", {"executed": {"amount": "4111111111111111", "currency": "CNY"}}),
        ("decision", {"executed": {"amount": "1", "currency": "LIW"}}),
        ("decision", "refund"),
        ("confidence", {"policy": "as Li Wei said"}),
        ("model", {"served": "qwen@example.com"}),
        ("attachments", [{"sha256": "AB" * 32}]),
        ("attachments", [{"media_type": "text/li wei"}]),
    ],
)
def test_a_field_that_stays_shows_only_its_form(field: str, value: Any) -> None:
    shown = json.dumps(mask({field: value}))
    assert MASKED in shown
    assert str(value) not in shown
