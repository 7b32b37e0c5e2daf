"""The vault's own access tokens, for local accounts: short-lived, signed by a key that stays in the key store.

    issuer = TokenIssuer(issuer_name(tenant), lambda message: keys.sign("login.1", message), public_key, clock)
    text = issuer.issue("01J9...", generation=3)
    issuer.read(text)                             LocalClaims(person="01J9...", generation=3, expires_at=...)

    header   {"alg":"Ed25519","kid":<RFC 7638 thumbprint>,"typ":"at+jwt"}
    payload  {"aud":<issuer>,"exp":...,"gen":3,"iat":...,"iss":"urn:reasonvault:<tenant>","jti":...,"sub":"01J9..."}

``gen`` is the account's generation: whoever reads a token compares it with the account's, which grows whenever the
password changes or the account is disabled, so older tokens end there. The key signs nothing but these tokens; a
vault signs checkpoints with another.

joserfc signs only with a key in its hands, so the signing input (RFC 7515 5.1) is put together here. Reading goes
through the same strict rules as a provider's tokens.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from uuid import UUID

import msgspec
from joserfc.jwk import OKPKey

from service.identity import compact
from service.identity.reasons import Reason
from vault.core.canonical import b64
from vault.core.errors import Denied, UsageError

LIFETIME: Final = 900
"""Seconds for which a token counts unless ``issue`` is told otherwise."""
MAX_LIFETIME: Final = 3600

_ALGORITHM: Final = "Ed25519"
_TYPE: Final = "at+jwt"
_CLOCK_STEP: Final = 60
"""Seconds by which our own clock may have stepped back since it issued a token. A token never lives longer for it."""


@dataclass(frozen=True, slots=True)
class LocalClaims:
    """What one of our tokens says. ``expires_at``: microseconds since the epoch."""

    person: str
    generation: int
    expires_at: int


def issuer_name(tenant: UUID) -> str:
    """Return what a vault's tokens name as issuer and audience."""
    return f"urn:reasonvault:{tenant}"


class TokenIssuer:
    """Issues and reads the tokens of one vault."""

    def __init__(
        self, issuer: str, sign: Callable[[bytes], bytes], public_key: bytes, clock: Callable[[], int]
    ) -> None:
        """Take the key by its two ends.

        Args:
            issuer: see ``issuer_name``.
            sign: returns the 64-byte Ed25519 signature over its argument.
            public_key: the 32 bytes that verify it.
            clock: microseconds since the epoch.
        """
        self._issuer = issuer
        self._sign = sign
        self._clock = clock
        self._key = OKPKey.import_key({"kty": "OKP", "crv": "Ed25519", "x": b64(public_key)})
        self._kid = self._key.thumbprint()
        self._header = b64(_encode({"alg": _ALGORITHM, "kid": self._kid, "typ": _TYPE}))

    def issue(self, person_id: str, generation: int, seconds: int = LIFETIME) -> str:
        """Return a new token.

        Raises:
            UsageError: ``seconds`` is not within 1 to 3,600.
            KeyUnavailable, KeyGone: from the key store.
        """
        if not 1 <= seconds <= MAX_LIFETIME:
            raise UsageError(f"an access token lives 1 to {MAX_LIFETIME} seconds")
        now = self._clock() // 1_000_000
        claims = {
            "aud": self._issuer,
            "exp": now + seconds,
            "gen": generation,
            "iat": now,
            "iss": self._issuer,
            "jti": secrets.token_urlsafe(16),
            "sub": person_id,
        }
        signed = f"{self._header}.{b64(_encode(claims))}"
        return f"{signed}.{b64(self._sign(signed.encode()))}"

    def read(self, token: str) -> LocalClaims:
        """Return what a token says, if it is ours and still counts.

        Raises:
            Denied: it is not, or no longer; the text is one of ``reasons.Reason``.

        Not checked: whether the account still exists, is enabled and is of this generation.
        """
        parsed = compact.parse(token, algorithms=(_ALGORITHM,), types=(_TYPE,))
        if parsed.kid != self._kid:  # the id of a public key: nothing to learn from how long this takes
            raise Denied(Reason.UNKNOWN_KEY)
        claims = parsed.verify(self._key)
        now = self._clock() // 1_000_000
        ends = compact.check(
            claims, issuer=self._issuer, audience=self._issuer, now=now, leeway=_CLOCK_STEP, max_age=MAX_LIFETIME
        )
        if ends <= now:
            raise Denied(Reason.EXPIRED)
        generation = claims.get("gen")
        if not isinstance(generation, int) or isinstance(generation, bool):
            raise Denied(Reason.CLAIMS_MALFORMED)
        return LocalClaims(claims["sub"], generation, int(ends * 1_000_000))

    def is_ours(self, token: str) -> bool:
        """Whether a token names our key, so that ``read`` is to judge it and no identity provider. Proves nothing."""
        try:
            return compact.parse(token, algorithms=(_ALGORITHM,), types=(_TYPE,)).kid == self._kid
        except Denied:
            return False


def _encode(value: dict[str, object]) -> bytes:
    return msgspec.json.encode(value)
