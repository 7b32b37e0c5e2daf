"""Moving: survivors leave a group that is about to die, by a new wrapping of their record keys.

    generations.close(vault, ledger, ["2029-01.0"])
    moved = move(vault, ledger, ["2029-01.0"], target_of, reason=disposal)   # target_of(opened) -> "2031-06", or None

    1. survey the groups: every entry in them is opened and held against its leaf, and ``target_of`` says for which stem
       it leaves, or that it stays behind. One that does not open stops here
    2. commit ``keys.moved`` for each pair of groups, with the positions that are about to go
    3. a batch at a time: open again, wrap the key under the target's epoch, make its blind indexes; write that to the
       journal and to the disk; then exchange the rows, each only while it is what was seen, and only while the target
       is live and the source is closing
    4. see that exactly those are left behind that were to stay

Envelope, facets and leaf never change. Interrupted anywhere, the same call moves what is left: an event may then tell
of a move that did not happen, never the other way round, so nobody who asks which keys ever wrapped a record is told
too little (vault.core.chain).
"""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from uuid import UUID

from sqlalchemy import Connection

from vault import events, forks, generations, journal, selections
from vault.context import Vault
from vault.core.errors import Forked, Unavailable, UsageError
from vault.core.selection import Selection
from vault.db import moving
from vault.db.engine import transact
from vault.db.moving import Place, Step
from vault.events import Event
from vault.journal import Journal
from vault.keys.ring import GroupKeys
from vault.provision import Provisioner
from vault.sealing import blind_tags
from vault.surveying import SMALL, Opened, Progress, Reader, nothing_to_tell, survey

BATCH: Final = 2000
_NO_TAGS: Final = (None, None, None)


@dataclass(frozen=True, slots=True)
class Moved:
    """Records that went from one group to another. ``selection`` is the digest that the event carries."""

    source: str
    target: str
    selection: str
    count: int


def move(
    vault: Vault,
    ledger: UUID,
    sources: Sequence[str],
    target_of: Callable[[Opened], str | None],
    *,
    reason: str,
    processes: int = 2,
    progress: Progress = nothing_to_tell,
) -> list[Moved]:
    """Move every entry of closed groups for which ``target_of`` names a stem; None leaves it behind.

    Args:
        target_of: runs in forked workers where there are many entries; see vault.surveying.
        reason: what they move for, a disposal's id or another, as the event says in ``for``.
        progress: told of both passes: of twice as many entries as there are.

    Raises:
        UsageError: a group is not closing.
        Modified, Missing, KeyGone: an entry does not open; the error names it.
        Forked: a row changed while it was moved.
        Unavailable: the journal, the database or the provider cannot be written or reached, or somebody else moves
            keys of this ledger. Run again, the call goes on.
    """

    def surveyed() -> Iterator[tuple[int, str, str | None]]:
        return survey(
            vault, ledger, sources, target_of, processes=processes, progress=lambda at, of: progress(at, 2 * of)
        )

    return _move(vault, ledger, sources, surveyed, reason, processes, progress)


def move_surveyed(
    vault: Vault,
    ledger: UUID,
    sources: Sequence[str],
    surveyed: Iterable[tuple[int, str, str | None]],
    *,
    reason: str,
    processes: int = 2,
    progress: Progress = nothing_to_tell,
) -> list[Moved]:
    """Move what a survey of these groups, made since they were closed, found to leave; raises as ``move`` does.

    Args:
        surveyed: (position, group it is in, stem or None) of every entry in them, ascending.

    Raises:
        Forked: other entries are in the groups than were surveyed; those that left them are where they belong.
    """
    return _move(vault, ledger, sources, lambda: surveyed, reason, processes, progress)


def _move(
    vault: Vault,
    ledger: UUID,
    sources: Sequence[str],
    surveyed: Callable[[], Iterable[tuple[int, str, str | None]]],
    reason: str,
    processes: int,
    progress: Progress,
) -> list[Moved]:
    names = sorted(set(sources))
    with journal.held(vault.rewraps, ledger) as log:
        transact(vault.engine, lambda connection: _require_closing(connection, ledger, names))
        plan = _Plan()
        for seq, group, stem in surveyed():
            plan.add(seq, group, stem)
        if not plan.leaving:
            return []
        targets = _targets(vault, ledger, plan.stems)
        announced = _announce(vault, ledger, plan, targets, reason)
        _carry(vault, ledger, names, plan, targets, log, processes, progress)
        _require_left(vault, ledger, names, plan.staying)
    return announced


