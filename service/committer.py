"""The committer: a process beside each worker that seals and settles its groups; the worker speaks HTTP.

    worker: HTTP, who asks, grants, reading             committer: parse, guard, seal, link, commit, spell receipts
        Lanes.settle(ledger, group)  ---- pipe ---->        Settlement.settle(group)
                                     <--- answers --

One interpreter cannot do both at speed: a commit waits some twenty times, for the database and for the disk, and each
wait hands the interpreter to another thread and asks for it back. In one process, commits beside other work took four
times as long as alone.

The committer is forked before the worker starts a thread. It opens the vault for itself; only records and receipts pass
between the two, never a key. It ends when its worker does, however that is, and not before: signals
that are meant to stop the service do not stop a commit. Where it dies, what it had at hand is an unknown outcome, which
a retry settles, and the worker stops and is replaced, whether or not there was anything at hand.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Final
from uuid import UUID

import structlog

from service.wiring import open_for_service
from vault import events, ledgers
from vault.core.errors import Missing, UnknownOutcome, VaultError
from vault.recordline import Settle
from vault.sealers import Sealers
from vault.settlement import Entry, Settled, Settlement

LANES: Final = 4
"""Groups that one committer settles at a time, each of another ledger."""
_AHEAD_SECONDS: Final = 60.0
_log = structlog.get_logger()


class Lanes:
    """The worker's end.

    Args:
        pipes: one a lane.
        committer: the process at the other end, a child of this one.
        broken: called in a thread, once, when the committer is gone, unless these lanes were closed before.
    """

    def __init__(self, pipes: Sequence[Connection], committer: int, broken: Callable[[], None]) -> None:
        self._lanes = [(pipe, threading.Lock()) for pipe in pipes]
        self._closed = False
        # Not left to whoever finds a pipe broken: under load that is many at once, and on an idle worker nobody.
        threading.Thread(target=self._watch, args=(committer, broken), name="committer", daemon=True).start()

    def _watch(self, committer: int, broken: Callable[[], None]) -> None:
        os.waitpid(committer, 0)
        if not self._closed:
            _log.error("the committer is gone; the worker ends")
            broken()

    def settling(self, ledger: UUID) -> Settle:
        """Return what settles groups of a ledger over there. Its lane is always the same, so its groups keep order."""
        pipe, lock = self._lanes[ledger.int % len(self._lanes)]

        def settle(group: Sequence[Entry]) -> Iterator[Settled]:
            with lock:
                ended = False
                try:
                    pipe.send_bytes(pickle.dumps((ledger, list(group)), pickle.HIGHEST_PROTOCOL))
                    try:
                        while (part := pickle.loads(pipe.recv_bytes())) is not None:  # noqa: S301 - a process of ours
                            yield part
                        ended = True
                    finally:
                        while not ended:  # whoever stops listening must not leave answers to the next group
                            ended = pickle.loads(pipe.recv_bytes()) is None  # noqa: S301
                except (OSError, EOFError):
                    words = "the process that commits is gone; a retry with the same ids settles it"
                    raise UnknownOutcome(words) from None

        return settle

    def close(self) -> None:
        """Let the committer go: it ends what it has at hand."""
        self._closed = True
        for pipe, _ in self._lanes:
            pipe.close()


def start(home: Path, passphrase: bytes, broken: Callable[[], None]) -> Lanes:
    """Fork a committer for this process, which must have no threads yet.

    Args:
        broken: see ``Lanes``.
    """
    here, there = zip(*(multiprocessing.Pipe() for _ in range(LANES)), strict=True)
    committer = os.fork()
    if committer == 0:
        for pipe in here:
            pipe.close()
        os._exit(_commit(home, passphrase, there))
    for pipe in there:
        pipe.close()
    return Lanes(here, committer, broken)


def _commit(home: Path, passphrase: bytes, pipes: Sequence[Connection]) -> int:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    try:
        with open_for_service(home, passphrase, connections=LANES + 1) as opened:
            vault = opened.writing
            vault.register.standing()  # the first look may take a while: not on a record's time
            settlements: dict[UUID, Settlement] = {}
            writers: dict[UUID, Sealers] = {}

            def serve(pipe: Connection) -> None:
                with suppress(OSError, EOFError):  # the worker is gone: there is nobody to answer
                    while True:
                        ledger, group = pickle.loads(pipe.recv_bytes())  # noqa: S301 - of a process of ours
                        for part in _settle(ledger, group):
                            pipe.send_bytes(_spelled(part))
                        pipe.send_bytes(_spelled(None))

            def _settle(ledger: UUID, group: Sequence[Entry]) -> Iterator[Settled]:
                try:
                    settlement = settlements.get(ledger)
                    if settlement is None:
                        found = next((one for one in ledgers.listing(vault) if one.id == ledger), None)
                        if found is None:
                            raise Missing("the ledger is gone from the database", str(ledger))
                        writers[ledger] = Sealers(vault, found)
                        settlement = settlements[ledger] = Settlement(vault, found, writers[ledger])
                    yield from settlement.settle(group)
                except Exception as error:
                    yield dict.fromkeys(range(len(group)), error)

            def look_ahead() -> None:
                while not ended.wait(_AHEAD_SECONDS):
                    with suppress(VaultError):  # it is tried again, and whoever cannot do without says so
                        for sealers in list(writers.values()):
                            sealers.provide_ahead()
                        events.provide_ahead(vault)

            ended = threading.Event()
            ahead = threading.Thread(target=look_ahead, daemon=True)  # nobody waits for a provider that hangs
            ahead.start()
            threads = [threading.Thread(target=serve, args=(pipe,)) for pipe in pipes]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            ended.set()
    except Exception as error:
        _log.error("the committer cannot work", error=error)
        return 1
    return 0


def _spelled(part: Settled | None) -> bytes:
    try:
        return pickle.dumps(part, pickle.HIGHEST_PROTOCOL)
    except Exception:  # an error that cannot be sent: nobody knows over there what it was
        return pickle.dumps(dict.fromkeys(part or (), UnknownOutcome("the commit failed in an unforeseen way")))
