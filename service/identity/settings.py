"""Which identity provider is trusted, and for what: the section ``[oidc]`` of ``service.toml``.

    [oidc]
    issuer = "https://id.example/realms/payments"
    audience = "reasonvault"
    roles_claim = "realm_access.roles"

    [oidc.roles]
    vault-auditors = "auditor"
    vault-compliance = "officer"

Everything else has a default. What would make a token forgeable cannot be configured: no algorithm that shares a
secret, no unsigned token, no provider over plain HTTP except on this machine.
"""

from __future__ import annotations

from typing import Any, Final, Literal
from urllib.parse import urlsplit

import msgspec

from vault.core.errors import UsageError
from vault.core.grant import Role

ALGORITHMS: Final = {
    "RS256": ("RSA", None),
    "RS384": ("RSA", None),
    "RS512": ("RSA", None),
    "PS256": ("RSA", None),
    "PS384": ("RSA", None),
    "PS512": ("RSA", None),
    "ES256": ("EC", "P-256"),
    "ES384": ("EC", "P-384"),
    "ES512": ("EC", "P-521"),
    "EdDSA": ("OKP", "Ed25519"),
    "Ed25519": ("OKP", "Ed25519"),
}
"""Signature algorithms that may be allowed, with the type and curve of their keys. From: RFC 7518 3.1, RFC 9864."""

_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
_MAX_LEEWAY: Final = 300
_MAX_AGE: Final = 7 * 86400


class OidcSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[oidc]``, checked.

    Attributes:
        issuer: exactly as the provider spells it in its discovery document and in ``iss``.
        audience: must be among the token's audiences.
        algorithms: names of ``ALGORITHMS``; a token signed otherwise is refused.
        types: accepted ``typ`` headers. A token without one counts as ``JWT`` (RFC 7519 5.1).
        leeway: seconds by which the two clocks may differ.
        max_age: seconds after ``iat`` at which a token is refused, however long it says it lives.
        roles_claim: where the token keeps the person's roles; names apart by dots, or a list of names where a name
            itself has dots.
        roles: the provider's word -> our role. Words that are not here mean nothing.
    """

    issuer: str
    audience: str
    algorithms: tuple[str, ...] = ("RS256", "PS256", "ES256", "EdDSA")
    types: tuple[Literal["at+jwt", "JWT"], ...] = ("at+jwt", "JWT")
    leeway: int = 60
    max_age: int = 86400
    roles_claim: str | tuple[str, ...] = "roles"
    roles: dict[str, Role] = {}

    @property
    def roles_path(self) -> tuple[str, ...]:
        """Names to follow from the claims down to the roles."""
        return tuple(self.roles_claim.split(".")) if isinstance(self.roles_claim, str) else self.roles_claim


def read_oidc(document: dict[str, Any]) -> OidcSettings | None:
    """Read the section ``[oidc]`` of a parsed ``service.toml``; None where there is none.

    Raises:
        UsageError: the section cannot work. One line that names the setting.
    """
    section = document.get("oidc")
    if section is None:
        return None
    try:
        settings = msgspec.convert(section, OidcSettings)
    except msgspec.ValidationError as error:
        raise _wrong(str(error)) from None
    _check_issuer(settings.issuer)
    _check_algorithms(settings.algorithms)
    if not settings.audience:
        raise _wrong("audience is empty")
    if not settings.types:
        raise _wrong("types allows no token")
    if not 0 <= settings.leeway <= _MAX_LEEWAY:
        raise _wrong(f"leeway is 0 to {_MAX_LEEWAY} seconds")
    if not 1 <= settings.max_age <= _MAX_AGE:
        raise _wrong(f"max_age is 1 to {_MAX_AGE} seconds")
    if not all(settings.roles_path) or not settings.roles_path:
        raise _wrong("roles_claim has an empty name in it")
    if not settings.roles:
        raise _wrong("[oidc.roles] is empty: nobody could do anything")
    return settings


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine."""
    return urlsplit(url).hostname in _LOOPBACK


def is_safe_url(url: str, *, loopback: bool) -> bool:
    """Whether a URL may be fetched: HTTPS without user, password and fragment; plain HTTP to this machine only, and
    only where ``loopback`` says that the provider itself lives here."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        return False
    return parts.scheme == "https" or (parts.scheme == "http" and loopback and is_loopback(url))


def _check_issuer(issuer: str) -> None:
    if not is_safe_url(issuer, loopback=True):
        raise _wrong("issuer is an https URL without user and fragment (http only for localhost)")
    if urlsplit(issuer).query:
        raise _wrong("issuer has a query, which no issuer may have")


def _check_algorithms(algorithms: tuple[str, ...]) -> None:
    if not algorithms:
        raise _wrong("algorithms allows none")
    for name in algorithms:
        if name not in ALGORITHMS:
            raise _wrong(
                f"algorithms: {name!r} is not allowed; 'none' and the HS family never are. Choose from "
                + ", ".join(ALGORITHMS)
            )


def _wrong(what: str) -> UsageError:
    return UsageError(f"service.toml, [oidc]: {what}")
