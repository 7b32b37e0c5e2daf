"""The guard: what it finds and where, what it spares, and that its first looks never hide anything."""

from __future__ import annotations

import base64
import json
import pickle
import re
import unicodedata
from decimal import Decimal
from pathlib import Path

import jiter
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from vault.core import prefilter
from vault.core.detect import detect
from vault.core.folding import fold, readings
from vault.core.guard import Finding, inspect, inspect_everything, is_card_data

VECTORS = Path(__file__).parents[2] / "vectors" / "guard"
CAUGHT = json.loads((VECTORS / "caught.json").read_text())["cases"]
FALSE_ALARMS = json.loads((VECTORS / "false_alarms.json").read_text())["cases"]

VISA = "4111111111111111"
RESIDENT = "11010519491231002X"


def inspected(document: object, **how: object) -> tuple[Finding, ...]:
    raw = json.dumps(document, **{"ensure_ascii": False, **how}).encode()  # type: ignore[arg-type]
    return inspect(raw, jiter.from_json(raw))


def found(document: object) -> list[tuple[str, str]]:
    return [(finding.type, finding.path) for finding in inspected(document)]


@pytest.mark.parametrize("escaped", [False, True], ids=["utf8", "escaped"])
@pytest.mark.parametrize("case", CAUGHT, ids=lambda case: case["name"])
def test_every_known_bypass_is_caught(case: dict[str, object], escaped: bool) -> None:
    findings = inspected({"prompt": [{"role": "user", "content": case["text"]}]}, ensure_ascii=escaped)
    assert [finding.type for finding in findings] == case["types"]
    assert {finding.path for finding in findings} == {"$.prompt[0].content"}


@pytest.mark.parametrize("escaped", [False, True], ids=["utf8", "escaped"])
@pytest.mark.parametrize("case", FALSE_ALARMS, ids=lambda case: case["name"])
def test_no_known_false_alarm_is_raised(case: dict[str, str], escaped: bool) -> None:
    assert inspected({"prompt": case["text"], "extra": {case["text"]: [case["text"]]}}, ensure_ascii=escaped) == ()


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        ({"extra": {"id": VISA}}, [("card_number", "$.extra.id")]),
        ({"extra": {"n": int(VISA)}}, [("card_number", "$.extra.n")]),
        ({"extra": {"n": -int(VISA)}}, [("card_number", "$.extra.n")]),
        ({"extra": {"n": float(VISA)}}, [("card_number", "$.extra.n")]),
        ({"extra": {"n": [1, [int(VISA)]]}}, [("card_number", "$.extra.n[1][0]")]),
        ({"extra": {"card": {"cvv": "123"}}}, [("cvv", "$.extra.card.cvv")]),
        ({"extra": {"cardCvv2": 123}}, [("cvv", "$.extra.*")]),
        ({"extra": {"cvc": ["x", 1234]}}, [("cvv", "$.extra.cvc[1]")]),
        ({"extra": {"ssn": "536904399"}}, [("identity_number:us_ssn", "$.extra.ssn")]),
        ({"extra": {"ssn": 536904399}}, [("identity_number:us_ssn", "$.extra.ssn")]),
        ({"extra": {"身份证号": RESIDENT}}, [("identity_number:cn_ric", "$.extra.*")]),
        ({"prompt": VISA, "response": VISA}, [("card_number", "$.prompt"), ("card_number", "$.response")]),
    ],
)
def test_where_it_looks(document: object, expected: list[tuple[str, str]]) -> None:
    assert found(document) == expected


@pytest.mark.parametrize(
    "document",
    [
        {"extra": {"score": 0.4111111111111111, "ratio": 4.111111111111111}},
        {"extra": {"n": 4.2e15, "big": 1e300, "flag": True, "none": None}},
        {"extra": {"n": 10**50 + int(VISA)}},
        {"extra": {"cvv_result": "M", "cvv_length": 3, "cvv_ms": 231, "cvv": ""}},
        {"extra": {"numbers": ["4111", "1111", "1111", "1111"]}},
    ],
)
def test_what_it_leaves_alone(document: object) -> None:
    assert inspected(document) == ()


@pytest.mark.parametrize("digits", [VISA, VISA + ".00", VISA + ".5", "4.111111111111111E+15"])
def test_decimals_in_the_tree(digits: str) -> None:
    document = f'{{"n":{digits}}}'.encode()
    assert inspect(document, {"n": Decimal(digits)}) == (Finding("card_number", "$.n"),)


DECLARED = [
    ("id",), ("conversation_id",), ("customer_ref",), ("source", "call_id"), ("model", "call_id"),
    ("decision", "transaction_id"), ("review", "reviewer"), ("relates_to", 0, "id"), ("usage", "batch", "item"),
]  # fmt: skip


def placed(path: tuple[str | int, ...], value: str) -> object:
    if not path:
        return value
    inner = placed(path[1:], value)
    return [inner] if isinstance(path[0], int) else {path[0]: inner}


