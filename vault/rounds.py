"""Rounds: how the last ones with witnesses and authorities went, remembered beside what they said.

``outside/rounds.json`` is a convenience and no evidence. A witness whose last size is forgotten answers with it, and
what it said before still stands in the files of ``vault.outside``.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from vault.core.errors import Unavailable
from vault.durable import make_directory, replace

NAME: Final = "rounds.json"
CLOCK: Final = "clock"


class Problem(msgspec.Struct, frozen=True):
    """What is wrong with a witness or an authority.

    Attributes:
        code: a word, such as ``conflict`` or ``unreachable``; as long as it stays the same, it is told once.
        words: one sentence.
        since: Unix seconds.
    """

    code: str
    words: str
    since: int


class Rounds(msgspec.Struct):
    """What is remembered of a ledger.

    Attributes:
        sizes: by witness (verifier key), the size that it cosigned last.
        seen: by ledger, the size of its checkpoint when the last round began.
        witnessed, stamped: the largest sizes that somebody vouched for: their files must be there.
        at: when the last round ended, Unix seconds.
        stamped_at: when a stamp was had last, by our own clock.
        problems: by witness or authority, what the last round with it came to where that was no success.
    """

    sizes: dict[str, int] = {}
    seen: dict[str, int] = {}
    witnessed: int = 0
    stamped: int = 0
    at: int = 0
    stamped_at: int = 0
    problems: dict[str, Problem] = {}


def read(outside: Path) -> Rounds:
    """Return what is remembered; nothing where that cannot be read."""
    try:
        return msgspec.json.decode((outside / NAME).read_bytes(), type=Rounds)
    except (OSError, msgspec.MsgspecError):
        return Rounds()


def write(outside: Path, rounds: Rounds) -> None:
    """Remember. Raises ``Unavailable``."""
    if not outside.is_dir():
        make_directory(outside)
    replace(outside / NAME, msgspec.json.format(msgspec.json.encode(rounds)).decode() + "\n", durable=False)


@contextmanager
def alone(outside: Path) -> Iterator[None]:
    """Let one process at a time go a round; the others wait. Raises ``Unavailable``."""
    if not outside.is_dir():
        make_directory(outside)
    try:
        descriptor = os.open(outside, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise Unavailable(f"cannot open {outside}: {error.strerror}") from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def problem(rounds: Rounds, name: str, code: str, words: str, now: int) -> bool:
    """Note what is wrong with somebody, and return whether that is news."""
    known = rounds.problems.get(name)
    news = known is None or known.code != code
    rounds.problems[name] = Problem(code, words, now if known is None or news else known.since)
    return news
