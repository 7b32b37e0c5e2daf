from __future__ import annotations

import pickle
from datetime import datetime

import pytest

from retention import counting, keeping
from retention.keeping import adopted, keeper
from retention.rules import RuleBook, load, load_default
from vault.core.errors import RefusedInput, UsageError
from vault.core.flags import Flag
from vault.core.keeping import Facts, Keeping

BOOK = load_default()
LISTED = sorted(BOOK.jurisdictions)
WAITING = load(
    b"""schema = 1
version = "waiting"
[[rule]]
id = "FLOOR"
jurisdiction = "*"
instrument = "floor"
minimum = "P3Y"
trigger = "decision_completed"
erase = "no"
applies = "default"
status = "verified"
[[rule]]
id = "WAIT"
jurisdiction = "SG"
instrument = "customer files"
minimum = "P5Y"
trigger = "relationship_ended"
erase = "after_all_minimums"
applies = "default"
status = "unverified"
[[rule]]
id = "ERASE"
jurisdiction = "SG"
instrument = "data protection"
minimum = "P1Y"
trigger = "record_created"
erase = "at_minimum"
applies = "optional"
status = "unverified"
[[jurisdiction]]
code = "SG"
zone = "Asia/Singapore"
"""
)


def us(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp()) * 1_000_000


def unix(text: str) -> int:
    return us(text) // 1_000_000


UNION = b"""schema = 1
version = "members"
[[rule]]
id = "FLOOR"
jurisdiction = "*"
instrument = "floor"
minimum = "P3Y"
trigger = "decision_completed"
erase = "no"
applies = "default"
status = "verified"
[[rule]]
id = "UNION"
jurisdiction = "EU"
instrument = "regulation"
minimum = "P5Y"
trigger = "decision_completed"
erase = "no"
applies = "default"
status = "verified"
[[jurisdiction]]
code = "EU"
zone = "Europe/Brussels"
[[jurisdiction]]
code = "DE"
zone = "Europe/Berlin"
parent = "EU"
"""

NOON = us("2026-01-05T12:00:00Z")


def facts(
    occurred: int = NOON,
    *codes: str,
    received: int | None = None,
    executed: int | None = None,
    dates_trigger: bool = False,
) -> Facts:
    arrived = occurred if received is None else received
    return Facts(occurred, arrived, executed, codes, "payment", dates_trigger)


def keep(what: Facts, *ledger: str, opted: tuple[str, ...] = (), book: RuleBook = BOOK) -> Keeping:
    return keeper(book, ledger_jurisdictions=ledger, opted_in=opted)(what)


def test_the_floor_alone() -> None:
    answer = keep(facts(us("2024-02-29T17:30:00Z"), "CN"), "CN")
    assert answer == Keeping(unix("2027-03-01T16:00:00Z"), "2027-03.0", ("PROD-3Y",), None, Flag(0))


def test_the_group_is_the_utc_month_of_the_first_eligible_instant() -> None:
    # The last day is 31 January in Shanghai, over while it is still January in UTC.
    assert keep(facts(us("2026-01-31T03:00:00Z"), "CN"), "CN").group == "2029-01.0"
    assert keep(facts(us("2026-01-31T13:00:00Z"), "US"), "US").group == "2029-02.0"


def test_the_floor_counts_in_the_zone_that_ends_latest() -> None:
    shanghai = keep(facts(NOON, "CN"), "CN").keep_until
    both = keep(facts(NOON, "CN", "US"), "CN")
    assert both.keep_until == keep(facts(NOON, "US"), "US").keep_until
    assert both.keep_until is not None
    assert shanghai is not None
    assert both.keep_until > shanghai
    assert keep(facts(NOON, "CN"), "CN", "US").keep_until == both.keep_until


def test_an_old_decision_is_kept_for_the_floor_after_it_came_in() -> None:
    answer = keep(facts(us("2001-01-01T00:00:00Z"), "CN", received=us("2026-03-03T08:00:00Z")), "CN")
    assert answer.keep_until == unix("2029-03-03T16:00:00Z")


def test_executed_at_starts_the_transaction_period() -> None:
    late = facts(NOON, "CN", executed=us("2026-02-05T12:00:00Z"))
    answer = keep(late, "CN", opted=("CN-AML-34",))
    assert answer == Keeping(unix("2036-02-05T16:00:00Z"), "2036-02.0", ("CN-AML-34", "PROD-3Y"), None, Flag(0))


def test_an_execution_before_its_decision_shortens_nothing() -> None:
    early = facts(NOON, "CN", executed=us("2016-02-05T12:00:00Z"))
    assert (
        keep(early, "CN", opted=("CN-AML-34",)).keep_until
        == keep(facts(NOON, "CN"), "CN", opted=("CN-AML-34",)).keep_until
    )