@pytest.mark.parametrize("path", DECLARED, ids=str)
@pytest.mark.parametrize("value", [f"order {VISA}", f"x{VISA}", f"{VISA}-0", f"id {RESIDENT}", "536-90-4399"])
def test_declared_ids_are_spared(path: tuple[str | int, ...], value: str) -> None:
    assert inspected(placed(path, value)) == ()
    assert inspected({"extra": placed(path, value)}) != ()


@pytest.mark.parametrize("path", DECLARED, ids=str)
@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (VISA, "card_number"),
        ("4111-1111-1111-1111", "card_number"),
        (" ４１１１１１１１１１１１１１１１ ", "card_number"),
        (RESIDENT, "identity_number:cn_ric"),
        ("S1234567D", "identity_number:sg_nric"),
        ("A123456(3)", "identity_number:hk_id"),
    ],
)
def test_a_declared_id_that_is_a_number_is_reported(path: tuple[str | int, ...], value: str, kind: str) -> None:
    assert [finding.type for finding in inspected(placed(path, value))] == [kind]


@pytest.mark.parametrize("key", [VISA, f"card_{VISA}", "s1234567d", "4111 1111 1111 1111", "cvv 123"])
def test_numbers_in_keys_are_found_and_not_printed(key: str) -> None:
    findings = inspected({"extra": {key: {"note": "none"}}})
    assert [finding.path for finding in findings] == ["$.extra.*"]


@pytest.mark.parametrize(
    ("key", "step"),
    [
        ("line_2", ".line_2"),
        ("a1b2", ".a1b2"),
        ("a1b2c3", ".*"),
        ("Name", ".*"),
        ("姓名", ".*"),
        ("", ".*"),
        ("x" * 33, ".*"),
    ],
)
def test_keys_in_paths(key: str, step: str) -> None:
    assert inspected({key: {"n": VISA}}) == (Finding("card_number", f"${step}.n"),)


def test_a_finding_never_shows_a_digit_of_the_value() -> None:
    texts = [case["text"] for case in CAUGHT]
    findings = inspected({"prompt": "; ".join(texts), "extra": dict.fromkeys(texts, texts)})
    assert findings
    for shown in (repr(findings), str(findings), pickle.dumps(findings).decode("latin-1")):
        assert not re.search("[0-9]{4}", shown)


def test_card_data_and_identity_numbers_are_told_apart() -> None:
    kinds = {kind: is_card_data(Finding(kind, "$")) for case in CAUGHT for kind in case["types"]}
    assert {kind for kind, card in kinds.items() if card} == {"card_number", "track_data", "cvv"}
    assert sum(kind.startswith("identity_number:") for kind in kinds) == 7


def test_findings_come_in_document_order_once_each() -> None:
    document = {"b": f"{VISA} and 5555555555554444", "a": [VISA, "S1234567D and cvv 123"]}
    assert found(document) == [
        ("card_number", "$.b"),
        ("card_number", "$.a[0]"),
        ("cvv", "$.a[1]"),
        ("identity_number:sg_nric", "$.a[1]"),
    ]


def test_deep_documents_are_read_to_the_end() -> None:
    raw = b'{"a":' * 150 + f'"{VISA}"'.encode() + b"}" * 150
    assert len(inspect(raw, jiter.from_json(raw))) == 1


# From here on: the first looks against reading everything.

SEPARATORS = [
    "",
    " ",
    "-",
    ".",
    "_",
    "\u00a0",
    "\u3000",
    "\u200b",
    "\u00ad",
    "\n",
    "\r\n",
    "\t",
    " - ",
    "/",
    ",",
    "\u2013",
    "卡",
    "\x00",
    "\x7f",
    "😀",
    "é",
    "\\",
]
NUMBERS = [
    VISA, "5555555555554444", "378282246310005", "6200000000000005", "501800000009", RESIDENT, "440524188001010014",
    "S1234567D", "s1234567d", "A123456(3)", "A1234563", "536-90-4399", "536904399", "971013-9019902", "770305-02-1234",
    f"%B{VISA}^DOE/JANE^28121010000000000000?", f"{VISA}=28121010000012300000", "cvv 123", "CVC：123", "安全码是123",
    "security code 123", "card verification value 123", "背面三位123",
    "L898902C36UTO7408122F1204159ZE184226B<<<<<10", "2026010522001411111111111111", "0.4111111111111111",
]  # fmt: skip
WORDS = [
    "卡号",
    "card",
    "HKID",
    "ssn",
    "身份证",
    "MyKad",
    "order",
    "12/28",
    "128.50",
    "2026-01-05",
    "a",
    "NDEx",
    "\\n",
    "\\u5361",
    '"',
]


def wide(text: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in text)


