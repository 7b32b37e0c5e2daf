"""What an error says over HTTP where it names more than its kind."""

from __future__ import annotations

from service import problems
from vault.core.errors import Forked, LedgerFrozen


def test_a_frozen_ledger_names_the_one_that_goes_on() -> None:
    """A client keeps its records and tries again: 503, never a refusal that would make it let go of them."""
    told, again = problems.of_error(LedgerFrozen("cn-2", "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"))
    assert (told.status, told.code, again) == (503, "frozen", 60)
    assert told.detail == "this ledger is frozen, since it lost entries: use ledger cn-2"


def test_other_evidence_says_nothing_to_strangers() -> None:
    told, _ = problems.of_error(Forked("the database is behind its checkpoint of size 21", "a uuid"))
    assert (told.status, told.code) == (503, "")
    assert "21" not in told.detail