def test_without_executed_at_the_decision_is_presumed_and_flagged() -> None:
    answer = keep(facts(NOON, "CN"), "CN", opted=("CN-AML-34",))
    assert answer.keep_until == unix("2036-01-05T16:00:00Z")
    assert answer.flags == Flag.TRANSACTION_PRESUMED
    assert keep(facts(NOON, "CN"), "CN", opted=("EU-PSD2-21",)).flags == Flag(0)  # no rule of it asked


def test_a_year_end_rule_counts_from_the_end_of_the_transaction_year() -> None:
    done = facts(us("2026-12-30T09:00:00Z"), "DE", executed=us("2027-01-02T09:00:00Z"))
    assert keep(done, "DE", opted=("DE-HGB-257",)).keep_until == unix("2035-12-31T23:00:00Z")


def test_a_rule_counts_in_its_own_zone_and_in_those_of_its_members() -> None:
    lisbon = load(UNION.replace(b'"DE"', b'"PT"').replace(b"Europe/Berlin", b"Europe/Lisbon"))
    assert keep(facts(NOON, "PT"), "PT", book=lisbon).keep_until == unix("2031-01-06T00:00:00Z")
    assert keep(facts(NOON, "EU"), "EU", book=lisbon).keep_until == unix("2031-01-05T23:00:00Z")


def test_a_member_meets_the_defaults_of_its_parent() -> None:
    book = load(UNION)
    assert keep(facts(NOON, "DE"), "DE", book=book).rules == ("FLOOR", "UNION")
    assert keep(facts(NOON, "US"), "US", book=book).rules == ("FLOOR",)


def test_defaults_of_the_record_and_of_the_ledger_both_apply() -> None:
    assert keep(facts(NOON, "SG"), "CN").rules == ("PROD-3Y", "SG-PDPA-25")
    assert keep(facts(NOON, "CN"), "SG").rules == ("PROD-3Y", "SG-PDPA-25")


def test_an_opted_in_rule_applies_to_every_record_of_the_ledger() -> None:
    answer = keep(facts(NOON, "CN"), "CN", opted=("US-OFAC-601",))
    assert answer.rules == ("PROD-3Y", "US-OFAC-601")
    assert answer.keep_until == unix("2036-01-06T10:00:00Z")  # in Honolulu, the rule's own zone


def test_erasure_after_all_minimums_is_due_when_the_keeping_ends() -> None:
    answer = keep(facts(NOON, "SG"), "SG", opted=("SG-CDSA-36",))
    assert answer.erase_by == answer.keep_until == unix("2031-01-05T16:00:00Z")
    assert Flag.ERASURE_CONFLICT not in answer.flags


def test_erasure_at_minimum_alone_is_no_conflict() -> None:
    answer = keep(facts(NOON, "GB"), "GB", opted=("GB-MLR-40",))
    assert answer.erase_by == answer.keep_until
    assert Flag.ERASURE_CONFLICT not in answer.flags


def test_erasure_demanded_before_another_rule_ends_is_a_conflict() -> None:
    answer = keep(facts(NOON, "GB"), "GB", opted=("GB-MLR-40", "US-OFAC-601"))
    assert answer.erase_by == unix("2031-01-06T00:00:00Z")
    assert answer.keep_until == unix("2036-01-06T10:00:00Z")
    assert Flag.ERASURE_CONFLICT in answer.flags


def test_a_period_that_waits_leaves_the_record_open() -> None:
    answer = keep(facts(NOON, "SG"), "SG", book=WAITING)
    assert answer == Keeping(None, "open.0", ("FLOOR", "WAIT"), None, Flag.OPEN_ENDED)


def test_a_dated_erasure_of_an_open_record_is_a_conflict() -> None:
    answer = keep(facts(NOON, "SG"), "SG", opted=("ERASE",), book=WAITING)
    assert answer.erase_by == unix("2027-01-05T16:00:00Z")
    assert answer.flags == Flag.OPEN_ENDED | Flag.ERASURE_CONFLICT


def test_a_record_that_reports_the_awaited_event_is_dated_by_it() -> None:
    answer = keep(facts(NOON, "SG", dates_trigger=True), "SG", book=WAITING)
    assert answer.keep_until == answer.erase_by == unix("2031-01-05T16:00:00Z")
    assert answer.group == "2031-01.0"
    assert answer.flags == Flag(0)


