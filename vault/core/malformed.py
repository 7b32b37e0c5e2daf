"""Why bytes are no JSON document of ours, and where: a slow second look at what the fast parser turned down.

The fast parser (jiter) decides in a few microseconds but names only a line and a column. This scanner reads
the same bytes once more, token by token, and names the JSON path and a stable code, without repeating any of
the content:

    >>> str(find_fault(b'{"decision": {"action": "charge", "action": "none"}}'))
    '$.decision.action: the key stands twice in the same object'

It never recurses and takes time in proportion to the input: about a second for the worst 1 MiB, a millisecond
for a common record. It knows all of RFC 8259, so that it can also be asked about valid input: U+0000 by its
escape is valid JSON, and a fault here.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from vault.core.errors import RefusedInput

MAX_DEPTH: Final = 200
"""Containers around a value at most; also the bound built into jiter."""

_BOM: Final = b"\xef\xbb\xbf"
_SPACE = re.compile(r"[ \t\n\r]*+")
_PLAIN = re.compile(r'[^"\\\x00-\x1f]*+')
_SURROGATE = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_HEX4 = re.compile(r"[0-9A-Fa-f]{4}")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?([eE][+-]?[0-9]++)?")
_LITERAL = re.compile(r"true|false|null")
_NOT_A_NUMBER = re.compile(r"[+-]?(?:NaN|Infinity|inf|nan)")
_ESCAPES: Final = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_MAX_INTEGER_DIGITS: Final = 4300  # what jiter and Python convert

_PRINTABLE_KEY = re.compile(r"[a-z_][a-z0-9_]{0,31}")
_MANY_DIGITS = re.compile(r"(?:[0-9][^0-9]*){5}")
_MAX_SEGMENTS: Final = 20


def find_fault(raw: bytes) -> RefusedInput | None:
    """Return the first fault of a document as the refusal to raise, or None if it has none.

    Codes: empty, bom, invalid_utf8, lone_surrogate, nul, control_character, malformed, truncated,
    trailing_data, duplicate_key, too_deep, not_a_number, number_out_of_range.
    """
    if raw.startswith(_BOM):
        return RefusedInput("starts with a byte order mark", "$", "bom")
    if not raw.strip(b" \t\n\r"):
        return RefusedInput("the document is empty", "$", "empty")
    try:
        _Scanner(raw.decode()).document()
    except UnicodeDecodeError as error:
        undecodable = error.start
    except RefusedInput as fault:
        return fault.with_traceback(None)
    else:
        return None
    return _find_undecodable(raw, undecodable)


def path_of(segments: Sequence[str | int]) -> str:
    """Return a JSON path that is fit for a log: keys that could carry content stand as ``*``.

    A key is printed only if it is a lower-case word of at most 32 characters with at most four digits, and no
    more than 20 segments are printed.
    """
    shown = "".join(
        f"[{segment}]" if isinstance(segment, int) else f".{printable_key(segment)}"
        for segment in segments[:_MAX_SEGMENTS]
    )
    return f"${shown}{'...' if len(segments) > _MAX_SEGMENTS else ''}"


def printable_key(key: str) -> str:
    """Return the key if it may be printed, else ``*``."""
    return key if _PRINTABLE_KEY.fullmatch(key) and not _MANY_DIGITS.search(key) else "*"


def _find_undecodable(raw: bytes, at: int) -> RefusedInput:
    """Name bytes that are no UTF-8: read what comes before them, and see where that ends."""
    scanner = _Scanner(raw[:at].decode())
    try:
        scanner.document()
    except RefusedInput as fault:
        if fault.code != "truncated":
            return fault.with_traceback(None)
    if _SURROGATE.match(raw, at):
        return RefusedInput("has a lone surrogate", scanner.path(), "lone_surrogate")
    return RefusedInput("is not UTF-8", scanner.path(), "invalid_utf8")


@dataclass(slots=True)
class _Frame:
    """One open container: the key or index in hand, and the keys seen so far (None for an array)."""

    segment: str | int | None = None
    keys: set[str] | None = None


@dataclass(slots=True)
class _Scanner:
    text: str
    at: int = 0
    open: list[_Frame] = field(default_factory=list)

    def document(self) -> None:
        """Read one document and nothing after it; raise ``RefusedInput`` at the first fault."""
        self._value()
        while self.open:
            frame = self.open[-1]
            if frame.keys is None:
                self._next_element(frame)
            else:
                self._next_member(frame, frame.keys)
        self._run(_SPACE)
        if self.at < len(self.text):
            raise RefusedInput("has data after the end of the document", "$", "trailing_data")

    def path(self) -> str:
        """Return the path of the value in hand."""
        return path_of([frame.segment for frame in self.open if frame.segment is not None])

    def _next_element(self, frame: _Frame) -> None:
        first = frame.segment is None
        if self._closes("]", first):
            return
        frame.segment = 0 if not isinstance(frame.segment, int) else frame.segment + 1
        self._value()

    def _next_member(self, frame: _Frame, keys: set[str]) -> None:
        first = frame.segment is None
        if self._closes("}", first):
            return
        if self._peek() != '"':
            raise self._fault("has a key that is no string", "malformed")
        frame.segment = None  # until the key is known, faults belong to the object
        key = self._string()
        frame.segment = key
        if key in keys:
            raise self._fault("the key stands twice in the same object", "duplicate_key")
        keys.add(key)
        if self._peek() != ":":
            raise self._fault("has no colon after its key", "malformed")
        self.at += 1
        self._value()

    def _closes(self, bracket: str, first: bool) -> bool:
        """Step over the closing bracket, or over the comma before a further item."""
        character = self._peek()
        if character == bracket:
            self.open.pop()
            self.at += 1
            return True
        if not first:
            if character != ",":
                raise self._fault("has neither a comma nor an end after this value", "malformed")
            self.at += 1
            if self._peek() == bracket:
                raise self._fault("has a comma after the last item", "malformed")
        return False

    def _value(self) -> None:
        """Read a scalar, or open a container and leave its items to the loop in ``document``."""
        if len(self.open) > MAX_DEPTH:
            raise self._fault(f"nests deeper than {MAX_DEPTH} levels", "too_deep")
        character = self._peek()
        if character == '"':
            self._string()
        elif character in "{[":
            self.at += 1
            self.open.append(_Frame(keys=set() if character == "{" else None))
        elif literal := _LITERAL.match(self.text, self.at):
            self.at = literal.end()
        elif _NOT_A_NUMBER.match(self.text, self.at):
            raise self._fault("NaN and Infinity are no JSON numbers", "not_a_number")
        else:
            self._number()

    def _number(self) -> None:
        number = _NUMBER.match(self.text, self.at)
        if number is None:
            rest = self.text[self.at :]
            cut = rest == "-" or any(word.startswith(rest) for word in ("true", "false", "null"))
            raise self._truncated() if cut else self._fault("is no JSON value", "malformed")
        self.at = number.end()
        if self.at < len(self.text) and self.text[self.at] in "0123456789.eE+-":
            raise self._fault("is no JSON number", "malformed")
        whole, fraction, exponent = number[0], number[1], number[2]
        if fraction is None and exponent is None:
            too_large = len(whole.lstrip("-")) > _MAX_INTEGER_DIGITS
        else:
            too_large = float(whole) in (float("inf"), float("-inf"))
        if too_large:
            raise self._fault("is a number out of range", "number_out_of_range")

    def _string(self) -> str:
        """Read a string, the opening quote being next, and return what it stands for."""
        pieces: list[str] = []
        self.at += 1
        while True:
            pieces.append(self._run(_PLAIN))
            if self.at == len(self.text):
                raise self._truncated()
            character = self.text[self.at]
            self.at += 1
            if character == '"':
                return "".join(pieces)
            if character != "\\":
                raise self._control(character)
            pieces.append(self._escape())

    def _escape(self) -> str:
        """Read what follows a backslash."""
        letter = self.text[self.at : self.at + 1]
        self.at += 1
        if letter in _ESCAPES:
            return _ESCAPES[letter]
        if letter != "u":
            raise self._fault("has an unknown escape", "malformed") if letter else self._truncated()
        unit = self._hex4()
        if unit == 0:
            raise self._control("\0")
        if 0xDC00 <= unit < 0xE000:
            raise self._fault("has a lone surrogate", "lone_surrogate")
        if not 0xD800 <= unit < 0xDC00:
            return chr(unit)
        if not self.text.startswith("\\u", self.at):
            raise self._fault("has a lone surrogate", "lone_surrogate")
        self.at += 2
        low = self._hex4()
        if not 0xDC00 <= low < 0xE000:
            raise self._fault("has a lone surrogate", "lone_surrogate")
        return chr(0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00))

    def _hex4(self) -> int:
        digits = _HEX4.match(self.text, self.at)
        if digits is None:
            if self.at + 4 > len(self.text):
                raise self._truncated()
            raise self._fault("has an escape without four hexadecimal digits", "malformed")
        self.at += 4
        return int(digits[0], 16)

    def _peek(self) -> str:
        self._run(_SPACE)
        if self.at == len(self.text):
            raise self._truncated()
        return self.text[self.at]

    def _run(self, pattern: re.Pattern[str]) -> str:
        """Read as much as the pattern takes, which may be nothing."""
        run = pattern.match(self.text, self.at)
        if run is None:
            return ""
        self.at = run.end()
        return run[0]

    def _control(self, character: str) -> RefusedInput:
        if character == "\0":
            return self._fault("has the character NUL", "nul")
        return self._fault("has a control character in a string", "control_character")

    def _truncated(self) -> RefusedInput:
        return self._fault("ends in the middle of the document", "truncated")

    def _fault(self, reason: str, code: str) -> RefusedInput:
        return RefusedInput(reason, self.path(), code)