class _Plan:
    """What the survey said: who leaves for which stem, and who stays. Some ten bytes an entry."""

    def __init__(self) -> None:
        self.stems: list[str] = []
        self.leaving: array[int] = array("q")
        self.places: array[int] = array("i")  # aligned with ``leaving``: positions in ``stems``
        self.staying: array[int] = array("q")
        self.pairs: dict[tuple[str, str], array[int]] = defaultdict(lambda: array("q"))

    def add(self, seq: int, group: str, stem: str | None) -> None:
        if stem is None:
            self.staying.append(seq)
            return
        if stem not in self.stems:
            self.stems.append(stem)
        self.leaving.append(seq)
        self.places.append(self.stems.index(stem))
        self.pairs[group, stem].append(seq)


def _require_closing(connection: Connection, ledger: UUID, names: Sequence[str]) -> None:
    states = generations.states(connection, ledger)
    for name in names:
        if states.get(name) != "closing":
            raise UsageError(f"group {name} is {states.get(name, 'not there')}: only a closed one can be moved out of")


def _targets(vault: Vault, ledger: UUID, stems: Sequence[str]) -> dict[str, GroupKeys]:
    provisioner = Provisioner(vault, ledger, events.key_created(vault))
    now = vault.clock()
    return {stem: provisioner.provide([stem], now)[0] for stem in stems}


def _announce(vault: Vault, ledger: UUID, plan: _Plan, targets: Mapping[str, GroupKeys], reason: str) -> list[Moved]:
    """Step 2."""
    moved = []
    for (source, stem), seqs in sorted(plan.pairs.items()):
        digest = selections.keep(vault, ledger, Selection.of(seqs))
        moved.append(Moved(source, targets[stem].group.group, digest, len(seqs)))
    told = [
        Event(
            "keys.moved",
            {
                "ledger": str(ledger),
                "from": one.source,
                "to": one.target,
                "selection": one.selection,
                "count": one.count,
                "for": reason,
            },
        )
        for one in moved
    ]
    events.record_all(vault, told)
    return moved


def _carry(
    vault: Vault,
    ledger: UUID,
    names: Sequence[str],
    plan: _Plan,
    targets: Mapping[str, GroupKeys],
    log: Journal,
    processes: int,
    progress: Progress,
) -> None:
    """Step 3."""
    keys = [targets[stem] for stem in plan.stems]
    wrapping = _Wrapping(vault, Reader(vault, ledger, names), keys)
    groups, epochs = [one.group for one in keys], [one.epoch for one in keys]
    live = {one.group for one in groups}
    size = len(plan.leaving)
    done = len(plan.staying) + size
    total = 2 * done - len(plan.staying)

    def batches() -> Iterator[tuple[array[int], array[int]]]:
        for start in range(0, size, BATCH):
            yield plan.leaving[start : start + BATCH], plan.places[start : start + BATCH]

    def exchange(connection: Connection, steps: Sequence[Step]) -> None:
        states = moving.states_for_share(connection, ledger, [*live, *names])
        if any(states[name] != "live" for name in live) or any(states[name] != "closing" for name in names):
            raise Unavailable("a group changed its state while keys were moved: run the same command again")
        if moving.move(connection, ledger, steps) != len(steps):
            raise Forked("a row changed while its key was moved: nothing is destroyed", str(ledger), steps[0].place.seq)

    for steps in forks.each(wrapping, batches(), processes=processes if size >= SMALL else 1):
        log.append(groups, epochs, [step.place for step in steps])
        transact(vault.engine, lambda connection, steps=steps: exchange(connection, steps))  # type: ignore[misc]
        done += len(steps)
        progress(done, total)


class _Wrapping:
    """Opens a batch again and wraps its keys for their targets."""

    def __init__(self, vault: Vault, reader: Reader, targets: Sequence[GroupKeys]) -> None:
        self._ring = vault.ring
        self._reader = reader
        self._targets = [(one.epoch, vault.ring.open_index_key(one.group)) for one in targets]
        self.after_fork = reader.after_fork

    def __call__(self, batch: tuple[array[int], array[int]]) -> list[Step]:
        steps = []
        for (opened, row), place in zip(self._reader.read(batch[0]), batch[1], strict=True):
            epoch, index_key = self._targets[place]
            wrapped = self._ring.wrap_record_key(epoch, *self._reader.record_key(opened.leaf, row))
            tags = _NO_TAGS if opened.record is None else blind_tags(index_key, opened.record)
            steps.append(Step(row.epoch_id, row.wrapped_key, Place(opened.seq, epoch.epoch_id, wrapped, *tags)))
        return steps


def _require_left(vault: Vault, ledger: UUID, names: Sequence[str], staying: array[int]) -> None:
    """Step 4."""
    left = transact(vault.engine, lambda connection: moving.seqs_in(connection, ledger, names))
    if left != staying:
        raise Forked("other entries are left in the groups than were to stay: nothing is destroyed", str(ledger))
