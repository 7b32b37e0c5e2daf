"""The section ``[oidc]``: what works, and what is refused in one line that names the setting."""

from __future__ import annotations

from typing import Any

import pytest

from service.identity.settings import is_safe_url, read_oidc
from vault.core.errors import UsageError

GOOD: dict[str, Any] = {
    "issuer": "https://id.example/realms/payments",
    "audience": "reasonvault",
    "roles_claim": "realm_access.roles",
    "roles": {"vault-auditors": "auditor"},
}


def test_a_small_section_is_enough() -> None:
    settings = read_oidc({"oidc": GOOD})
    assert settings is not None
    assert settings.algorithms == ("RS256", "PS256", "ES256", "EdDSA")
    assert settings.types == ("at+jwt", "JWT")
    assert settings.leeway == 60
    assert settings.roles_path == ("realm_access", "roles")


def test_no_section_means_no_provider() -> None:
    assert read_oidc({"limits": {}}) is None


def test_a_claim_whose_name_has_dots_is_given_as_a_list() -> None:
    settings = read_oidc({"oidc": GOOD | {"roles_claim": ["https://vault.example/roles"]}})
    assert settings is not None
    assert settings.roles_path == ("https://vault.example/roles",)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"issuer": "http://id.example"}, "issuer"),
        ({"issuer": "ftp://localhost"}, "issuer"),
        ({"issuer": "https://user:word@id.example"}, "issuer"),
        ({"issuer": "https://id.example/#top"}, "issuer"),
        ({"issuer": "https://id.example/?realm=a"}, "issuer"),
        ({"issuer": "https://id.example:port"}, "issuer"),
        ({"issuer": ""}, "issuer"),
        ({"audience": ""}, "audience"),
        ({"algorithms": []}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": ["RS256", "HS256"]}, "algorithms"),
        ({"algorithms": ["rs256"]}, "algorithms"),
        ({"types": []}, "types"),
        ({"types": ["logout+jwt"]}, "types"),
        ({"leeway": -1}, "leeway"),
        ({"leeway": 3600}, "leeway"),
        ({"leeway": "60"}, "leeway"),
        ({"max_age": 0}, "max_age"),
        ({"roles_claim": "realm_access..roles"}, "roles_claim"),
        ({"roles_claim": []}, "roles_claim"),
        ({"roles": {}}, "roles"),
        ({"roles": {"admins": "superuser"}}, "roles"),
        ({"roles": {"services": "producer"}}, "roles"),
        ({"audiences": ["a"]}, "audiences"),
    ],
)
def test_what_cannot_work_is_refused_by_name(changed: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError) as refused:
        read_oidc({"oidc": GOOD | changed})
    text = str(refused.value)
    assert named in text
    assert "\n" not in text


def test_a_section_that_is_no_section_is_refused() -> None:
    with pytest.raises(UsageError):
        read_oidc({"oidc": "https://id.example"})


@pytest.mark.parametrize(
    ("url", "loopback", "safe"),
    [
        ("https://id.example/keys", False, True),
        ("http://id.example/keys", True, False),
        ("http://127.0.0.1:8080/keys", True, True),
        ("http://127.0.0.1:8080/keys", False, False),  # a provider elsewhere does not send us to our own machine
        ("http://127.0.0.1.id.example/keys", True, False),
        ("http://[::1]:8080/keys", True, True),
        ("file:///etc/passwd", True, False),
        ("//id.example/keys", True, False),
    ],
)
def test_only_https_or_this_machine(url: str, loopback: bool, safe: bool) -> None:
    assert is_safe_url(url, loopback=loopback) is safe
