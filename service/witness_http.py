"""How checkpoints travel to witnesses and authorities: HTTP without redirects, with an end to size and time."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Final

import httpx

from vault.witnessing import Answer, Post, Unreachable

TIMEOUT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 256 * 1024
_HEADERS: Final = {"User-Agent": "reasonvault", "Accept-Encoding": "identity"}  # what is packed hides its size


@contextmanager
def opened(timeout: float = TIMEOUT_SECONDS) -> Iterator[Post]:
    """Yield what posts. Each answer has a connection of its own, so that one can be cut off.

    Args:
        timeout: seconds that an answer may take, from the first byte out to the last one in.
    """
    alone = httpx.Limits(max_keepalive_connections=0)
    with httpx.Client(timeout=timeout, follow_redirects=False, headers=_HEADERS, limits=alone) as client:

        def post(url: str, content_type: str, body: bytes) -> Answer:
            told = {"Content-Type": content_type}
            with _Deadline(timeout) as deadline:
                try:
                    watch = {"trace": deadline.watch}
                    with client.stream("POST", url, content=body, headers=told, extensions=watch) as answer:
                        read = b"".join(_bounded(answer))
                    # A connection that was cut off may look like an answer that ends there.
                    if not deadline.over:
                        return Answer(answer.status_code, answer.headers.get("Content-Type", ""), read)
                except httpx.TimeoutException:
                    pass
                except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                    if not deadline.over:
                        raise Unreachable("unreachable", f"cannot be reached ({type(error).__name__})") from None
            raise Unreachable("timeout", f"no answer within {timeout:g} seconds")

        yield post


class _Deadline:
    """Cuts a connection off when its time is over.

    A library's timeout is for each read: one byte at a time, or one interim answer after the other, would never end,
    and everybody who is asked after this one would wait.
    """

    def __init__(self, seconds: float) -> None:
        self.over = False
        self._socket: socket.socket | None = None
        self._lock = threading.Lock()
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> _Deadline:
        self._timer.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._timer.cancel()

    def watch(self, name: str, told: Mapping[str, Any]) -> None:
        """Take note of the connection; the client calls this at each of its steps."""
        if name.endswith((".connect_tcp.complete", ".start_tls.complete")):
            with self._lock:
                self._socket = told["return_value"].get_extra_info("socket")
            if self.over:
                self._end()

    def _end(self) -> None:
        with self._lock:
            self.over = True
            if self._socket is not None:
                with suppress(OSError):  # it ended by itself
                    # Of the plain socket below TLS: the other one belongs to whoever reads from it.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


def _bounded(answer: httpx.Response) -> Iterator[bytes]:
    size = 0
    for part in answer.iter_raw():
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise Unreachable("too_long", f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        yield part
