"""Provisioning: the keys a writer needs before it can seal, one provider call a stem and a day.

A writer asks for a stem (``2029-01``) and is given the keys of the group that is written for it now (``2029-01.3``):
the highest live generation (vault.generations), or one more where all are closed.

Order for a group that is new: provider key, event, group row. A crash in between leaves a provider key that the next
try finds, tells of again and uses; the group row is inserted at most once, whoever comes first, and every writer
uses the one that stands. A provider key that was destroyed without ever having a row is passed over, and so is a row
whose key does not open and that no event tells of: whoever may insert rows made it up.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from uuid import UUID

from vault import generations
from vault.context import Vault
from vault.core.errors import KeyGone, Modified
from vault.core.groups import due_at, generation_of, months_later, name_of
from vault.db import groups
from vault.db.engine import transact
from vault.keys.ring import EpochRow, GroupKeys, GroupRow

OUTLAST_DAYS = 3
"""For so long a writer goes on with the keys it has; see WRITE_SECONDS in vault.keys.ring."""
_DAY_US = 86_400_000_000
_PASSED_OVER = 16  # generations in a row whose key is gone before it had a row: more is no crash, but a lost key store


class Provisioner:
    """Keys for one ledger and this process, kept for as long as the day lasts.

    Args:
        announce: told of each group this process makes, so that the events ledger hears of every provider key, of some
            more than once.
        ready: keys provisioned before, by stem and day, shared with others of this ledger.
    """

    def __init__(
        self,
        vault: Vault,
        ledger: UUID,
        announce: Callable[[GroupRow], None],
        *,
        ready: dict[tuple[str, str], GroupKeys] | None = None,
    ) -> None:
        self._vault = vault
        self._ledger = ledger
        self._announce = announce
        self._ready: dict[tuple[str, str], GroupKeys] = {} if ready is None else ready

    def ready(self, now_us: int) -> list[GroupKeys]:
        """Return the keys already provisioned for the day of ``now_us``."""
        day = _day(now_us)
        return [keys for (_, known_day), keys in self._ready.items() if known_day == day]

    def provide(self, stems: Iterable[str], now_us: int) -> list[GroupKeys]:
        """Return keys for the named stems, making what is missing.

        Raises:
            KeyUnavailable, KeyGone: the provider cannot, and nothing was sealed.
        """
        return [self._one(stem, _day(now_us)) for stem in sorted(set(stems))]

    def prepare(self, stems: Iterable[str]) -> int:
        """Make the groups of stems that have no live one, and return how many those were. Raises like ``provide``."""
        without = [stem for stem in sorted(set(stems)) if self._lacks(stem)]
        for stem in without:
            self._group(stem)
        return len(without)

    def latest(self, stem: str, now_us: int) -> GroupKeys | None:
        """Return a stem's keys of the last days: what a writer goes on with while the provider is out of reach."""
        days = [_day(now_us - back * _DAY_US) for back in range(OUTLAST_DAYS + 1)]
        return next((self._ready[(stem, day)] for day in days if (stem, day) in self._ready), None)

    def stay(self, keys: GroupKeys, stem: str, now_us: int) -> None:
        """Go on with keys of an earlier day for all of this one. How long they open at all, the ring limits."""
        self._ready[(stem, _day(now_us))] = keys

    def forget(self, names: Collection[str]) -> None:
        """Drop the keys of groups that are closed, opened ones too: what is asked for next is of another group."""
        for place, keys in list(self._ready.items()):
            if keys.group.group in names:
                self._ready.pop(place, None)
        for name in names:
            self._vault.ring.forget(self._ledger, name)

    def _one(self, stem: str, day: str) -> GroupKeys:
        keys = self._ready.get((stem, day))
        if keys is None:
            group = self._group(stem)
            epoch = self._vault.ring.new_epoch(group, self._vault.writer, day)
            self._keep(epoch)
            keys = self._ready[(stem, day)] = GroupKeys(group, epoch)
        return keys

    def _group(self, stem: str) -> GroupRow:
        """Return the group that stands, or the next one, made. One that is closed meanwhile has another next."""
        made_up: set[str] = set()
        while True:
            standing = generations.current(self._vault, self._ledger, stem, made_up)
            if standing is None:
                made = self._next(stem)
                # Told first: a crash in between tells it twice, and never leaves a key nobody was told of.
                self._announce(made)
                self._insert(made)
            elif self._is_ours(standing):
                return standing
            else:
                made_up.add(standing.group)

    def _lacks(self, stem: str) -> bool:
        standing = generations.current(self._vault, self._ledger, stem)
        return standing is None or not self._is_ours(standing)

    def _is_ours(self, group: GroupRow) -> bool:
        try:
            self._vault.ring.open_index_key(group)
        except (KeyGone, Modified):
            if generations.is_told(self._vault, self._ledger, group.group):
                raise
            return False
        return True

    def _next(self, stem: str) -> GroupRow:
        first = generation_of(generations.next_name(self._vault, self._ledger, stem))
        for generation in range(first, first + _PASSED_OVER):
            try:
                return self._vault.ring.new_group(self._ledger, name_of(stem, generation))
            except KeyGone:
                if generation == first + _PASSED_OVER - 1:
                    raise
        raise AssertionError("unreachable")

    def _insert(self, made: GroupRow) -> None:
        transact(
            self._vault.engine,
            lambda connection: groups.insert_group(connection, self._ledger, made.group, made.key_ref, made.index_key),
        )

    def _keep(self, epoch: EpochRow) -> None:
        row = {
            "ledger_id": epoch.ledger,
            "epoch_id": epoch.epoch_id,
            "group_name": epoch.group,
            "key_ref": epoch.key_ref,
            "writer": epoch.writer,
            "day": epoch.day,
            "wrapped": epoch.wrapped,
        }
        transact(self._vault.engine, lambda connection: groups.insert_epoch(connection, row))


def upcoming(stems: Iterable[str], now_us: int) -> set[str]:
    """Return the stems that will follow these before a writer could be without keys: none, but for the end of a month.

    Periods that count from an event move on by a month then; those that count from the end of a year stay where they
    are, and move on by a year when that ends.
    """
    today = datetime.fromtimestamp(now_us // 1_000_000, UTC)
    later = datetime.fromtimestamp((now_us + (OUTLAST_DAYS + 1) * _DAY_US) // 1_000_000, UTC)
    if later.month == today.month:
        return set()
    steps = (1, 12) if later.year != today.year else (1,)
    months = [stem for stem in stems if due_at(stem) is not None]
    return {months_later(stem, step) for stem in months for step in steps}


def _day(now_us: int) -> str:
    return datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y-%m-%d")
