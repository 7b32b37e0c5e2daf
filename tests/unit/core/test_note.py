from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from vault.core import note
from vault.core.errors import Modified, RefusedInput, UsageError
from vault.core.note import VerifierKey

PUBLISHED: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "signed-notes.json").read_text(encoding="utf-8")
)
OLD = Ed25519PrivateKey.from_private_bytes(b"o" * 32)
NEW = Ed25519PrivateKey.from_private_bytes(b"n" * 32)
NAME = "log.example/a"
TEXT = "first line\n\nthird line: 付款 ✓\n"


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def signed(text: str = TEXT, key: Ed25519PrivateKey = OLD, name: str = NAME) -> str:
    return note.sign(text, name, key.sign, public(key))


OLD_KEY, NEW_KEY = (VerifierKey.from_public(NAME, public(key)) for key in (OLD, NEW))


@pytest.mark.parametrize("example", PUBLISHED["valid"], ids=lambda example: example["source"])
def test_a_published_note_opens(example: dict[str, str]) -> None:
    key = VerifierKey.parse(example["vkey"])
    opened = note.open_note(example["note"], [key])
    assert opened.verified == (key,)
    assert example["note"].startswith(opened.text + "\n\N{EM DASH} " + key.name)
    assert note.open_note(example["note"].encode(), [key]) == opened


def test_a_published_key_signs_the_published_note() -> None:
    example = next(example for example in PUBLISHED["valid"] if "skey" in example)
    key = VerifierKey.parse(example["vkey"])
    secret = note.decode_base64(example["skey"].split("+", 4)[4])
    assert secret is not None
    signer = Ed25519PrivateKey.from_private_bytes(secret[1:])
    text = note.open_note(example["note"], [key]).text
    assert note.sign(text, key.name, signer.sign, key.public_key) == example["note"]


@pytest.mark.parametrize("text", PUBLISHED["bad_vkeys"])
def test_a_published_bad_key_is_refused(text: str) -> None:
    with pytest.raises(RefusedInput):
        VerifierKey.parse(text)


def test_a_witness_s_key_is_refused_by_its_type() -> None:
    """Of the published pair one is an ordinary key of type 1, which a witness may use too."""
    ordinary, witness = PUBLISHED["cosignature_v1"][0]["works_vkeys"]
    assert str(VerifierKey.parse(ordinary)) == ordinary
    with pytest.raises(RefusedInput, match="witness"):
        VerifierKey.parse(witness)


def test_a_published_note_with_a_witness_has_the_expected_shape() -> None:
    text, signatures = note.split_unverified(PUBLISHED["unverifiable_example_shapes"]["checkpoint"])
    assert text.count("\n") == 3
    assert [(line.name, len(line.signature)) for line in signatures] == [
        ("example.com/behind-the-sofa", 64),
        ("witness.example.com/w1", 72),
    ]


def test_a_key_is_written_as_it_is_read() -> None:
    for example in PUBLISHED["valid"]:
        assert str(VerifierKey.parse(example["vkey"])) == example["vkey"]


GOOD = PUBLISHED["valid"][0]["vkey"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "form"),
        (GOOD.replace("530d903a", "530D903A"), "form"),
        (GOOD.replace("530d903a", "530d903"), "form"),
        (GOOD.replace("530d903a", "00000000"), "key id"),
        (GOOD.replace("example.com/foo", "example.com/fob"), "key id"),
        (GOOD.replace("example.com/foo", ""), "name"),
        (GOOD.replace("example.com/foo", "example.com foo"), "name"),
        (GOOD.replace("example.com/foo", "example.com\u2003foo"), "name"),
        (GOOD.replace("example.com/foo", "example.com\x85foo"), "name"),
        (GOOD.replace("example.com/foo", "example.com\ud800foo"), "name"),
        (GOOD + "=", "base64"),
        (GOOD[:-1], "base64"),
        (GOOD + "\n", "base64"),
        (GOOD[: GOOD.rindex("+") + 1], "base64"),
        ("n+00000000+AQ==", "32 bytes"),
        ("n+00000000+AgAA", "type is 2"),
    ],
)
def test_a_malformed_key_is_refused_for_its_reason(text: str, reason: str) -> None:
    with pytest.raises(RefusedInput, match=reason):
        VerifierKey.parse(text)


# The points of low order by their y, published in many places; each also with the sign bit of x set.
LOW_ORDER = (
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0100000000000000000000000000000000000000000000000000000000000000",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
)


