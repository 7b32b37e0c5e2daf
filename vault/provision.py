"""Provisioning: the keys a writer needs before it can seal, one provider call a group and a day.

Order for a group that is new: provider key, event, group row. A crash in between leaves a provider key that the next
try finds, tells of again and uses; the group row is inserted at most once, whoever comes first, and every writer
uses the one that stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from uuid import UUID

from vault.context import Vault
from vault.db import store
from vault.db.engine import transact
from vault.keys.ring import EpochRow, GroupKeys, GroupRow

OUTLAST_DAYS = 3
"""For so long a writer goes on with the keys it has; see WRITE_SECONDS in vault.keys.ring."""


class Provisioner:
    """Keys for one ledger and this process, kept for as long as the day lasts.

    Args:
        announce: told of each group this process makes, so that the events ledger hears of every provider key, of some
            more than once.
        ready: keys provisioned before, shared with others of this ledger.
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

    def provide(self, names: Iterable[str], now_us: int) -> list[GroupKeys]:
        """Return keys for the named groups, making what is missing.

        Raises:
            KeyUnavailable, KeyGone: the provider cannot, and nothing was sealed.
        """
        return [self._one(name, _day(now_us)) for name in sorted(set(names))]

    def latest(self, name: str, now_us: int) -> GroupKeys | None:
        """Return a group's keys of the last days: what a writer goes on with while the provider is out of reach."""
        days = [_day(now_us - back * 86_400_000_000) for back in range(OUTLAST_DAYS + 1)]
        return next((self._ready[(name, day)] for day in days if (name, day) in self._ready), None)

    def _one(self, name: str, day: str) -> GroupKeys:
        keys = self._ready.get((name, day))
        if keys is None:
            group = self._group(name)
            epoch = self._vault.ring.new_epoch(group, self._vault.writer, day)
            self._keep(epoch)
            keys = self._ready[(name, day)] = GroupKeys(group, epoch)
        return keys

    def _group(self, name: str) -> GroupRow:
        standing = find_group(self._vault, self._ledger, name)
        if standing is not None:
            return standing
        made = self._vault.ring.new_group(self._ledger, name)
        # Told first: a crash in between tells it twice, and never leaves a key nobody was told of.
        self._announce(made)
        transact(
            self._vault.engine,
            lambda connection: store.insert_group(connection, self._ledger, name, made.key_ref, made.index_key),
        )
        standing = find_group(self._vault, self._ledger, name)
        assert standing is not None
        return standing

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
        transact(self._vault.engine, lambda connection: store.insert_epoch(connection, row))


def find_group(vault: Vault, ledger: UUID, name: str) -> GroupRow | None:
    """Return the group's row as it stands in the database."""
    rows = transact(vault.engine, lambda connection: store.groups(connection, ledger))
    return next((GroupRow(ledger, group, ref, key) for group, ref, key in rows if group == name), None)


def _day(now_us: int) -> str:
    return datetime.fromtimestamp(now_us // 1_000_000, UTC).strftime("%Y-%m-%d")
