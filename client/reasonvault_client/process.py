"""Fork, exit and SIGTERM, for all clients of a process.

Fork: before it, every spool finishes the group that it is writing; after it, the child's clients start anew. Exit:
clients that are still open are flushed. SIGTERM: only when a client asks for it, in front of whoever handled it so far.
"""

from __future__ import annotations

import atexit
import os
import signal
import threading
import weakref
from types import FrameType
from typing import Any, Protocol

from reasonvault_client import delivery
from reasonvault_client.config import Settings
from reasonvault_client.errors import Misconfigured


class Forkable(Protocol):
    """What this module needs of a client."""

    settings: Settings

    def before_fork(self) -> None: ...
    def after_fork_in_parent(self) -> None: ...
    def after_fork_in_child(self) -> None: ...
    def flush(self, timeout: float) -> None: ...
    def close(self, timeout: float | None = None) -> None: ...


_clients: weakref.WeakSet[Any] = weakref.WeakSet()
_one_fork = threading.Lock()
_forking: list[Forkable] = []
_kept: list[object] = []
_handling: bool = False


def register(client: Forkable) -> None:
    """Look after a client from now on."""
    _clients.add(client)


def forget(client: Forkable) -> None:
    """Look after a client no more."""
    _clients.discard(client)


def keep_for_ever(thing: object) -> None:
    """Keep a child's copy of its parent's connections from being closed: TLS would say goodbye on them."""
    _kept.append(thing)


def flush_on_sigterm() -> None:
    """Flush all clients when SIGTERM comes, then let the handler before have it; the main thread calls this.

    Raises:
        Misconfigured: another thread called.
    """
    global _handling
    if _handling:
        return
    if threading.current_thread() is not threading.main_thread():
        raise Misconfigured("handle_sigterm: only the main thread may take signals")
    before = signal.getsignal(signal.SIGTERM)

    def handle(number: int, frame: FrameType | None) -> None:
        # The interrupted code may hold any lock, so another thread flushes, and is not waited for without end.
        clients: list[Forkable] = list(_clients)
        longest = max((client.settings.flush_timeout for client in clients), default=0.0)
        flushing = threading.Thread(target=_flush, args=(clients,), name="reasonvault-client-flush", daemon=True)
        flushing.start()
        flushing.join(2 * longest + 1.0)
        if callable(before):
            before(number, frame)
        elif before != signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    signal.signal(signal.SIGTERM, handle)
    _handling = True


def _flush(clients: list[Forkable]) -> None:
    for client in clients:
        client.flush(client.settings.flush_timeout)


def _before_fork() -> None:
    _one_fork.acquire()
    _forking[:] = list(_clients)
    for client in _forking:
        client.before_fork()
    delivery.before_fork()


def _after_fork_in_parent() -> None:
    delivery.after_fork_in_parent()
    for client in _forking:
        client.after_fork_in_parent()
    _forking.clear()
    _one_fork.release()


def _after_fork_in_child() -> None:
    global _one_fork
    _one_fork = threading.Lock()
    delivery.after_fork_in_child()
    for client in _forking:
        client.after_fork_in_child()
    _forking.clear()


def _at_exit() -> None:
    for client in list(_clients):
        client.close()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
atexit.register(_at_exit)
