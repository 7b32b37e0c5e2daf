"""Succession: a ledger that lost entries is frozen at its last good head, and another one goes on in its place.

Pure values and decisions, taken from events by ``vault.core.standing``. The verb is ``vault.succession``; what the
verifier makes of it is ``vault.lineage``.

The successor's genesis leaf names what it follows in one word (FORMAT.md section 2):

    <uuid>:<good size>:<b64 root of the good head>:<signed size>

so entries from the good size on, below the signed size, are the lost range. Digests are base64url as leaves spell them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

NO_OFFICER: Final = "only compliance officers who logged in recover a ledger here: two of them, each with --user"
OWN: Final = "nobody recovers a ledger alone: another officer has to run the same command"


@dataclass(frozen=True, slots=True)
class Recovery:
    """What is known of a ledger that cannot go on.

    Attributes:
        ledger: uuid. ``name`` is what people call it.
        size, root: the good head: so many entries stay, and their RFC 6962 root.
        proved: entries of these that a root signed earlier covers; the rest chain on, and that is all.
        end, end_root: the checkpoint outside the database; entries from ``size`` on, below ``end``, are lost.
    """

    ledger: str
    name: str
    size: int
    root: str
    proved: int
    end: int
    end_root: str

    @property
    def word(self) -> str:
        """Return how the successor's genesis leaf names it."""
        return f"{self.ledger}:{self.size}:{self.root}:{self.end}"

    @property
    def lost(self) -> int:
        """Return how many entries are lost."""
        return self.end - self.size

    def facts(self) -> dict[str, Any]:
        """Return the facts of its events."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Asked:
    """A recovery that one officer asked for. ``seq`` is where that stands."""

    recovery: Recovery
    successor_name: str
    by: str
    seq: int


@dataclass(frozen=True, slots=True)
class Frozen:
    """A frozen ledger. ``seq`` is where ``ledger.frozen`` stands; ``succeeded`` says that its successor was announced.

    Attributes:
        successor: uuid, decided with the freeze, so that whoever finishes makes the same one.
    """

    recovery: Recovery
    successor: str
    successor_name: str
    seq: int
    succeeded: bool = False


def recovery_of(facts: Mapping[str, Any]) -> Recovery:
    """Return the recovery of an event's facts. Raises ``KeyError``, ``TypeError`` or ``ValueError`` for any other."""
    numbers = {name: facts[name] for name in ("size", "proved", "end")}
    words = {name: facts[name] for name in ("ledger", "name", "root", "end_root")}
    if not all(type(one) is int for one in numbers.values()) or not all(isinstance(one, str) for one in words.values()):
        raise TypeError("no recovery")
    if not 0 <= numbers["proved"] <= numbers["size"] <= numbers["end"]:
        raise ValueError("no recovery")
    return Recovery(**words, **numbers)


def why_not(asked: Asked | None, wanted: tuple[Recovery, str], person: str, roles: frozenset[str]) -> str | None:
    """Return why an officer may not take the next step (ask, or freeze what another asked for), None when they may.

    Args:
        asked: what waits for this ledger.
        wanted: what this officer found just now, and the successor's name.
    """
    if "officer" not in roles:
        return NO_OFFICER
    if asked is None or (asked.recovery, asked.successor_name) != wanted:
        return None  # things are not what somebody asked for: this is a new request
    return OWN if asked.by == person else None
