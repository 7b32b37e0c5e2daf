"""Sealers: what seals one ledger's records in a process that lives for long, whoever sends them.

Keys belong to a day: with the first record of a new one every sealer begins without any, and says so (``Waiting``)
until they are provided. While the key provider is out of reach, those of the last days go on; ``provide_ahead``, called
now and then by a thread of its own, sees to it that there are such keys, also for the month that is about to begin.
Keys of a group that turned out to be closed are forgotten, and those of the stem's next one provided. A rule book that
was adopted counts from the first record after this process has heard of it.

Sealing takes no lock that anybody holds while waiting, so an event loop may seal.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterable

from vault import events
from vault.context import Vault
from vault.core.errors import KeyUnavailable
from vault.intake import terms_of
from vault.keys.ring import GroupKeys
from vault.ledgers import Ledger
from vault.provision import OUTLAST_DAYS, Provisioner, upcoming
from vault.sealing import Outcome, Sealer, Terms, Waiting

_DAY_US = 86_400_000_000
_TRIES = 3  # a day, or a month, may end between providing and sealing; not twice


class _Day:
    """One day's sealers under one rule book, by producer; they share their keys."""

    def __init__(self, number: int, terms: Terms, first: Sealer) -> None:
        self.number = number
        self.terms = terms
        self.first = first
        self.producers: dict[str, Sealer] = {}

    def of(self, producer: str) -> Sealer:
        found = self.producers.get(producer)
        if found is None:  # two threads may make one each: they seal alike
            found = self.producers[producer] = self.first.sibling(producer)
        return found


class Sealers:
    """One ledger's. Threads share it."""

    def __init__(self, vault: Vault, ledger: Ledger) -> None:
        self._vault = vault
        self._ledger = ledger
        self._turning = threading.Lock()
        self._providing = threading.Lock()
        self._provisioned: dict[str, tuple[GroupKeys, int]] = {}  # by stem, and the day they were made for
        self._used: dict[str, int] = {}  # by stem, the day something was sealed for it last
        self._renewed: dict[str, int] = {}  # by stem, the day its keys were seen to last
        self._closed: frozenset[str] = frozenset()
        self._today: _Day | None = None

    def seal(self, raw: bytes, producer: str) -> Outcome:
        """Parse, guard and seal one record. Never waits; ``Waiting`` says that ``provide`` has to be called first."""
        now = self._vault.clock()
        (outcome,) = self._day(now // _DAY_US).of(producer).seal([raw], now)
        return outcome

    def seal_all(self, lines: Iterable[bytes], producer: str) -> list[Outcome]:
        """Seal lines, and provide what they need; blocks. A line may still come back ``Waiting``.

        Raises:
            KeyUnavailable, KeyGone: there are no keys to go on with.
        """
        lines = list(lines)
        outcomes = [self.seal(raw, producer) for raw in lines]
        for _ in range(_TRIES):
            waiting = [one for one in outcomes if isinstance(one, Waiting)]
            if not waiting:
                break
            self.forget({one.gone for one in waiting if one.gone})
            self.provide({one.stem for one in waiting})
            for at, one in enumerate(outcomes):
                if isinstance(one, Waiting):
                    outcomes[at] = self.seal(lines[at], producer)
        return outcomes

    @property
    def closed(self) -> frozenset[str]:
        """The groups that were found closed: what is sealed under one of them has to be sealed again."""
        return self._closed

    def forget(self, names: Collection[str]) -> None:
        """Seal nothing under these groups any more: they are closed."""
        if not names:
            return
        with self._providing:
            self._closed |= frozenset(names)
            for stem, (keys, _) in list(self._provisioned.items()):
                if keys.group.group in names:
                    del self._provisioned[stem]
                    self._renewed.pop(stem, None)
            if self._today is not None:
                self._today.first.forget(names)
            for name in names:
                self._vault.ring.forget(self._ledger.id, name)

    def provide(self, stems: Iterable[str]) -> None:
        """Get keys for stems; blocks.

        Raises:
            KeyUnavailable, KeyGone: there are none to go on with.
        """
        with self._providing:
            now = self._vault.clock()
            day = now // _DAY_US
            provisioner = Provisioner(self._vault, self._ledger.id, events.key_created(self._vault))
            for stem in set(stems):
                self._used[stem] = day
                known = self._provisioned.get(stem)
                if known is None or known[1] != day:
                    try:
                        known = (provisioner.provide([stem], now)[0], day)
                    except KeyUnavailable:
                        if known is None or day - known[1] > OUTLAST_DAYS:
                            raise
                    self._provisioned[stem] = known
                self._day(day).first.provide([known[0]])

    def provide_ahead(self) -> int:
        """Get today's keys for what was written lately and for what follows it; return for how many stems.

        It blocks, and nobody who seals waits for it. After it a provider may be away for three days.

        Raises:
            KeyUnavailable, KeyGone: some are missing still; the next call goes on.
        """
        now = self._vault.clock()
        day = now // _DAY_US
        with self._providing:
            used = {stem for stem, last in self._used.items() if day - last <= OUTLAST_DAYS}
        wanted = sorted(stem for stem in used | upcoming(used, now) if self._renewed.get(stem) != day)
        provisioner = Provisioner(self._vault, self._ledger.id, events.key_created(self._vault))
        for stem in wanted:
            known = self._provisioned.get(stem)
            keys = known[0] if known is not None and known[1] == day else provisioner.provide([stem], now)[0]
            self._vault.ring.renew_index_key(keys.group)
            with self._providing:
                if keys.group.group not in self._closed:
                    self._provisioned[stem], self._renewed[stem] = (keys, day), day
        return len(wanted)

    def _day(self, number: int) -> _Day:
        today = self._today
        if today is None or today.number != number or today.terms.rulebook != self._vault.rulebook:
            with self._turning:
                today = self._today = self._turned(self._today, number)
        return today

    def _turned(self, today: _Day | None, number: int) -> _Day:
        if today is not None and today.terms.rulebook == self._vault.rulebook:
            terms = today.terms
        else:
            terms = terms_of(self._vault, self._ledger, "")
        if today is None or today.number != number:
            return _Day(number, terms, Sealer(self._vault.ring, terms))
        return today if terms is today.terms else _Day(number, terms, today.first.under(terms))
