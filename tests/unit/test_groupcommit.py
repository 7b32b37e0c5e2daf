"""Group commit: everybody is served once, in order, by whoever is there; nobody waits for a timer."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from vault.groupcommit import GroupCommit

SECONDS = 20  # until a test that hangs is called a failure


class Book:
    """Commits groups of numbers: remembers each, by which thread, and never two at a time."""

    def __init__(self, most: int = 512) -> None:
        self.groups: list[list[int]] = []
        self.threads: list[int] = []
        self.line: GroupCommit[int] = GroupCommit(self.commit, most=most)
        self._one = threading.Lock()
        self.gate: Callable[[], object] = lambda: None

    def commit(self, group: list[int]) -> None:
        assert self._one.acquire(blocking=False), "two threads commit at the same time"
        try:
            self.gate()
            self.groups.append(group)
            self.threads.append(threading.get_ident())
        finally:
            self._one.release()

    @property
    def told(self) -> list[int]:
        return [ticket for group in self.groups for ticket in group]


class Held(Book):
    """The first commit waits until the test lets it go on."""

    def __init__(self, most: int = 512) -> None:
        super().__init__(most)
        self.entered, self.go_on = threading.Event(), threading.Event()
        self.gate = self._wait

    def _wait(self) -> None:
        self.entered.set()
        assert self.go_on.wait(SECONDS)

    def await_line(self, count: int) -> None:
        """Wait until so many tickets stand behind the commit that is held."""
        with self.line._changed:
            pass
        deadline = threading.Event()
        for _ in range(SECONDS * 1000):
            if len(self.line) == count:
                return
            deadline.wait(0.001)
        raise AssertionError(f"{len(self.line)} wait, not {count}")


def test_an_idle_line_commits_at_once_and_alone() -> None:
    book = Book()
    book.line.together(1)
    assert book.groups == [[1]]
    assert book.threads == [threading.get_ident()]
    assert book.line.put(2), "nobody leads, so the caller must"
    assert book.groups == [[1]], "putting commits nothing"
    book.line.run()
    assert book.groups == [[1], [2]]
    assert book.line.put(3), "the lead was let go"


def test_those_who_come_meanwhile_share_one_commit_in_their_order() -> None:
    book = Held()
    with ThreadPoolExecutor(1) as pool:
        assert book.line.put(0)
        leading = pool.submit(book.line.run)
        assert book.entered.wait(SECONDS)
        assert [book.line.put(number) for number in range(1, 40)] == [False] * 39
        book.go_on.set()
        leading.result(SECONDS)
    assert book.groups == [[0], list(range(1, 40))]


def test_a_group_is_no_larger_than_it_may_be() -> None:
    book = Held(most=16)
    with ThreadPoolExecutor(1) as pool:
        assert book.line.put(0)
        leading = pool.submit(book.line.run)
        assert book.entered.wait(SECONDS)
        for number in range(1, 41):
            book.line.put(number)
        book.go_on.set()
        leading.result(SECONDS)
    assert [len(group) for group in book.groups] == [1, 16, 16, 8]
    assert book.told == list(range(41))


def test_a_leader_serves_others_only_as_long_as_it_waits_itself() -> None:
    book = Held(most=1)
    with ThreadPoolExecutor(3) as pool:
        first = pool.submit(book.line.together, 1)
        assert book.entered.wait(SECONDS)
        others: list[Future[None]] = []
        for number in (2, 3):
            others.append(pool.submit(book.line.together, number))
            book.await_line(number - 1)
        book.go_on.set()
        for one in (first, *others):
            one.result(SECONDS)
    assert book.told == [1, 2, 3]
    assert book.threads[0] not in book.threads[1:], "it went on for the others"


@pytest.mark.parametrize("most", [1, 3, 512])
def test_no_ticket_of_many_threads_is_lost_or_settled_twice(most: int) -> None:
    book, threads, each = Book(most), 24, 60
    seen: list[bool] = []

    def send(who: int) -> None:
        for number in range(each):
            ticket = who * each + number
            book.line.together(ticket)
            seen.append(True)  # it returned: the group was settled

    with ThreadPoolExecutor(threads) as pool:
        for sending in [pool.submit(send, who) for who in range(threads)]:
            sending.result(SECONDS)
    assert sorted(book.told) == list(range(threads * each))
    assert len(seen) == threads * each
    for who in range(threads):  # whoever sends one after the other is served in that order
        own = [ticket for ticket in book.told if ticket // each == who]
        assert own == sorted(own)
    assert max(len(group) for group in book.groups) <= most
    assert len(book.line) == 0


def test_whoever_returns_was_settled_before() -> None:
    settled: set[int] = set()
    line: GroupCommit[int] = GroupCommit(settled.update, most=4)

    def send(number: int) -> bool:
        line.together(number)
        return number in settled

    with ThreadPoolExecutor(16) as pool:
        assert all(pool.map(send, range(500), timeout=SECONDS))


def test_no_ticket_put_from_many_threads_is_lost() -> None:
    """As an event loop does it, only worse: whoever is told to lead hands the line to a pool."""
    book = Book(most=8)
    with ThreadPoolExecutor(4) as leaders, ThreadPoolExecutor(8) as senders:
        leading: list[Future[None]] = []

        def send(number: int) -> None:
            if book.line.put(number):
                leading.append(leaders.submit(book.line.run))

        list(senders.map(send, range(2000), timeout=SECONDS))
        for one in leading:
            one.result(SECONDS)
    assert sorted(book.told) == list(range(2000))


class Broken(Exception):
    pass


def test_a_commit_that_breaks_does_not_keep_the_line() -> None:
    """It should not raise; where it does, its group hears nothing good and the others are served."""

    def commit(group: list[int]) -> None:
        if 1 in group:
            raise Broken
        told.extend(group)

    told: list[int] = []
    line: GroupCommit[int] = GroupCommit(commit, most=1)
    with pytest.raises(Broken):
        line.together(1)
    other = threading.Thread(target=line.together, args=(2,), daemon=True)
    other.start()
    other.join(SECONDS)
    assert not other.is_alive(), "the line stayed taken"
    assert line.put(1)
    assert not line.put(3)
    with pytest.raises(Broken):
        line.run()
    assert line.put(4), "the lead was let go"
    line.run()
    assert told == [2, 3, 4]
