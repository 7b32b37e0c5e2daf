"""The retention section of an evidence report: books in force, rules of earlier ones, holds' and requests' counts."""

from __future__ import annotations

from pathlib import Path
from zoneinfo import ZoneInfo

from reports.retaining import retention
from reports.statistics import PopulationCount
from retention import adoption, dating
from service import wiring
from tests.support.acting import hire
from tests.support.books import book
from tests.support.decisions import decision, spelled
from tests.support.evidence import collect
from tests.support.vault import RECORDS, Installation
from vault import intake, ledgers

NEWER = book("2027-01", {"PROD-3Y": {"minimum": "P7Y", "status": "secondary"}}, without=["SG-PDPA-25"])


def test_books_in_force_and_rules_of_earlier_ones(installation: Installation, tmp_path: Path) -> None:
    before = collect(installation, tmp_path / "before").report.retention
    assert [(one.version, one.records) for one in before.books] == [("2026-11", RECORDS["cn"])]
    assert (before.asked, before.dated, before.holds) == (0, 0, ())
    with installation.opened() as vault:
        adoption.propose(vault.acting(hire(vault, "olga", "officer")), NEWER)
        adoption.adopt(vault.acting(hire(vault, "olaf", "officer")), NEWER)
        follow_up = decision(901, relates_to=[{"kind": "dates", "id": "dec-1"}])
        for _batch in intake.ingest(vault, ledgers.get(vault, "cn"), [(1, spelled(follow_up))], "psp-1"):
            pass
        assert dating.date_all(vault)["dated"] == 1
    after = collect(installation, tmp_path / "after").report.retention
    assert [(one.version, one.records) for one in after.books] == [("2026-11", RECORDS["cn"]), ("2027-01", 1)]
    assert (after.rulebook_version, after.dated) == ("2027-01", 1)
    rules = {one.rule_id: one for one in after.rules}
    assert (rules["PROD-3Y"].minimum, rules["PROD-3Y"].status) == ("P7Y", "secondary")
    # Records were written under a rule that the book in force has no more.
    dropped = rules["SG-PDPA-25"]
    assert dropped.adopted
    assert dropped.records > 0
    assert dropped.reason == "of rule book 2026-11, for what was written under it"


def test_a_rule_that_goes_on_for_the_ledger_is_listed(installation: Installation) -> None:
    with installation.opened() as vault:
        ledger = ledgers.create(vault, "aml", ("CN",), ("CN-AML-34",))
        without = book("no-aml", without=["CN-AML-34"])
        adoption.propose(vault.acting(hire(vault, "olga", "officer")), without)
        adoption.adopt(vault.acting(hire(vault, "olaf", "officer")), without)
        made = retention(
            vault, ledger, wiring.rule_book(vault), PopulationCount(zone=ZoneInfo("Asia/Shanghai"), opened=False)
        )
    (found,) = [one for one in made.rules if one.rule_id == "CN-AML-34"]
    assert found.adopted
    assert found.reason == "of rule book 2026-11, for this ledger"