@pytest.mark.parametrize(("codes", "ledger"), [(("BR",), ("CN",)), (("CN",), ("BR",)), ((), ())])
def test_an_unlisted_code_gets_the_floor_and_the_flag(codes: tuple[str, ...], ledger: tuple[str, ...]) -> None:
    answer = keep(facts(NOON, *codes), *ledger)
    assert answer.rules == ("PROD-3Y",)
    assert answer.flags == Flag.UNCONFIGURED_JURISDICTION
    # 5 January at noon UTC is already the 6th at UTC+14; the 6th ends last at UTC-12.
    assert answer.keep_until == unix("2029-01-07T12:00:00Z")


def test_the_worst_year_is_refused_with_the_path_of_its_trigger() -> None:
    last = us("9999-12-31T23:00:00Z")
    with pytest.raises(RefusedInput) as error:
        keep(facts(last, "CN", received=NOON), "CN")
    assert error.value.path == "$.occurred_at"
    with pytest.raises(RefusedInput) as error:
        keep(facts(NOON, "CN", executed=us("9996-06-01T00:00:00Z")), "CN", opted=("CN-AML-34",))
    assert error.value.path == "$.decision.executed_at"
    with pytest.raises(RefusedInput) as error:
        keep(facts(NOON, "CN", received=10**22), "CN")
    assert error.value.path == "$"
    with pytest.raises(RefusedInput) as error:
        keep(facts(us("9990-06-01T00:00:00Z"), "CN", received=NOON), "CN", opted=("CN-AML-34",))
    assert error.value.path == "$.occurred_at"


@pytest.mark.parametrize("occurred", [-62_135_596_800_000_000, -62_135_596_800_000_001, -(10**20)])
def test_the_first_years_are_kept_for_the_floor_after_they_came_in(occurred: int) -> None:
    answer = keep(facts(occurred, "US", received=NOON), "US")
    assert answer.keep_until == keep(facts(NOON, "US"), "US").keep_until


@pytest.mark.parametrize("ledger", [("cn",), ("CHN",), ("",), ("*",), ("CN", "C1")])
def test_a_ledger_for_no_code_is_a_usage_error(ledger: tuple[str, ...]) -> None:
    with pytest.raises(UsageError):
        keeper(BOOK, ledger_jurisdictions=ledger, opted_in=())
    with pytest.raises(UsageError):
        adopted(BOOK, ledger, ())


def test_opting_into_a_rule_that_does_not_exist_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="CN-AML-99"):
        keeper(BOOK, ledger_jurisdictions=("CN",), opted_in=("CN-AML-34", "CN-AML-99"))
    with pytest.raises(UsageError, match="CN-AML-99"):
        adopted(BOOK, ("CN",), ("CN-AML-99",))


def test_adopted_and_left_out_are_the_whole_book_each_with_its_reason() -> None:
    taken, left = adopted(BOOK, ("CN",), ("CN-AML-34",))
    assert [rule.id for rule in taken] == ["PROD-3Y", "CN-AML-34"]
    reasons = {rule.id: reason for rule, reason in left}
    assert reasons["CN-ECOM-31"] == "optional, and the ledger did not opt in"
    assert reasons["SG-PDPA-25"] == "applies only to records that name SG"
    assert reasons["US-OFAC-601"] == "optional, and the ledger is not of US"
    assert len(taken) + len(left) == len(BOOK.rules)
    by_parent = {rule.id: reason for rule, reason in adopted(BOOK, ("DE",), ()).not_adopted}
    assert by_parent["EU-PSD2-21"] == "optional, and the ledger did not opt in"


def test_the_adopted_rules_are_those_that_a_record_of_the_ledger_meets() -> None:
    for ledger in ((code,) for code in LISTED):
        for opted in ((), ("US-OFAC-601", "EU-AMLR-77")):
            ids = tuple(sorted(rule.id for rule in adopted(BOOK, ledger, opted).adopted))
            assert keep(facts(NOON, *ledger), *ledger, opted=opted).rules == ids


def test_a_keeper_travels_to_a_sealing_process() -> None:
    ours = keeper(BOOK, ledger_jurisdictions=("CN", "US"), opted_in=("CN-AML-34",))
    before = ours(facts(NOON, "CN"))
    theirs = pickle.loads(pickle.dumps(ours))  # noqa: S301 (our own bytes, made on this line)
    assert theirs(facts(NOON, "CN")) == before


def test_a_full_memo_starts_afresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_REMEMBERED", 3)
    monkeypatch.setattr(keeping, "_PLANS", 2)
    memo: dict[int, int] = {}
    for number in range(10):
        assert counting.remember(memo, number, -number, 3) == -number
        assert memo[number] == -number
        assert len(memo) <= 3
    small = keeper(BOOK, ledger_jurisdictions=("CN",), opted_in=())
    for hours in range(100):
        what = facts(NOON + hours * 3_600_000_000, LISTED[hours % 5])
        assert small(what) == keep(what, "CN")
