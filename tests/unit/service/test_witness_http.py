"""Answers that never end: each is cut off, whatever it is that does not end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from service import witness_http
from vault.witnessing import Answer, Unreachable

Write = Callable[[bytes], None]
STEPS = 30
"""Of a tenth of a second: without an end to the whole, an answer comes after three seconds."""


@contextmanager
def answering(answer: Callable[[Write], None]) -> Iterator[str]:
    """Take one connection, and have it answered a step at a time."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.recv(65_536)

                    def write(data: bytes) -> None:
                        connection.sendall(data)
                        over.wait(0.1)

                    answer(write)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/x"
        over.set()
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def head(write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\nX: ")
    for _ in range(STEPS):
        write(b"x")
    write(b"\r\nContent-Length: 0\r\n\r\n")


def interim(write: Write) -> None:
    for _ in range(STEPS):
        write(b"HTTP/1.1 102 Processing\r\n\r\n")
    write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def body(write: Write) -> None:
    write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % STEPS)
    for _ in range(STEPS):
        write(b"x")


def body_to_the_end(write: Write) -> None:
    """Where the connection's end is the answer's, one that was cut off looks whole."""
    write(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(STEPS):
        write(b"x")


@pytest.mark.parametrize("never", [head, interim, body, body_to_the_end])
def test_an_answer_that_never_ends_is_cut_off(never: Callable[[Write], None]) -> None:
    with answering(never) as url, witness_http.opened(0.3) as post:
        with pytest.raises(Unreachable, match=r"no answer within 0\.3 seconds") as caught:
            post(url, "text/plain", b"x")
        assert caught.value.code == "timeout"


def test_an_answer_in_time_is_read_whole() -> None:
    def answer(write: Write) -> None:
        write(b"HTTP/1.1 102 Processing\r\n\r\n")
        write(b"HTTP/1.1 409 Conflict\r\nContent-Type: text/x.tlog.size\r\nContent-Length: 2\r\n\r\n5")
        write(b"\n")

    with answering(answer) as url, witness_http.opened() as post:
        assert post(url, "text/plain", b"x") == Answer(409, "text/x.tlog.size", b"5\n")
