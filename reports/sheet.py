"""Tables as CSV (RFC 4180): for people with a spreadsheet. The JSON lines beside them are what to compute with.

A spreadsheet runs what begins like a formula, and a producer's string may begin like one. Such a cell gets an
apostrophe before it, which spreadsheets hide; the same string in the JSON lines is exact.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Final

MEDIA_TYPE: Final = "text/csv"
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""Also full-width ones, which spreadsheets in Chinese and Japanese take for the same."""


def line(cells: Sequence[object]) -> bytes:
    """Return a row, ended by CR LF. None is an empty cell; numbers are spelled as Python spells them."""
    out = io.StringIO()
    csv.writer(out).writerow([_cell(cell) for cell in cells])
    return out.getvalue().encode("utf-8", "replace")


def _cell(value: object) -> object:
    if isinstance(value, str) and (value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)):
        return "'" + value
    return "" if value is None else value
