"""Fetching a provider's documents: small, soon or not at all, and from where we asked."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx

from service.identity.settings import is_loopback
from vault.core.errors import Unavailable

MAX_BODY: Final = 256 * 1024
"""Bytes in a discovery document or a key set at most."""
SECONDS: Final = 5.0
"""For a whole answer: a server that drips one byte a second is as silent as one that says nothing."""


async def fetch(url: str, *, seconds: float = SECONDS) -> bytes:
    """Return the body behind a URL.

    A redirect is no answer: it would let whoever controls a page name another host. Proxies and certificate
    authorities of the environment count (``HTTPS_PROXY``, ``SSL_CERT_FILE``), except towards this machine.

    Raises:
        Unavailable: no answer in time, another status than 200, an encoded body, or one above ``MAX_BODY``.
    """
    try:
        async with asyncio.timeout(seconds):
            return await _get(url)
    except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, OSError):
        pass  # raised below: the URL is in the settings, and the library's message would repeat it
    raise Unavailable("the identity provider does not answer")


async def _get(url: str) -> bytes:
    headers = {"Accept": "application/json", "Accept-Encoding": "identity"}
    client = httpx.AsyncClient(follow_redirects=False, trust_env=not is_loopback(url), timeout=SECONDS)
    async with client, client.stream("GET", url, headers=headers) as response:
        if response.status_code != 200:
            raise Unavailable(f"the identity provider answers with status {response.status_code}")
        if response.headers.get("content-encoding", "identity") != "identity":
            raise Unavailable("the identity provider compresses its answer, though it was asked not to")
        body = bytearray()
        async for piece in response.aiter_raw():
            body += piece
            if len(body) > MAX_BODY:
                raise Unavailable(f"the identity provider's answer is larger than {MAX_BODY} bytes")
        return bytes(body)