@pytest.mark.parametrize("sign_bit", [0, 0x80])
@pytest.mark.parametrize("text", LOW_ORDER)
def test_a_key_of_low_order_is_refused(text: str, sign_bit: int) -> None:
    point = bytearray.fromhex(text)
    point[31] |= sign_bit
    with pytest.raises(RefusedInput, match=r"low order|canonical"):
        VerifierKey.from_public(NAME, bytes(point))


@pytest.mark.parametrize("beyond", range(19))
def test_the_second_spelling_of_a_point_is_refused(beyond: int) -> None:
    """Nineteen values of y fit into 255 bits twice; some of them are points of full order."""
    with pytest.raises(RefusedInput, match="canonical"):
        VerifierKey.from_public(NAME, (2**255 - 19 + beyond).to_bytes(32, "little"))


def test_a_key_that_is_no_point_is_refused() -> None:
    with pytest.raises(RefusedInput, match="no point"):
        VerifierKey.from_public(NAME, b"\x02" + bytes(31))


@given(st.binary(min_size=32, max_size=32))
def test_every_real_key_is_accepted(seed: bytes) -> None:
    key = VerifierKey.from_public(NAME, public(Ed25519PrivateKey.from_private_bytes(seed)))
    assert VerifierKey.parse(str(key)) == key


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"])))
def test_a_signed_text_comes_back(body: str) -> None:
    text = body + "\n\n— not a signature\n\n"
    assert note.open_note(signed(text), [OLD_KEY]).text == text


@given(st.data())
def test_any_changed_byte_is_found(data: st.DataObject) -> None:
    original = signed().encode()
    place = data.draw(st.integers(0, len(original) - 1))
    change = data.draw(st.integers(1, 255))
    damaged = original[:place] + bytes([original[place] ^ change]) + original[place + 1 :]
    with pytest.raises(Modified):
        note.open_note(damaged, [OLD_KEY])


@pytest.mark.parametrize("length", range(len(signed().encode())))
def test_a_note_cut_short_is_found(length: int) -> None:
    with pytest.raises(Modified):
        note.open_note(signed().encode()[:length], [OLD_KEY])


LINE = signed().rpartition("\n\n")[2]


@pytest.mark.parametrize(
    "malformed",
    [
        b"",
        b"\n",
        b"\n\n",
        signed().encode("utf-16"),
        signed().replace("\n", "\r\n").encode(),
        signed().encode() + b"\n",
        signed().encode() + b" ",
        signed().encode().removesuffix(b"\n"),
        signed().encode().replace(b"first", b"fir\tst"),
        signed().encode().replace(b"first", b"fir\xffst"),
        (signed() + "trailing garbage\n").encode(),
        (signed() + "\N{EM DASH} other bm90IDY0\n").replace("\N{EM DASH} other", "\N{EN DASH} other").encode(),
        (signed() + "\N{EM DASH} other AAAAAA=\n").encode(),
        (signed() + "\N{EM DASH} other AAAAAA==\n").encode(),
        (signed() + "\N{EM DASH} other\n").encode(),
        (signed() + "other AAAAAAAA\n").encode(),
        (signed() + "\N{EM DASH}  AAAAAAAA\n").encode(),
        (signed() + "\N{EM DASH} oth+er AAAAAAAA\n").encode(),
        (signed() + "\N{EM DASH} other AAAAAAA\u0661\n").encode(),
        LINE.encode(),
        ("\n" + LINE).encode(),
    ],
)
def test_a_malformed_note_is_refused_as_a_whole(malformed: bytes) -> None:
    with pytest.raises(RefusedInput):
        note.split_unverified(malformed)
    with pytest.raises(Modified):
        note.open_note(malformed, [OLD_KEY])


def test_a_lone_surrogate_is_refused() -> None:
    with pytest.raises(RefusedInput):
        note.split_unverified(signed().replace("first", "\ud800"))


def test_the_second_spelling_of_a_signature_is_refused() -> None:
    """The last character before `=` carries unused bits; a lenient decoder reads 4 or 16 spellings as one."""
    last = LINE.rstrip("=\n")[-1]
    other = chr(ord(last) + 1)
    with pytest.raises(Modified, match="base64"):
        note.open_note(signed().replace(f"{last}=", f"{other}="), [OLD_KEY])


def test_unknown_lines_are_ignored_even_where_they_share_a_name_or_an_id() -> None:
    unknown = (
        f"\N{EM DASH} {NAME} AAAAAAAA\n",
        f"\N{EM DASH} other {note.encode_base64(OLD_KEY.key_id + bytes(64))}\n",
        "\N{EM DASH} witness.example " + note.encode_base64(bytes(76)) + "\n",
    )
    assert note.open_note(signed() + "".join(unknown), [OLD_KEY]).verified == (OLD_KEY,)


