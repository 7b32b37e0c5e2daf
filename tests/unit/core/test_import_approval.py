"""Who may ask for an import, approve it and run it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vault.core import imports
from vault.core.governance import Import

OFFICER, NOBODY = frozenset({"officer"}), frozenset({"auditor", "operator"})
ASKED = Import("i-1", "ledger", "psp-1", "digest", 7, 10, 20, "p-olaf", 3)
APPROVED = replace(ASKED, approved_by="p-anna")


@pytest.mark.parametrize(("roles", "holder"), [(OFFICER, False), (frozenset(), True), (NOBODY, True)])
def test_an_officer_or_the_holder_asks(roles: frozenset[str], holder: bool) -> None:
    assert imports.why_no_request(roles, holder, 1, 5, 5) is None


def test_nobody_else_asks_and_not_for_nothing() -> None:
    assert imports.why_no_request(NOBODY, False, 1, 5, 5) == imports.NO_REQUESTER
    assert imports.why_no_request(OFFICER, False, 0, 5, 5)
    assert imports.why_no_request(OFFICER, False, imports.MAX_COUNT + 1, 5, 5)
    assert imports.why_no_request(OFFICER, False, 1, 6, 5)


def test_another_officer_approves_once() -> None:
    assert imports.why_no_approval(ASKED, "p-anna", OFFICER) is None
    assert imports.why_no_approval(ASKED, "p-anna", NOBODY) == imports.NO_OFFICER
    assert imports.why_no_approval(ASKED, "local:root", frozenset()) == imports.NO_OFFICER
    assert imports.why_no_approval(ASKED, "p-olaf", OFFICER) == imports.OWN
    assert imports.why_no_approval(APPROVED, "p-carl", OFFICER) == "the import is approved already"


def test_only_what_was_approved_comes_in() -> None:
    assert imports.why_not_approved(APPROVED, "ledger", "psp-1") is None
    assert "nobody approved" in str(imports.why_not_approved(ASKED, "ledger", "psp-1"))
    assert imports.why_not_approved(replace(ASKED, approved_by="p-olaf"), "ledger", "psp-1") == imports.OWN
    assert "done" in str(imports.why_not_approved(replace(APPROVED, done=True), "ledger", "psp-1"))
    for ledger, producer in (("other", "psp-1"), ("ledger", "psp-2")):
        assert "another ledger or producer" in str(imports.why_not_approved(APPROVED, ledger, producer))


def test_whoever_runs_it_has_the_file_that_was_approved() -> None:
    assert imports.why_no_run(APPROVED, OFFICER, False, "digest") is None
    assert imports.why_no_run(APPROVED, frozenset(), True, "digest") is None
    assert imports.why_no_run(APPROVED, NOBODY, False, "digest") == imports.NO_REQUESTER
    assert "not the file" in str(imports.why_no_run(APPROVED, OFFICER, False, "another"))
    assert "nobody approved" in str(imports.why_no_run(ASKED, OFFICER, True, "digest"))
    assert "done" in str(imports.why_no_run(replace(APPROVED, done=True), OFFICER, True, "digest"))


def test_auditors_and_officers_look() -> None:
    assert imports.why_no_look(frozenset({"auditor"}), False) is None
    assert imports.why_no_look(OFFICER, False) is None
    assert imports.why_no_look(frozenset(), True) is None
    assert imports.why_no_look(frozenset({"operator"}), False) == imports.NO_LOOK
