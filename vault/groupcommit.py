"""Group commit: whoever comes while a commit runs shares the next one; an idle line waits for nobody.

    line = GroupCommit(commit, most=512)
    line.together(ticket)              # a thread: returns when the ticket's group is settled
    if line.put(ticket): pool(line.run)   # an event loop: the ticket's owner is told by ``commit`` itself

There is no timer. The first ticket on an idle line commits alone and at once; those that arrive meanwhile wait for
exactly one commit that is not theirs. Tickets keep the order in which they came.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class _Place(Generic[T]):
    """A ticket in the line; ``done`` once its group is settled."""

    __slots__ = ("done", "ticket")

    def __init__(self, ticket: T) -> None:
        self.ticket = ticket
        self.done = False


class GroupCommit(Generic[T]):
    """One line of tickets, committed by one thread at a time.

    Args:
        commit: settles a group of tickets, each with a result or an error; raises nothing. A ticket that it did not
            come to counts as failed, which is what a new ticket has to say of itself.
        most: tickets in a group at the most.
    """

    def __init__(self, commit: Callable[[list[T]], None], *, most: int) -> None:
        self._commit = commit
        self._most = most
        self._changed = threading.Condition()
        self._waiting: deque[_Place[T]] = deque()
        self._busy = False

    def __len__(self) -> int:
        """Tickets that wait for a group."""
        return len(self._waiting)

    def put(self, ticket: T) -> bool:
        """Line up. Returns whether the caller must see to it that some thread calls ``run``."""
        with self._changed:
            self._waiting.append(_Place(ticket))
            lead = not self._busy
            self._busy = True
            return lead

    def run(self) -> None:
        """Commit group after group until nobody waits."""
        while self._lead():
            pass

    def together(self, ticket: T) -> None:
        """Line up and wait until the ticket is settled. The calling thread leads where nobody does."""
        place = _Place(ticket)
        with self._changed:
            self._waiting.append(place)
            while self._busy and not place.done:
                self._changed.wait()
            if place.done:
                return
            self._busy = True
        while not place.done:
            self._lead()
        with self._changed:  # whoever waits next leads next: nobody serves others for ever
            self._busy = False
            self._changed.notify_all()

    def _lead(self) -> bool:
        """Commit one group. Returns False, and lets the lead go, where nobody waits."""
        with self._changed:
            group = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            if not group:
                self._busy = False
                self._changed.notify_all()
                return False
        try:
            self._commit([place.ticket for place in group])
        except BaseException:  # interrupted: the line must not stay taken, and a ticket says itself that it failed
            self._settled(group, busy=False)
            raise
        self._settled(group, busy=True)
        return True

    def _settled(self, group: list[_Place[T]], *, busy: bool) -> None:
        with self._changed:
            for place in group:
                place.done = True
            self._busy = busy
            self._changed.notify_all()
