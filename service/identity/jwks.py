"""What a provider publishes, judged: its discovery document and its key set. No network here.

A key is usable under the algorithms that it can do and the settings allow, so the map that comes out has a key per
``(kid, algorithm)``, and whatever a token asks for that is not in the map does not exist. What is left out: secrets
(``oct``), private keys that should never have been published, keys for encryption, RSA below 2,048 bits, other
curves, keys without a ``kid``, keys whose own ``alg`` says something else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final

import jiter
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, OKPKey, RSAKey
from joserfc.util import base64_to_int

from service.identity.settings import ALGORITHMS, is_loopback, is_safe_url
from vault.core.errors import Unavailable

Keys = dict[tuple[str, str], Key]
"""Verification keys by ``kid`` and algorithm."""

_PUBLIC_MEMBERS: Final = {"RSA": ("n", "e"), "EC": ("crv", "x", "y"), "OKP": ("crv", "x")}
_KINDS: Final[dict[str, type[RSAKey] | type[ECKey] | type[OKPKey]]] = {"RSA": RSAKey, "EC": ECKey, "OKP": OKPKey}
_RSA_BITS: Final = range(2048, 8192 + 1)
"""Sizes of a modulus; larger ones only cost time."""
_MAX_KEYS: Final = 100


def discovery_url(issuer: str) -> str:
    """Return where an issuer's discovery document is. From: OpenID Connect Discovery 1.0, 4."""
    return issuer.removesuffix("/") + "/.well-known/openid-configuration"


def read_discovery(raw: bytes, issuer: str) -> str:
    """Return where the issuer's keys are.

    Raises:
        Unavailable: the document is no JSON object, is another issuer's, or names a place that must not be fetched.
    """
    document = _object(raw, "discovery document")
    if document.get("issuer") != issuer:
        raise Unavailable("the identity provider's discovery document names another issuer than service.toml")
    found = document.get("jwks_uri")
    if not isinstance(found, str) or not is_safe_url(found, loopback=is_loopback(issuer)):
        raise Unavailable("the identity provider's discovery document names no jwks_uri over https")
    return found


def read_keys(raw: bytes, algorithms: Collection[str]) -> Keys:
    """Return the keys of a set that may be used under these algorithms; the first one where two claim the same place.

    Raises:
        Unavailable: this is no key set. A set without a usable key is one: every key was withdrawn.
    """
    entries = _object(raw, "key set").get("keys")
    if not isinstance(entries, list):
        raise Unavailable("the identity provider's key set has no keys in it")
    keys: Keys = {}
    for entry in entries[:_MAX_KEYS]:
        for algorithm in _fitting(entry, algorithms):
            if (key := _public_key(entry)) is not None:
                keys.setdefault((entry["kid"], algorithm), key)
    return keys


def _fitting(entry: Any, algorithms: Collection[str]) -> Iterator[str]:
    """Yield the allowed algorithms that a key may be used for."""
    if not isinstance(entry, dict) or not isinstance(entry.get("kid"), str):
        return
    if entry.get("use", "sig") != "sig" or ("key_ops" in entry and entry["key_ops"] != ["verify"]):
        return
    if "d" in entry or "k" in entry:
        return
    for algorithm in algorithms:
        kind, curve = ALGORITHMS[algorithm]
        if entry.get("kty") == kind and entry.get("alg", algorithm) == algorithm and curve in (None, entry.get("crv")):
            yield algorithm


def _public_key(entry: dict[str, Any]) -> Key | None:
    """Import the public half alone; None where its numbers are no key."""
    kind = entry["kty"]
    members = {name: value for name in _PUBLIC_MEMBERS[kind] if isinstance(value := entry.get(name), str)}
    try:
        if kind == "RSA" and base64_to_int(members["n"]).bit_length() not in _RSA_BITS:
            return None
        return _KINDS[kind].import_key({"kty": kind, **members})
    except (JoseError, LookupError, ValueError):
        return None


def _object(raw: bytes, what: str) -> dict[str, Any]:
    try:
        found = jiter.from_json(raw, catch_duplicate_keys=True, allow_inf_nan=False)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unavailable(f"the identity provider's {what} is no JSON object")
    return found
