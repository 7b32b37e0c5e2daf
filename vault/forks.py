"""Forked workers: processes that inherit the opened keys, and end when their parent does.

Forked, not spawned: no key is ever pickled or put on a command line.

    for made in each(job, items, processes=2): ...

The job is inherited too; only items and what is made of them are pickled. A worker that needs the database makes its
own connection: ``engine.dispose(close=False)`` in ``Job.after_fork`` leaves those of its parent alone.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Final, Protocol, TypeVar

from vault.core.errors import Unavailable

Given = TypeVar("Given")
R = TypeVar("R")
Given_contra = TypeVar("Given_contra", contravariant=True)
R_co = TypeVar("R_co", covariant=True)

_GIVE_WAY: Final = 10
"""Niceness: this work is never urgent, and records that come in meanwhile share its processors."""


class Job(Protocol[Given_contra, R_co]):
    """What workers do with each item."""

    def after_fork(self) -> None:
        """In a worker, before the first item: leave what belongs to the parent alone."""

    def __call__(self, item: Given_contra, /) -> R_co:
        """Return what becomes of one item; something that can be pickled."""
        ...


def each(job: Job[Given, R], items: Iterable[Given], *, processes: int) -> Iterator[R]:
    """Yield what a job makes of each item, in order; ``processes`` below 2 works in this process.

    Raises:
        Unavailable: a worker died.
        Whatever the job raises.
    """
    if processes < 2:
        yield from map(job, items)
        return
    waiting: deque[Future[R]] = deque()
    with pool(processes, _take_on, (job,)) as workers:
        for item in items:
            waiting.append(workers.submit(_work, item))
            if len(waiting) > processes + 1:  # one beyond the busy workers keeps them busy
                yield result(waiting.popleft())
        while waiting:
            yield result(waiting.popleft())


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


_job: Job[Any, Any] | None = None


def _take_on(job: Job[Any, Any]) -> None:
    global _job
    os.nice(_GIVE_WAY)
    job.after_fork()
    _job = job


def _work(item: Any) -> Any:
    assert _job is not None
    return _job(item)


def _begin(ends: tuple[int, int], begin: Callable[..., None], what: tuple[Any, ...]) -> None:
    end_with_parent(*ends)
    begin(*what)


def _nothing() -> None:
    return None
