"""producer_seq: one gap-free stream of numbers for all processes that share a counter file.

Spooled records get theirs in the spool's commit, so number and record are durable together or not at all. A ``sync``
record gets its number before it is sent; if it then never arrives, the gap that the vault sees is true: a decision was
made, and its log is missing. An id that comes again in this process, after an error or by repetition, keeps its
number, so that the same record is the same bytes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from reasonvault_client.counter import Counter, Held, State
from reasonvault_client.encoding import Body

REMEMBERED = 10_000


class Numbers:
    """The numbers of one producer.

    Args:
        counter: where they are counted; None where records are not numbered.
        settle: mends the counter's state where a crash left it in doubt.
    """

    def __init__(self, counter: Counter | None, settle: Callable[[Held], State] | None = None) -> None:
        self.counter = counter
        self._settle = settle or (lambda held: held.state)
        self._mutex = threading.Lock()
        self._known: OrderedDict[str, int] = OrderedDict()

    def recall(self, body: Body) -> Body:
        """Return the body with the number that its id has already, where it has one."""
        if not body.wants_number or body.record_id is None:
            return body
        with self._mutex:
            known = self._known.get(body.record_id)
        return body if known is None else Body(body.numbered(known), record_id=body.record_id)

    def remember(self, body: Body, producer_seq: int | None) -> None:
        """Keep the number that a record's id was given."""
        if producer_seq is None or body.record_id is None:
            return
        with self._mutex:
            self._known[body.record_id] = producer_seq
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)

    def give(self, body: Body) -> bytes:
        """Return the bytes to send at once, with the next number where they want one; it is on disk by then.

        Raises:
            SpoolBroken: the counter cannot be read or written.
        """
        body = self.recall(body)
        if not body.wants_number or self.counter is None:
            return body.data
        with self.counter.locked() as held:
            state = self._settle(held)
            number = state.producer_seq + 1
            held.store(state._replace(producer_seq=number, dirty=False), synced=True)
        self.remember(body, number)
        return body.numbered(number)

    def after_fork_in_child(self) -> None:
        """Forget the parent's threads; what ids have which numbers stays true."""
        self._mutex = threading.Lock()