@st.composite
def disguised(draw: st.DrawFn) -> str:
    """A number as a detector must still see it, or nearly so: both looks have to agree either way."""
    number = draw(st.sampled_from(NUMBERS))
    separator = draw(st.sampled_from(SEPARATORS))
    step = draw(st.sampled_from([1, 2, 3, 4, 4, 4, 6, 8, 40]))
    text = separator.join(number[i : i + step] for i in range(0, len(number), step))
    change = draw(st.sampled_from(["none", "none", "none", "wide", "lower"]))
    text = wide(text) if change == "wide" else text.lower() if change == "lower" else text
    if draw(st.integers(0, 5)) == 0:
        text = base64.b64encode(text.encode()).decode()
    if draw(st.integers(0, 7)) == 0:
        text = json.dumps({"k": text})
    return text


pieces = st.one_of(disguised(), st.sampled_from(WORDS + SEPARATORS), st.text(max_size=3))
texts = st.lists(pieces, max_size=4).map("".join)
# Letters, digits and separators thrown together: shapes nobody thought of.
scrambled = st.text(st.sampled_from("0123456789" * 2 + "SDXABcvn -._()<^=/\\\n\"'卡码\u200b４"), max_size=60)
keys = st.one_of(st.sampled_from(["cvv", "ssn", "id", "note", "hkid", "card_cvv", "a"]), texts)
numbers = st.one_of(
    st.sampled_from([int(VISA), 536904399, 123, float(VISA), 4.2e15, 4111111111111111104.0, 0.4111111111111111]),
    st.integers(-(10**25), 10**25),
    st.floats(allow_nan=False, allow_infinity=False),
)
values = st.recursive(
    st.one_of(texts, scrambled, numbers, st.none(), st.booleans()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(keys, inner, max_size=3)),
    max_leaves=6,
)
documents = st.fixed_dictionaries(
    {},
    optional={
        "id": st.one_of(texts, scrambled),
        "customer_ref": disguised(),
        "prompt": values,
        "relates_to": st.lists(st.fixed_dictionaries({"id": texts}), max_size=2),
        "extra": st.dictionaries(keys, values, max_size=3),
    },
)


@settings(max_examples=600, deadline=None)
@given(documents, st.booleans(), st.sampled_from([None, 1]))
@example({"prompt": "S123\u200b4567D"}, True, None)
@example({"prompt": "a\nS1234567D"}, False, None)
@example({"prompt": "S\n1234\n567\nD"}, False, None)
@example({"prompt": "cv\nv 123"}, False, 1)
@example({"prompt": "123\r\n45\n6789"}, False, None)
def test_the_first_looks_hide_nothing(document: object, escaped: bool, indent: int | None) -> None:
    raw = json.dumps(document, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    try:
        tree = jiter.from_json(raw)
    except ValueError:
        return  # a lone surrogate: refused before the guard
    assert inspect(raw, tree) == inspect_everything(tree)


def test_characters_called_usual_fold_to_nothing_a_detector_reads() -> None:
    """The prefilter reads these as bytes; one that folded to a digit would be a way around the guard."""
    usual = [c for c in map(chr, range(0x80, 0x110000)) if not prefilter._UNUSUAL.match(c)]
    assert len(usual) > 30_000
    for character in usual:
        (seen, *others) = readings(character)
        assert seen, hex(ord(character))
        assert not others, hex(ord(character))
        assert not re.search(r"[0-9A-Za-z<\\\n]", seen), hex(ord(character))
        assert "(" not in seen or character == "\uff08"
        parts_digits = "\u4000" <= character <= "\u9fff"
        assert not parts_digits or re.fullmatch(r"[^\W_]", seen), hex(ord(character))
        assert unicodedata.normalize("NFKC", f"a{character}a") == f"a{unicodedata.normalize('NFKC', character)}a"


def test_every_decimal_digit_of_unicode_folds_to_ascii() -> None:
    for code in range(0x80, 0x110000):
        digit = unicodedata.decimal(chr(code), None)
        if digit is not None:
            assert fold(chr(code)) == str(digit)


@pytest.mark.parametrize(
    "unit",
    ["4 ", "4111 ", "2601051234567894 ", "1-", "a1-", "S1234567D ", "A123456(3)", "cvv ", "<1", "NDEx", "\\u0034"],
)
def test_long_repetitions_end(unit: str) -> None:
    detect(unit * (2**20 // len(unit) // 32))


@given(
    st.integers(0, 9999),
    st.tuples(*(st.integers(0, 99) for _ in range(5))),
    st.text("0123456789", max_size=9),
    st.sampled_from("+-"),
    st.tuples(st.integers(0, 99), st.integers(0, 99)),
)
@settings(max_examples=400)
def test_no_number_is_found_in_a_time_and_the_prefilter_knows(
    year: int, clock: tuple[int, ...], fraction: str, sign: str, offset: tuple[int, int]
) -> None:
    month, day, hour, minute, second = (f"{part:02}" for part in clock)
    point = f".{fraction}" if fraction else ""
    time = f"{year:04}-{month}-{day}T{hour}:{minute}:{second}{point}{sign}{offset[0]:02}:{offset[1]:02}"
    assert inspect_everything({"x": time}) == ()
    assert not prefilter.may_match(json.dumps({"x": time}).encode(), quotes_part=True)
