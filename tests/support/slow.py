"""Clients that behave badly, on raw sockets: they send parts, wait, break off, do not read, and spell things wrong.

with Wire(service.url) as wire:
    wire.begin("POST", "/v1/ledgers/cn/records", **bearer(key), **{"Content-Length": "1000"})
    wire.send(b"only a part")
    answer = wire.answer()              None where the server closed the connection without a word
"""

from __future__ import annotations

import http.client
import select
import socket
import threading
import zlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import msgspec
import zstandard

_PATIENCE = 60


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes = field(repr=False)

    def problem(self) -> dict[str, Any]:
        """Return the body, which must be a problem."""
        assert self.headers.get("content-type") == "application/problem+json", (self.status, self.headers, self.body)
        found: dict[str, Any] = msgspec.json.decode(self.body)
        assert found["status"] == self.status
        assert found["request_id"] == self.headers["x-request-id"]
        return found


class Wire:
    """One connection.

    Args:
        buffer: bytes that the kernel keeps for whoever does not read, at the most; None leaves that to the kernel.
    """

    def __init__(self, url: str, *, buffer: int | None = None) -> None:
        place = urlsplit(url)
        self._host = place.netloc
        self._socket = socket.socket()
        self._socket.settimeout(_PATIENCE)
        if buffer is not None:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self._sending: threading.Thread | None = None
        self._socket.connect((place.hostname, place.port))

    def begin(self, method: str, path: str, **headers: str) -> None:
        """Send a request's head."""
        lines = [
            f"{method} {path} HTTP/1.1",
            f"Host: {self._host}",
            *(f"{key}: {value}" for key, value in headers.items()),
        ]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        """Send bytes; one who is not listened to any more is not told."""
        with suppress(OSError):
            self._socket.sendall(data)

    def send_meanwhile(self, data: bytes) -> None:
        """Send bytes from a thread, however long it takes, until ``close``."""
        self._sending = threading.Thread(target=self.send, args=(data,))
        self._sending.start()

    def drip(self, data: bytes, pause: float) -> None:
        """Send byte after byte with a pause between them, until all are sent or the server has answered."""
        for at in range(len(data)):
            self.send(data[at : at + 1])
            if select.select([self._socket], [], [], pause)[0]:
                return

    def chunk(self, data: bytes) -> None:
        """Send a part of a chunked body; an empty one ends it."""
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def answer(self) -> Answer | None:
        """Read one answer, however it is delimited; None where there is none."""
        reader = http.client.HTTPResponse(self._socket)
        try:
            reader.begin()
            body = reader.read()
        except (ConnectionResetError, http.client.BadStatusLine, http.client.IncompleteRead):
            return None
        finally:
            reader.close()
        return Answer(reader.status, {key.lower(): value for key, value in reader.getheaders()}, body)

    def reader(self) -> http.client.HTTPResponse:
        """Read an answer's head, and return what reads its body."""
        reader = http.client.HTTPResponse(self._socket)
        reader.begin()
        return reader

    def is_closed(self) -> bool:
        """Wait until the server closes the connection, and say whether it did so without a word."""
        try:
            return self._socket.recv(1) == b""
        except ConnectionResetError:
            return True

    def close(self) -> None:
        """Go away."""
        if self._sending is not None:
            with suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._sending.join()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def gzipped(part: bytes, times: int) -> bytes:
    """Return a part, so many times, as gzip."""
    squeeze = zlib.compressobj(1, wbits=31)
    return b"".join(squeeze.compress(part) for _ in range(times)) + squeeze.flush()


def zstandarded(part: bytes, times: int) -> bytes:
    """Return a part, so many times, as one zstd frame."""
    squeeze = zstandard.ZstdCompressor(level=1).compressobj()
    return b"".join(squeeze.compress(part) for _ in range(times)) + squeeze.flush()


@dataclass(frozen=True)
class Footprint:
    """The memory of a process, in bytes, from now on."""

    pid: int
    before: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins here
        return cls(pid, _status(pid, "VmRSS"))

    def grown(self) -> int:
        """Return by how much more than at first it held at its peak."""
        return _status(self.pid, "VmHWM") - self.before


def _status(pid: int, name: str) -> int:
    fields: Iterator[list[str]] = (line.split() for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return next(int(one[1]) << 10 for one in fields if one[0] == f"{name}:")
