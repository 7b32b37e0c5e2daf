"""A signed token in its compact form, read strictly: what every token must be, whoever issued it.

    header "." payload "." signature        each base64url without padding, header and payload JSON objects

    >>> token = parse(text, algorithms={"ES256"}, types={"at+jwt"})      nothing is believed yet
    >>> claims = token.verify(keys[token.kid, token.algorithm])          now the signature is
    >>> check(claims, issuer=..., audience=..., now=..., leeway=60)      and now its rules are kept

The key comes from the caller, who found it by ``kid`` among keys it trusts; a key inside the token (``jwk``, ``jku``,
``x5c``, ``x5u``) is never looked at. joserfc verifies. Around it stand the rules that it leaves to its caller: no
object with the same member twice at any depth (two parsers would read two tokens), no critical headers at all, the
algorithm from a list of ours.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any, Final

import jiter
from joserfc import jws
from joserfc.errors import ClaimError, ExpiredTokenError, JoseError, MissingClaimError
from joserfc.jwa import JWSAlgModel
from joserfc.jwk import Key
from joserfc.jws import JWSRegistry
from joserfc.jwt import JWTClaimsRegistry
from joserfc.util import urlsafe_b64decode

from service.identity.reasons import Reason
from vault.core.errors import Denied

MAX_TOKEN: Final = 8192
"""Characters in one token at most."""

_BROKEN_CLAIM: Final = {
    "iss": Reason.ISSUER,
    "aud": Reason.AUDIENCE,
    "nbf": Reason.NOT_YET,
    "iat": Reason.FROM_THE_FUTURE,
}


class _Registry(JWSRegistry):
    """joserfc's algorithms, with bounds of ours, and EdDSA as what it means everywhere: Ed25519 (RFC 9864 2.2)."""

    max_header_length = MAX_TOKEN
    max_payload_length = MAX_TOKEN
    max_signature_length = MAX_TOKEN

    def get_alg(self, name: str) -> JWSAlgModel:
        return super().get_alg("Ed25519" if name == "EdDSA" else name)


@dataclass(frozen=True, slots=True)
class Unverified:
    """A token that is well formed. Nothing in it is true before ``verify`` has returned.

    Attributes:
        kid: what it calls its key; any text at all, good for a look-up among known keys and for nothing else.
        algorithm: one of those that ``parse`` was given.
    """

    kid: str
    algorithm: str
    _text: str = field(repr=False)
    _claims: dict[str, Any] = field(repr=False)

    def verify(self, key: Key) -> dict[str, Any]:
        """Return the claims if ``key`` signed them.

        Raises:
            Denied: it did not, or it is no key for this algorithm.
        """
        # The registry ignores header members that it does not know (RFC 7515 4), none of which is critical here.
        algorithm = "Ed25519" if self.algorithm == "EdDSA" else self.algorithm
        registry = _Registry(algorithms=[algorithm], strict_check_header=False)
        try:
            jws.deserialize_compact(self._text, key, registry=registry)
        except (JoseError, ValueError):
            pass  # raised below, where the library's message is no longer attached
        else:
            return self._claims
        raise Denied(Reason.SIGNATURE)


def parse(text: str, *, algorithms: Collection[str], types: Collection[str]) -> Unverified:
    """Read a token without believing it.

    Args:
        text: as it came.
        algorithms: those allowed.
        types: allowed values of ``typ``, any case, without ``application/``; a token without one counts as JWT.

    Raises:
        Denied: and nothing else, whatever the text.
    """
    if len(text) > MAX_TOKEN:
        raise Denied(Reason.TOO_LONG)
    header_part, payload_part, _ = _parts(text)
    header, claims = _object(header_part), _object(payload_part)
    if "crit" in header or "b64" in header:
        raise Denied(Reason.CRITICAL_HEADER)
    algorithm, kid, kind = header.get("alg"), header.get("kid"), header.get("typ", "JWT")
    if not isinstance(algorithm, str) or algorithm not in algorithms:
        raise Denied(Reason.ALGORITHM)
    allowed = {name.lower() for name in types}
    if not isinstance(kind, str) or kind.lower().removeprefix("application/") not in allowed:
        raise Denied(Reason.TYPE)
    if not isinstance(kid, str):
        raise Denied(Reason.UNKNOWN_KEY)
    return Unverified(kid, algorithm, text, claims)


def check(claims: dict[str, Any], *, issuer: str, audience: str, now: int, leeway: int, max_age: int) -> float:
    """Check the claims that every token must have; return when the token ends, in seconds since the epoch.

    Args:
        now: seconds since the epoch.
        leeway: seconds by which clocks may differ.
        max_age: seconds after ``iat`` at which the token ends, whatever ``exp`` says.

    Raises:
        Denied: a claim is missing, malformed, or says that the token is not for us or not for now.
    """
    if refused := _registered(claims, issuer, audience, now, leeway):
        raise Denied(refused)
    ends = min(claims["exp"], claims["iat"] + max_age)
    if claims["iat"] + max_age <= now - leeway:
        raise Denied(Reason.TOO_OLD)
    subject = claims["sub"]
    if len(subject) > 255 or not subject.isprintable():  # From: OpenID Connect Core 2, sub
        raise Denied(Reason.CLAIMS_MALFORMED)
    return float(ends)


def _registered(claims: dict[str, Any], issuer: str, audience: str, now: int, leeway: int) -> Reason | None:
    """Let joserfc judge the claims of RFC 7519; return its verdict in our words, None when all are in order."""
    for name in ("exp", "iat", "nbf"):
        # joserfc answers a malformed time and a wrong one alike.
        if name in claims and not _is_time(claims[name]):
            return Reason.CLAIMS_MALFORMED
    registry = JWTClaimsRegistry(
        now,
        leeway,
        iss={"essential": True, "value": issuer},
        aud={"essential": True, "value": audience},
        sub={"essential": True},
        exp={"essential": True},
        iat={"essential": True},
    )
    try:
        registry.validate(claims)
    except MissingClaimError:
        return Reason.CLAIMS_MISSING
    except ExpiredTokenError:
        return Reason.EXPIRED
    except ClaimError as error:
        return _BROKEN_CLAIM.get(error.claim, Reason.CLAIMS_MALFORMED)
    return None


def _is_time(value: object) -> bool:
    """Whether a value is a NumericDate up to the year 9999: JSON can spell numbers that become infinite."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 253_402_300_800


def _parts(text: str) -> list[str]:
    parts = text.split(".")
    if len(parts) != 3:
        raise Denied(Reason.MALFORMED)
    return parts


def _object(part: str) -> dict[str, Any]:
    """Decode one part; refuse what is no JSON object, or one that two parsers could read as two."""
    try:
        found = jiter.from_json(urlsafe_b64decode(part.encode()), catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Denied(Reason.MALFORMED)
    return found