def test_a_note_by_unknown_keys_only_is_refused() -> None:
    with pytest.raises(Modified, match="no trusted key"):
        note.open_note(signed(), [NEW_KEY])
    with pytest.raises(Modified, match="no trusted key"):
        note.open_note(signed(), [])


def test_one_bad_signature_of_a_known_key_spoils_the_note() -> None:
    both = note.add_signature(signed(), NAME, NEW.sign, public(NEW))
    forged = f"\N{EM DASH} {NAME} {note.encode_base64(NEW_KEY.key_id + bytes(64))}\n"
    assert note.open_note(both, [OLD_KEY, NEW_KEY]).verified == (OLD_KEY, NEW_KEY)
    assert note.open_note(signed() + forged, [OLD_KEY]).verified == (OLD_KEY,)
    for spoiled in (signed() + forged, both + forged):
        with pytest.raises(Modified, match="does not verify"):
            note.open_note(spoiled, [OLD_KEY, NEW_KEY])


def test_a_signature_of_another_length_does_not_verify() -> None:
    for length in (1, 63, 65):
        line = f"\N{EM DASH} {NAME} {note.encode_base64(OLD_KEY.key_id + bytes(length))}\n"
        with pytest.raises(Modified, match="does not verify"):
            note.open_note(TEXT + "\n" + line, [OLD_KEY])


def test_a_rotation_opens_with_either_key() -> None:
    both = note.add_signature(signed(), NAME, NEW.sign, public(NEW))
    assert note.open_note(both, [OLD_KEY]).verified == (OLD_KEY,)
    assert note.open_note(both, [NEW_KEY]).verified == (NEW_KEY,)
    assert note.open_note(both + LINE, [NEW_KEY, OLD_KEY, OLD_KEY]).verified == (OLD_KEY, NEW_KEY)
    assert note.add_signature(signed().encode(), NAME, NEW.sign, public(NEW)) == both


def test_the_same_key_does_not_sign_twice() -> None:
    with pytest.raises(RefusedInput, match="already"):
        note.add_signature(signed(), NAME, OLD.sign, public(OLD))


def test_the_number_and_the_size_of_signatures_are_bounded() -> None:
    line = "\N{EM DASH} other AAAAAAAA\n"
    most = signed() + line * (note.MAX_SIGNATURES - 1)
    assert note.open_note(most, [OLD_KEY]).verified == (OLD_KEY,)
    with pytest.raises(Modified, match="more than"):
        note.open_note(most + line, [OLD_KEY])
    with pytest.raises(RefusedInput):
        note.add_signature(most, NAME, NEW.sign, public(NEW))
    with pytest.raises(Modified, match="longer"):
        note.open_note("x" * note.MAX_NOTE_BYTES + "\n\n" + line, [OLD_KEY])


@pytest.mark.parametrize("text", ["", "no end", "a\r\n", "a\tb\n", "a\x00\n", "\ud800\n"])
def test_a_text_that_no_note_can_hold_is_not_signed(text: str) -> None:
    with pytest.raises(RefusedInput):
        signed(text)


@pytest.mark.parametrize("name", ["", "\ud800", "a b", "a+b", "a\n", "a\u00a0b", "a\x1fb", "a\x00b"])
def test_a_name_that_no_line_can_hold_does_not_sign(name: str) -> None:
    with pytest.raises(RefusedInput, match="name"):
        signed(name=name)
    with pytest.raises(RefusedInput, match="name"):
        note.add_signature(signed(), name, NEW.sign, public(NEW))


@pytest.mark.parametrize("signer", [NEW.sign, lambda _: b"", lambda _: bytes(64), lambda m: OLD.sign(m + b" ")])
def test_a_signer_that_does_not_hold_the_key_is_found_before_the_note_leaves(signer: note.Signer) -> None:
    with pytest.raises(UsageError):
        note.sign(TEXT, NAME, signer, public(OLD))


def test_the_signer_gets_the_text_with_its_last_lf_and_without_the_blank_line() -> None:
    seen = []

    def signer(message: bytes) -> bytes:
        seen.append(message)
        return OLD.sign(message)

    note.sign(TEXT, NAME, signer, public(OLD))
    assert seen == [TEXT.encode()]


def test_two_keys_that_no_line_can_tell_apart_are_refused() -> None:
    twin = VerifierKey.from_public(NAME, public(NEW))
    object.__setattr__(twin, "key_id", OLD_KEY.key_id)  # a real collision takes 2^32 tries
    with pytest.raises(UsageError, match="share"):
        note.open_note(signed(), [OLD_KEY, twin])
