"""Requests of people: who may enter one, and what no export may give away."""

from __future__ import annotations

import pytest

from vault.core.grant import Fields, Scope
from vault.core.request import why_no_erasure, why_no_export


@pytest.mark.parametrize(
    ("role", "holder", "may"),
    [("officer", False, True), ("auditor", False, False), ("operator", False, False), ("auditor", True, True)],
)
def test_one_officer_or_the_passphrases_holder_enters_an_erasure(role: str, holder: bool, may: bool) -> None:
    assert (why_no_erasure(frozenset({role}), holder) is None) == may


@pytest.mark.parametrize(
    ("fields", "duty", "may"), [("full", "", True), ("full", "d", True), ("masked", "d", True), ("masked", "", False)]
)
def test_a_masked_grant_exports_for_a_duty_only(fields: Fields, duty: str, may: bool) -> None:
    assert (why_no_export(Scope(("l",), None, None, (), fields, duty)) is None) == may
