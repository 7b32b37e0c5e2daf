from __future__ import annotations

import json
from contextlib import suppress
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vault.core import canonical, leaf
from vault.core.errors import Modified
from vault.core.leaf import EventLeaf, GenesisLeaf, RecordLeaf

LEDGER = UUID("6b7d6c52-6b0f-4b0a-9d5e-0a5f9b4e2f11")
DIGESTS = st.binary(min_size=32, max_size=32)
PLACES = st.integers(1, 2**53 - 1)


@st.composite
def drafted(draw: st.DrawFn) -> tuple[dict[str, object], leaf.Draft]:
    """A record leaf's fields as JSON would hold them, and the draft that the hot path makes of the same."""
    facets, key, part, plaintext, rulebook = (draw(DIGESTS) for _ in range(5))
    tag = draw(st.binary(min_size=16, max_size=16))
    keep_until = draw(st.none() | st.integers(0, 250_000_000_000))
    counter = draw(st.none() | PLACES)
    rules = draw(st.sampled_from([("PROD-3Y",), ("PROD-3Y", "SG-PDPA-25"), ()]))
    made = leaf.record_draft(
        facets=facets,
        group="2029-01.0",
        id_tag=tag,
        keep_until=keep_until,
        key=key,
        ledger=LEDGER,
        parts=(part,),
        plaintext=plaintext,
        producer="local",
        producer_seq=counter,
        received_at="2026-01-05T08:01:12.111Z",
        rulebook=rulebook,
        rules=rules,
    )
    fields = {
        "facets": canonical.b64(facets),
        "group": "2029-01.0",
        "id_tag": canonical.b64(tag),
        "key": canonical.b64(key),
        "kind": "record",
        "ledger": str(LEDGER),
        "parts": [canonical.b64(part)],
        "plaintext": canonical.b64(plaintext),
        "producer": "local",
        "received_at": "2026-01-05T08:01:12.111Z",
        "rulebook": canonical.b64(rulebook),
        "rules": list(rules),
    }
    if keep_until is not None:
        fields["keep_until"] = leaf.instant(keep_until)
    if counter is not None:
        fields["producer_seq"] = counter
    return fields, made


@given(drafted(), PLACES, DIGESTS)
def test_the_quick_spelling_is_the_canonical_one(
    made: tuple[dict[str, object], leaf.Draft], seq: int, prev: bytes
) -> None:
    fields, draft = made
    expected = {**fields, "prev": canonical.b64(prev), "seq": seq, "v": 1}
    spelled = json.dumps(expected, sort_keys=True, separators=(",", ":")).encode()
    assert draft.at(seq, prev) == spelled
    assert leaf.draft(fields).at(seq, prev) == spelled
    parsed = leaf.parse(spelled)
    assert isinstance(parsed, RecordLeaf)
    assert (parsed.seq, parsed.prev) == (seq, canonical.b64(prev))


@given(drafted(), st.data())
def test_a_changed_byte_makes_another_leaf_or_none(
    made: tuple[dict[str, object], leaf.Draft], data: st.DataObject
) -> None:
    whole = made[1].at(7, bytes(32))
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    with suppress(Modified):
        assert leaf.parse(changed) != leaf.parse(whole)


DIGEST = canonical.b64(bytes(32))
SEALED = {
    "group": "2029-01.0",
    "keep_until": "2029-01-05T16:00:00Z",
    "key": DIGEST,
    "parts": [DIGEST],
    "plaintext": DIGEST,
    "rulebook": DIGEST,
    "rules": ["PROD-3Y"],
}


def event(**more: object) -> bytes:
    fields = {
        "actor": "local:ann",
        "at": "2026-01-05T08:01:12.111Z",
        "event": "record.opened",
        "kind": "event",
    }
    return leaf.draft({**fields, "ledger": str(LEDGER), "facts": {"seq": 3, "b": 1, "a": "x"}, **more}).at(4, bytes(32))


def genesis(**more: object) -> bytes:
    fields = {
        "created_at": "2026-01-05T08:01:12.111Z",
        "jurisdictions": ["CN"],
        "kind": "genesis",
        "ledger": str(LEDGER),
        "ledger_kind": "decisions",
        "name": "pay",
        "region": "local",
        "rulebook": canonical.b64(bytes(32)),
        "rules": [],
        "seq": 0,
        "tenant": "t",
        "v": 1,
        "verifiers": [],
    }
    return canonical.encode({**fields, **more})


