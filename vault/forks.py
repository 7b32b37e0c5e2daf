"""Forked workers: processes that inherit the opened keys, and end when their parent does.

Forked, not spawned: no key is ever pickled or put on a command line.

    with pool(2, begin, what) as workers:
        future = workers.submit(work, item)

In a worker ``begin(*what)`` runs first. What it is given is not pickled either. A worker that needs the database makes
its own connection: ``engine.dispose(close=False)`` leaves those of its parent alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from vault.core.errors import Unavailable

R = TypeVar("R")


@contextlib.contextmanager
def pool(processes: int, begin: Callable[..., None], what: tuple[Any, ...]) -> Iterator[ProcessPoolExecutor]:
    """Yield workers, all of them forked by now."""
    fork = multiprocessing.get_context("fork")
    with lifeline() as ends, ProcessPoolExecutor(processes, fork, _begin, (ends, begin, what)) as workers:
        try:
            result(workers.submit(_nothing))
            yield workers
        finally:
            workers.shutdown(cancel_futures=True)


def result(future: Future[R]) -> R:
    """Return what a worker made, or raise what it raised.

    Raises:
        Unavailable: the worker died.
    """
    try:
        return future.result()
    except BrokenProcessPool:
        raise Unavailable("a worker process died: run the same command again") from None


@contextlib.contextmanager
def lifeline() -> Iterator[tuple[int, int]]:
    """Yield a pipe whose writing end only this process keeps: it closes when this process ends, however that is."""
    ends = os.pipe()
    try:
        yield ends
    finally:
        for end in ends:
            os.close(end)


def end_with_parent(reading: int, writing: int) -> None:
    """In a worker: a parent that was killed must not leave processes behind that hold its opened keys."""
    os.close(writing)

    def wait() -> None:
        os.read(reading, 1)
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _begin(ends: tuple[int, int], begin: Callable[..., None], what: tuple[Any, ...]) -> None:
    end_with_parent(*ends)
    begin(*what)


def _nothing() -> None:
    return None
