"""Asking an RFC 3161 authority for the time of a signature."""

from __future__ import annotations

import asyncio
from typing import Final

import httpx
from asn1crypto import cms, tsp
from pyhanko.sign.timestamps import TimeStamper
from pyhanko.sign.timestamps.common_utils import TimestampRequestError

_QUERY: Final = "application/timestamp-query"
_REPLY: Final = "application/timestamp-reply"
_MOST_BYTES: Final = 256 * 1024
"""A token carries its authority's chain: a few kilobytes."""


class StampRefused(Exception):
    """There is no token; the text is the end of a sentence that says why."""


class HttpStamper(TimeStamper):
    """RFC 3161 over HTTP (3.4). Tokens have a nonce of ours; their chain is not checked here.

    Redirects are not followed, and no answer longer than a token is read.
    """

    def __init__(self, url: str, *, timeout: float = 10.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._url = url
        self._timeout = timeout

    async def async_timestamp(self, message_digest: bytes, md_algorithm: str) -> cms.ContentInfo:
        """Raises StampRefused: no answer, a refusal, or not the token that was asked for."""
        try:
            token = await super().async_timestamp(message_digest, md_algorithm)
            imprint = token["content"]["encap_content_info"]["content"].parsed["message_imprint"]
            if imprint["hashed_message"].native != message_digest:
                raise StampRefused("the authority stamped something else")
            return token
        except TimestampRequestError as error:
            raise StampRefused(" ".join(str(error).split()).rstrip(".")) from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise StampRefused("the authority's answer cannot be read") from None

    async def async_request_tsa_response(self, req: tsp.TimeStampReq) -> tsp.TimeStampResp:
        return tsp.TimeStampResp.load(await asyncio.to_thread(self._asked, req.dump()), strict=True)

    def _asked(self, query: bytes) -> bytes:
        answer = bytearray()
        try:
            with httpx.stream(
                "POST", self._url, content=query, headers={"Content-Type": _QUERY}, timeout=self._timeout
            ) as reply:
                if reply.status_code != httpx.codes.OK:
                    raise StampRefused(f"the authority answered with status {reply.status_code}")
                if reply.headers.get("Content-Type", "").partition(";")[0].strip() != _REPLY:
                    raise StampRefused("the authority's answer is no time-stamp reply")
                for piece in reply.iter_bytes():
                    answer += piece
                    if len(answer) > _MOST_BYTES:
                        raise StampRefused("the authority's answer is longer than a token can be")
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise StampRefused(f"the authority cannot be reached ({type(error).__name__})") from None
        return bytes(answer)
