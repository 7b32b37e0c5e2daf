"""Requests: what goes over the wire, and what comes back. `reasonvault_client.answers` says what it means.

Redirects are not followed: they would carry the key to wherever an answer points.
"""

from __future__ import annotations

import gzip
import random
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import httpx

from reasonvault_client.answers import BatchLine, error_of, read_line, read_problem
from reasonvault_client.backoff import parse_retry_after
from reasonvault_client.config import Settings
from reasonvault_client.errors import ClientError, Refused, Unavailable

MAX_ANSWER = 4 * 1024 * 1024
"""Bytes of an answer, or of one line of it, at most."""

_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
JSON = {"Content-Type": "application/json"}


class Transport:
    """The vault over HTTP, from one process; a forked child makes its own."""

    def __init__(self, settings: Settings, longest: float | None = None) -> None:
        """Args: ``longest``: seconds that anything takes at most, where settings allow more."""
        self.settings = settings
        self._compress = settings.compress
        self._longest = longest
        self._making = threading.Lock()
        self._made: httpx.Client | None = None

    def describe(self, longest: float | None = None) -> bytes:
        """Return what the vault says about the ledger; ``longest`` as in ``send``."""
        return self._exchange("GET", self.settings.ledger_url, None, longest)

    def send(self, record: bytes, longest: float | None = None) -> bytes:
        """Send one record and return its receipt, not yet checked.

        Args:
            record: its bytes.
            longest: seconds that connecting, sending or waiting may take at most, where settings allow more.

        Raises:
            ClientError: as `answers.error_of`; Unavailable where there was no answer.
        """
        return self._exchange("POST", self.settings.records_url, record, longest)

    def send_batch(self, records: Sequence[bytes]) -> Iterator[BatchLine]:
        """Send records, none of which has a line break, and yield the answers as they come.

        Raises:
            ClientError: the batch as a whole was refused (nothing was yielded), or the answer broke off.
        """
        body = b"\n".join(records) + b"\n"
        try:
            yield from self._batch(body)
        except Refused as error:
            if error.status != 415 or not self._compress:
                raise
            self._compress = False
            yield from self._batch(body)

    def close(self) -> None:
        """Give back the connections."""
        if self._made is not None:
            self._made.close()

    @property
    def _client(self) -> httpx.Client:
        """Made when first used: reading the system's certificates takes longer than a fork should."""
        with self._making:
            if self._made is None:
                settings = self.settings
                self._made = httpx.Client(
                    headers=headers_for(settings),
                    timeout=timeouts(settings, self._longest),
                    verify=verify(settings),
                )
            return self._made

    def _batch(self, body: bytes) -> Iterator[BatchLine]:
        headers = {"Content-Type": "application/x-ndjson", "Accept": "application/x-ndjson, application/problem+json"}
        if self._compress:
            body, headers["Content-Encoding"] = gzip.compress(body, 3, mtime=0), "gzip"
        try:
            with self._client.stream("POST", self.settings.batch_url, content=body, headers=headers) as response:
                if response.status_code != 200:
                    raise refusal(response, b"".join(bounded(response.iter_bytes())))
                for line in split_lines(response.iter_bytes()):
                    yield read_line(line)
        except httpx.HTTPError as error:
            raise unreachable(error) from None

    def _exchange(self, method: str, url: str, body: bytes | None, longest: float | None) -> bytes:
        headers = JSON if body is not None else None
        waits = timeouts(self.settings, self._longest if longest is None else longest)
        try:
            with self._client.stream(method, url, content=body, headers=headers, timeout=waits) as response:
                answer = b"".join(bounded(response.iter_bytes()))
        except httpx.HTTPError as error:
            raise unreachable(error) from None
        if response.status_code not in (200, 201):
            raise refusal(response, answer)
        return answer


def headers_for(settings: Settings) -> dict[str, str]:
    """Return the headers of every request."""
    return {"Authorization": f"Bearer {settings.key}", "User-Agent": "reasonvault-client/0.1.0"}


def verify(settings: Settings) -> ssl.SSLContext | bool:
    """Return how httpx checks certificates. For http:// there are none, and reading the system's takes its time."""
    return settings.tls or settings.url.startswith("https:")


def timeouts(settings: Settings, longest: float | None = None) -> httpx.Timeout:
    """Return how long httpx waits, and for what; ``longest`` seconds at most where given."""
    most = settings.timeout if longest is None else longest
    return httpx.Timeout(min(settings.timeout, most), connect=min(settings.connect_timeout, most))


def pause_or_raise(settings: Settings, error: Unavailable, attempt: int, end: float) -> float:
    """Return the seconds until the next try; raise the error where the deadline would be over by then."""
    pause = settings.backoff.delay(attempt, random.random(), error.retry_after)  # noqa: S311 - jitter, not a secret
    if time.monotonic() + pause >= end:
        raise error
    return pause


def unreachable(error: httpx.HTTPError) -> Unavailable:
    """Return what an exchange without answer means. Its own text is left out: it may hold the address's parts."""
    if isinstance(error, _UNSENT):
        return Unavailable("cannot reach the vault")
    kind = "did not answer in time" if isinstance(error, httpx.TimeoutException) else "broke off the exchange"
    return Unavailable(f"the vault {kind}", unknown=True)


def refusal(response: httpx.Response, answer: bytes) -> ClientError:
    """Return what an answer other than 200 and 201 means."""
    wait = parse_retry_after(response.headers.get("Retry-After"), datetime.now(UTC))
    return error_of(response.status_code, read_problem(response.headers.get("Content-Type", ""), answer), wait)


def bounded(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the chunks of an answer while it is of a sensible size.

    Raises:
        Unavailable: it is not.
    """
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > MAX_ANSWER:
            raise Unavailable("the vault's answer is too long", unknown=True)
        yield chunk


def split_lines(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Yield lines as they are complete. The last one may lack its line feed: whether it is whole, its reader sees.

    Raises:
        Unavailable: a line is too long to be one.
    """
    rest = b""
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > MAX_ANSWER:
            raise Unavailable("a line of the vault's answer is too long", unknown=True)
        yield from filter(bytes.strip, lines)
    if rest.strip():
        yield rest