def test_events_and_genesis_leaves_parse() -> None:
    assert isinstance(leaf.parse(event()), EventLeaf)
    assert isinstance(leaf.parse(event(**SEALED)), EventLeaf)
    assert isinstance(leaf.parse(genesis()), GenesisLeaf)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        genesis(v=2),
        genesis(kind="other"),
        genesis(surprise=1),
        genesis().replace(b'"seq":0', b'"seq":00'),
        event().replace(b'"a":"x","b":1', b'"b":1,"a":"x"'),
        event().replace(b'"facts":', b'"facts": '),
        event() + b" ",
    ],
    ids=[
        "empty",
        "no kind",
        "version",
        "kind",
        "unknown field",
        "number",
        "facts unsorted",
        "white space",
        "trailing",
    ],
)
def test_what_is_not_a_leaf_is_modified(data: bytes) -> None:
    with pytest.raises(Modified):
        leaf.parse(data)


def test_a_fact_named_kind_does_not_choose_how_the_leaf_is_read() -> None:
    assert isinstance(leaf.parse(event(facts={"kind": "genesis"})), EventLeaf)
    with pytest.raises(Modified, match="kind"):
        leaf.parse(event(kind="surprise", facts={"kind": "event"}))


@given(drafted(), st.sampled_from(["facets", "id_tag", "key", "plaintext", "rulebook"]), st.data())
def test_a_record_leaf_holds_every_digest_to_its_one_spelling(
    made: tuple[dict[str, object], leaf.Draft], name: str, data: st.DataObject
) -> None:
    """The expression that reads record leaves agrees with the decoder that reads digests."""
    fields, _ = made
    length = 16 if name == "id_tag" else 32
    size = len(str(fields[name]))
    text = data.draw(st.text("AQgwEB8_-+/.", min_size=size, max_size=size))
    spelled = leaf.draft({**fields, name: text}).at(1, bytes(32))
    try:
        canonical.unb64(text, length)
    except Modified:
        with pytest.raises(Modified):
            leaf.parse(spelled)
    else:
        assert getattr(leaf.parse(spelled), name) == text


@pytest.mark.parametrize("day", ["2026-02-29", "2026-00-10", "2026-04-31", "2026-13-01", "0000-01-01", "2026-12-00"])
def test_a_day_that_no_calendar_has_is_modified(day: str) -> None:
    for made in (event(at=f"{day}T00:00:00.000Z"), genesis(created_at=f"{day}T00:00:00.000Z")):
        with pytest.raises(Modified, match="day"):
            leaf.parse(made)


def test_positions_tell_the_kinds_apart() -> None:
    for made in (genesis(seq=1), event().replace(b'"seq":4,', b'"seq":0,')):
        with pytest.raises(Modified, match="genesis"):
            leaf.parse(made)


@pytest.mark.parametrize("missing", sorted(SEALED.keys() - {"keep_until"}))
def test_sealed_details_are_promised_whole_or_not_at_all(missing: str) -> None:
    with pytest.raises(Modified):
        leaf.parse(event(**{name: value for name, value in SEALED.items() if name != missing}))


def test_a_leaf_that_is_too_long_is_never_made() -> None:
    """And the longest that is made can be read, wherever it is put."""
    with pytest.raises(ValueError, match="long"):
        event(facts={"x": "y" * 4096})
    room = canonical.MAX_LEAF - len(event(facts={"x": ""})) - (16 - len("4"))
    fields = json.loads(event(facts={"x": "y" * room}))
    longest = leaf.draft(fields).at(2**53 - 1, bytes(32))
    assert len(longest) == canonical.MAX_LEAF
    assert isinstance(leaf.parse(longest), EventLeaf)
    with pytest.raises(ValueError, match="long"):
        event(facts={"x": "y" * (room + 1)})


def test_a_record_leaf_that_is_too_long_is_never_made() -> None:
    with pytest.raises(ValueError, match="long"):
        leaf.record_draft(
            facets=bytes(32),
            group="2029-01.0",
            id_tag=bytes(16),
            keep_until=None,
            key=bytes(32),
            ledger=LEDGER,
            parts=(bytes(32),),
            plaintext=bytes(32),
            producer="local",
            producer_seq=None,
            received_at="2026-01-05T08:01:12.111Z",
            rulebook=bytes(32),
            rules=tuple(f"RULE-{number}" for number in range(1000)),
        )


def test_instants() -> None:
    assert leaf.instant(1_861_833_600) == "2028-12-31T00:00:00Z"
    assert leaf.instant_ms(1_767_600_072_111_999) == "2026-01-05T08:01:12.111Z"
