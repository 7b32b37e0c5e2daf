"""How checkpoints travel to witnesses and authorities: HTTP without redirects, with an end to size and time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import httpx

from vault.witnessing import Answer, Post, Unreachable

TIMEOUT_SECONDS: Final = 10.0
MAX_ANSWER_BYTES: Final = 256 * 1024
_HEADERS: Final = {"User-Agent": "reasonvault", "Accept-Encoding": "identity"}  # what is packed hides its size


@contextmanager
def opened(timeout: float = TIMEOUT_SECONDS) -> Iterator[Post]:
    """Yield what posts; connections are kept alive until the end.

    Args:
        timeout: seconds that an answer may take, from the first byte out to the last one in.
    """
    with httpx.Client(timeout=timeout, follow_redirects=False, headers=_HEADERS) as client:

        def post(url: str, content_type: str, body: bytes) -> Answer:
            ends = time.monotonic() + timeout
            try:
                with client.stream("POST", url, content=body, headers={"Content-Type": content_type}) as answer:
                    read = b"".join(_bounded(answer, ends, timeout))
                    return Answer(answer.status_code, answer.headers.get("Content-Type", ""), read)
            except httpx.TimeoutException:
                raise Unreachable("timeout", f"no answer within {timeout:g} seconds") from None
            except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
                raise Unreachable("unreachable", f"cannot be reached ({type(error).__name__})") from None

        yield post


def _bounded(answer: httpx.Response, ends: float, timeout: float) -> Iterator[bytes]:
    size = 0
    for part in answer.iter_raw(16_384):
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            raise Unreachable("too_long", f"its answer is longer than {MAX_ANSWER_BYTES} bytes")
        if time.monotonic() > ends:  # a library's timeout is for each read: one byte at a time would never end
            raise Unreachable("timeout", f"no whole answer within {timeout:g} seconds")
        yield part
