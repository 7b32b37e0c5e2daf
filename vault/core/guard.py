"""The guard: which card numbers, card verification values and identity numbers a record carries, and where.

It runs before any durable write, log line or error text could carry the value, and what it says carries none: a
``Finding`` is a type and a JSON path. No digit and no hash of one is kept, since a hash of a card number can be
reversed by trying them all (PCI DSS 3.5.1.1 asks for a keyed one, under key management).

    >>> inspect(b'{"prompt":"refund to 4111 1111 1111 1111"}', {"prompt": "refund to 4111 1111 1111 1111"})
    (Finding(type='card_number', path='$.prompt'),)

Looked at: every string, every object key and every number of the document. Declared ids (``_DECLARED``, exact paths,
so ``$.extra.id`` is not among them) are spared, because long digit runs are their nature; they are reported only where
the whole id is one valid number. A producer that names its customers by their card numbers would else have them stored
in clear among the facets. The price: one bare 16-digit id in ten that begins like a card's is refused, and the producer
must prefix it.

Not looked at: numbers split over several strings, images, two layers of base64, encryption, spelled-out digits.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

import msgspec

from vault.core.detect import CARD, CVV, TRACK, detect, detect_whole, layers
from vault.core.prefilter import may_match


@dataclass(frozen=True, slots=True)
class Finding:
    """One type of number found in one place.

    Attributes:
        type: ``card_number``, ``track_data``, ``cvv`` or ``identity_number:<scheme>`` (see ``vault.core.identity``).
        path: JSON path, such as ``$.prompt[3].content``; the path of a key is the path of its value. Keys that a
            producer may have chosen freely stand as ``*``.
    """

    type: str
    path: str


_CARD_DATA: Final = frozenset({CARD, TRACK, CVV})


def is_card_data(finding: Finding) -> bool:
    """Card, track and verification data are refused by default; identity numbers are accepted and flagged."""
    return finding.type in _CARD_DATA


_DECLARED: Final = frozenset(
    [
        "$.id",
        "$.conversation_id",
        "$.customer_ref",
        "$.source.call_id",
        "$.source.raw_sha256",
        "$.model.call_id",
        "$.decision.transaction_id",
        "$.review.reviewer",
        "$.review.rule_id",
        "$.relates_to[].id",
        "$.usage.batch.id",
        "$.usage.batch.item",
        "$.usage.cache.key",
        "$.attachments[].sha256",
        "$.occurred_at",
        "$.decision.executed_at",
        "$.review.decided_at",
    ]
)


def inspect(raw: bytes, tree: object) -> tuple[Finding, ...]:
    """Everything found in one document, in document order, each type once a path.

    Args:
        raw: the document's bytes: UTF-8 JSON that the parser took without complaint.
        tree: what the parser made of them: dicts, lists, strings, numbers, booleans and None.

    Most records are cleared by a look at ``raw``. The others are taken apart, and halved until only texts are left
    that cannot be cleared; those the detectors read.
    """
    plain = _without_escapes(raw, tree)
    if plain is not None and not may_match(plain, quotes_part=True):
        return ()
    return _findings(_suspects(_leaves(tree)))


def inspect_everything(tree: object) -> tuple[Finding, ...]:
    """The same answer without any shortcut, some hundred times slower: what tests compare ``inspect`` with."""
    return _findings(_leaves(tree))


# The commonest first: most documents have no others.
_SHORT_ESCAPES: Final = ((b"\\n", b"\n"), (b'\\"', b" "), (b"\\t", b"\t"), (b"\\r", b"\r"), (b"\\/", b"/"))


def _without_escapes(raw: bytes, tree: object) -> bytes | None:
    """The document without escapes, a quote inside a text turned into a space; None where that cannot be had.

    Escaped non-ASCII text is undone by writing the tree anew (a few microseconds). JSON within JSON has escaped
    backslashes, whose texts have to be read on two layers.
    """
    if b"\\" not in raw:
        return raw
    if b"\\u" in raw:
        try:
            raw = msgspec.json.encode(tree)
        except (OverflowError, TypeError):
            return None
    if b"\\\\" in raw:
        return None
    for escape, character in _SHORT_ESCAPES:
        raw = raw.replace(escape, character)
        if b"\\" not in raw:
            return raw
    return None


_Trail: TypeAlias = "tuple[_Trail, str | int] | None"


class _Leaf(NamedTuple):
    """One text of the document, and the key it stands under (elements of a list: the key of the list)."""

    text: str
    key: str
    trail: _Trail
    declared: bool


def _leaves(tree: object) -> list[_Leaf]:
    leaves: list[_Leaf] = []
    _gather(tree, "$", "", None, leaves)
    return leaves


def _gather(node: object, shape: str, key: str, trail: _Trail, leaves: list[_Leaf]) -> None:
    """Append the leaves below ``node`` in document order. The parser bounds the depth."""
    if isinstance(node, str):
        leaves.append(_Leaf(node, key, trail, shape in _DECLARED))
    elif isinstance(node, dict):
        for name, value in node.items():
            below = (trail, name)
            leaves.append(_Leaf(name, "", below, False))
            _gather(value, f"{shape}.{name}", name, below, leaves)
    elif isinstance(node, list):
        shape += "[]"
        for index, value in enumerate(node):
            _gather(value, shape, key, (trail, index), leaves)
    elif isinstance(node, int | float | Decimal) and not isinstance(node, bool):
        digits = _digits(node)
        if digits:
            leaves.append(_Leaf(digits, key, trail, shape in _DECLARED))


_LONGEST_NUMBER: Final = 40
_SHORTEST_CARD: Final = 12


def _digits(number: float | Decimal) -> str:
    """Digits of an integer, or of a fraction's whole part if it is as long as a card number; empty for none.

    What stands behind a decimal point is no card number: a float has as many digits as a card, and one in a hundred
    would look like one. A float as large as 2**53 has lost its last digits in the parser; they are not recovered.
    """
    if isinstance(number, int):
        return str(abs(number)) if abs(number) < 10**_LONGEST_NUMBER else ""
    exact = Decimal(repr(number)) if isinstance(number, float) else number
    if not exact.is_finite() or not _SHORTEST_CARD <= exact.adjusted() + 1 <= _LONGEST_NUMBER:
        return ""
    whole = str(abs(int(exact)))
    return whole if len(whole.rstrip("0")) >= _SHORTEST_CARD else ""


# No detector finds anything in words without digits, in base64 that has no capital letter or is too short, nor in a
# run of digits that is longer than any card number.
_NOTHING = re.compile("[a-z_ ]*|[A-Za-z_ ]{0,15}|[0-9]{20,}")
_PARTED: Final = "\u4e00"
_PARTED_BYTES: Final = _PARTED.encode()


def _suspects(leaves: list[_Leaf]) -> list[_Leaf]:
    """The leaves that may match, each looked at with its key and with its escapes undone."""
    texts = [
        (leaf, _PARTED.join((leaf.key, *layers(leaf.text))).encode("utf-8", "surrogatepass"))
        for leaf in leaves
        if not _NOTHING.fullmatch(leaf.text) and not (leaf.declared and _is_plain_id(leaf.text))
    ]
    return list(_halved(texts))


_ONE_NUMBER = re.compile(r"[A-Za-z]{0,2}[^A-Za-z]{6,}[A-Za-z]?[^0-9A-Za-z]*|.*[^ -~].*", re.DOTALL)
_LONGEST_ID: Final = 128


def _is_plain_id(text: str) -> bool:
    """Cannot be one number of any scheme from end to end: it has more letters, or letters elsewhere."""
    text = text.strip()
    return len(text) <= _LONGEST_ID and not _ONE_NUMBER.fullmatch(text)


def _halved(texts: list[tuple[_Leaf, bytes]]) -> Iterator[_Leaf]:
    """A dozen looks find the one leaf among hundreds."""
    if not texts or not may_match(_PARTED_BYTES.join([b"", *(data for _, data in texts), b""])):
        return
    if len(texts) == 1:
        yield texts[0][0]
        return
    middle = len(texts) // 2
    yield from _halved(texts[:middle])
    yield from _halved(texts[middle:])


def _findings(leaves: list[_Leaf]) -> tuple[Finding, ...]:
    found: dict[Finding, None] = {}
    for leaf in leaves:
        for kind in sorted(detect_whole(leaf.text) if leaf.declared else detect(leaf.text, leaf.key)):
            found[Finding(kind, _path(leaf.trail))] = None
    return tuple(found)


_PLAIN_KEY = re.compile("[a-z_][a-z0-9_]{0,31}")
_DIGITS_IN_KEY: Final = 2


def _path(trail: _Trail) -> str:
    """JSON path. A key that could itself carry a number, or text of the producer's, stands as ``*``."""
    steps: list[str] = []
    while trail is not None:
        trail, step = trail
        if isinstance(step, int):
            steps.append(f"[{step}]")
        else:
            plain = _PLAIN_KEY.fullmatch(step) and sum(map(str.isdigit, step)) <= _DIGITS_IN_KEY
            steps.append(f".{step}" if plain else ".*")
    return "$" + "".join(reversed(steps))
