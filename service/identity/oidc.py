"""Who a person is, by the word of an identity provider: OpenID Connect access tokens.

    verifier = OidcVerifier(settings, clock=clock)
    claims = await verifier.verify(token)         Claims(issuer="https://id.example", subject="248289", ...)

Steps, each of which must hold before the next is tried:

    1. the token is well formed and signed in an allowed way     compact.parse
    2. its key is one that the provider publishes now            keysource
    3. the signature is that key's                               compact.verify
    4. issuer, audience and times are right                      compact.check
    5. its roles are read, and those we know are kept            roles

What is not checked: whether the provider has withdrawn the token since. It counts until it ends, so providers should
give tokens that live for minutes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from service.identity import compact
from service.identity.fetch import fetch as fetch_document
from service.identity.keysource import Fetch, KeySource
from service.identity.settings import OidcSettings

_MAX_NAME: Final = 200


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says.

    Attributes:
        issuer: together with ``subject`` the person; neither alone.
        subject: the provider's id of the person, 1 to 255 printable characters.
        name: to be shown to people, never to decide by; empty where the token has none.
        roles: ours, of ``vault.core.grant.ROLES``; empty where the provider gives none that we know.
        expires_at: microseconds since the epoch; when the token ends, whatever happens until then.
    """

    issuer: str
    subject: str
    name: str
    roles: frozenset[str]
    expires_at: int


class OidcVerifier:
    """Verifies tokens of one provider, for the tasks of one event loop."""

    def __init__(
        self,
        settings: OidcSettings,
        *,
        clock: Callable[[], int],
        fetch: Fetch = fetch_document,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember what to trust; nothing is fetched yet.

        Args:
            clock: microseconds since the epoch; what token times are compared with.
            fetch: returns the body behind a URL, or raises ``Unavailable``.
            monotonic: seconds; what the age of keys is measured by.
        """
        self._settings = settings
        self._clock = clock
        self._source = KeySource(settings.issuer, settings.algorithms, fetch=fetch, monotonic=monotonic)

    async def verify(self, token: str) -> Claims:
        """Return who a token speaks for.

        Raises:
            Denied: the token is not to be believed; the text is one of ``reasons.Reason``.
            Unavailable: the provider does not answer, and what is cached does not settle it.
        """
        wanted = self._settings
        parsed = compact.parse(token, algorithms=wanted.algorithms, types=wanted.types)
        claims = parsed.verify(await self._source.find(parsed.kid, parsed.algorithm))
        ends = compact.check(
            claims,
            issuer=wanted.issuer,
            audience=wanted.audience,
            now=self._clock() // 1_000_000,
            leeway=wanted.leeway,
            max_age=wanted.max_age,
        )
        return Claims(wanted.issuer, claims["sub"], _name(claims), _roles(claims, wanted), int(ends * 1_000_000))

    async def ready(self) -> None:
        """Fetch the provider's keys where that is due.

        Raises:
            Unavailable: nobody could be verified now, and why.
        """
        await self._source.ready()

    async def close(self) -> None:
        """Stop what is under way; the verifier is not used again."""
        await self._source.close()


def _name(claims: dict[str, Any]) -> str:
    for claim in ("name", "preferred_username"):
        name = claims.get(claim)
        if isinstance(name, str) and 0 < len(name) <= _MAX_NAME and name.isprintable():
            return name
    return ""


def _roles(claims: dict[str, Any], settings: OidcSettings) -> frozenset[str]:
    """Follow the path down; a list of words or one word, of which those in the map count."""
    found: Any = claims
    for name in settings.roles_path:
        found = found.get(name) if isinstance(found, dict) else None
    words = found if isinstance(found, list) else [found]
    roles = frozenset(settings.roles[word] for word in words if isinstance(word, str) and word in settings.roles)
    # As for local accounts: an operator reads nothing and approves nothing, so no other role goes with it.
    return frozenset({"operator"}) if "operator" in roles else roles
