"""What holds for every record: never below the floor, never shorter by more, and the memo changes nothing."""

from __future__ import annotations

from calendar import monthrange
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo, available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from retention.keeping import keeper
from retention.period import Period, end_of_period, first_instant_after, local_date
from retention.rules import load, load_default
from vault.core.flags import Flag
from vault.core.keeping import Facts, Keeping

BOOK = load_default()
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LISTED = sorted(BOOK.jurisdictions)
OPTIONAL = [rule.id for rule in BOOK.rules.values() if rule.applies == "optional"]
MONTHS = {"P0D": 0, "P6M": 6, "P25M": 25, **{f"P{years}Y": 12 * years for years in range(1, 11)}}

QUARTER_US = 900_000_000
instants = st.integers(365 * 96, 96 * 365 * 120).flatmap(
    # to the microsecond, and often right at a quarter hour, where dates change
    lambda quarter: (
        st.integers(0, QUARTER_US - 1).map(lambda rest: quarter * QUARTER_US + rest)
        | st.sampled_from([-1_000_000, -1, 0, 1]).map(lambda rest: quarter * QUARTER_US + rest)
    )
)
codes = st.lists(st.sampled_from([*LISTED, "BR", "NZ"]), max_size=4, unique=True).map(tuple)
opted = st.lists(st.sampled_from(OPTIONAL), max_size=5, unique=True).map(tuple)
records = st.builds(Facts, instants, instants, st.none() | instants, codes, st.just("payment"), st.booleans())


def keep(facts: Facts, ledger: tuple[str, ...], chosen: tuple[str, ...]) -> Keeping:
    return keeper(BOOK, ledger_jurisdictions=ledger, opted_in=chosen)(facts)


def dated(facts: Facts, ledger: tuple[str, ...], chosen: tuple[str, ...]) -> int:
    until = keep(facts, ledger, chosen).keep_until
    assert until is not None
    return until


@given(records, codes, opted)
def test_it_is_what_counting_by_hand_gives(facts: Facts, ledger: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    concerned = {*ledger, *facts.jurisdictions}
    known = concerned & set(LISTED)
    everywhere = [(BOOK.zone_of(code), BOOK.zone_of(code)) for code in known]
    if known != concerned or not concerned:
        everywhere.append((ZoneInfo("Etc/GMT-14"), ZoneInfo("Etc/GMT+12")))
    done = max(facts.occurred_at_us, facts.executed_at_us or facts.occurred_at_us)
    starts = {
        "decision_completed": facts.occurred_at_us,
        "record_created": facts.received_at_us,
        "log_created": facts.received_at_us,
        "transaction_completed": done,
        "calendar_year_end": done,
    }
    ends = [count(facts.received_at_us, "P3Y", *place) for place in everywhere]
    for rule in BOOK.rules.values():
        members = [code for code in known if rule.jurisdiction in BOOK.lineage(code)]
        if rule.id not in chosen and (rule.applies == "optional" or not (members or rule.jurisdiction == "*")):
            continue
        places = everywhere
        if rule.jurisdiction != "*":
            places = [(BOOK.zone_of(code),) * 2 for code in (rule.jurisdiction, *members)]
        to_year_end = rule.trigger == "calendar_year_end"
        ends += [count(starts[rule.trigger], rule.minimum, *place, to_year_end) for place in places]
    assert dated(facts, ledger, chosen) == max(ends)


def count(us: int, minimum: str, begins: ZoneInfo, ends: ZoneInfo, to_year_end: bool = False) -> int:
    """The counting rule written another way; no zone of the book changes its clocks at midnight."""
    day = (EPOCH + timedelta(microseconds=us)).astimezone(begins).date()
    if to_year_end:
        day = date(day.year + 1, 1, 1) - timedelta(days=1)
    month = day.year * 12 + day.month - 1 + MONTHS[minimum]
    year, month = month // 12, month % 12 + 1
    last = date(year, month, min(day.day, monthrange(year, month)[1]))
    return int((datetime(last.year, last.month, last.day, tzinfo=ends) + timedelta(days=1)).timestamp())


@given(
    records,
    codes,
    opted,
    st.integers(0, 400 * 86_400_000_000),
    st.sampled_from(["occurred", "received", "executed"]),
)
def test_a_later_trigger_never_shortens(
    facts: Facts, ledger: tuple[str, ...], chosen: tuple[str, ...], later: int, trigger: str
) -> None:
    if trigger == "occurred":
        after = facts._replace(occurred_at_us=facts.occurred_at_us + later)
    elif trigger == "received":
        after = facts._replace(received_at_us=facts.received_at_us + later)
    else:
        facts = facts._replace(executed_at_us=facts.executed_at_us or facts.occurred_at_us)
        after = facts._replace(executed_at_us=(facts.executed_at_us or 0) + later)
    assert dated(after, ledger, chosen) >= dated(facts, ledger, chosen)


@given(records, codes, codes, opted, st.sampled_from(OPTIONAL))
def test_one_more_jurisdiction_or_rule_never_shortens(
    facts: Facts, ledger: tuple[str, ...], more: tuple[str, ...], chosen: tuple[str, ...], rule: str
) -> None:
    if not (ledger or facts.jurisdictions):
        ledger = ("CN",)  # a record of nowhere counts as of an unlisted code, the longest floor there is
    before = dated(facts, ledger, chosen)
    assert dated(facts, (*ledger, *more), chosen) >= before
    assert dated(facts._replace(jurisdictions=(*facts.jurisdictions, *more)), ledger, chosen) >= before
    assert dated(facts, ledger, (*chosen, rule)) >= before


@given(records, codes, opted)
def test_nothing_is_due_before_the_floor(facts: Facts, ledger: tuple[str, ...], chosen: tuple[str, ...]) -> None:
    until = EPOCH + timedelta(seconds=dated(facts, ledger, chosen))
    for code in {*ledger, *facts.jurisdictions} & set(LISTED):
        for us in (facts.occurred_at_us, facts.received_at_us):
            moment = (EPOCH + timedelta(microseconds=us)).astimezone(BOOK.zone_of(code)).replace(tzinfo=None)
            leap_day = moment.month == 2 and moment.day == 29
            earliest = moment.replace(year=moment.year + 3, day=28 if leap_day else moment.day)
            assert until.astimezone(BOOK.zone_of(code)).replace(tzinfo=None) > earliest


@given(records, codes, opted)
def test_erasure_never_comes_after_the_keeping_unless_open(
    facts: Facts, ledger: tuple[str, ...], chosen: tuple[str, ...]
) -> None:
    answer = keep(facts, ledger, chosen)
    assert answer.keep_until is not None
    assert answer.erase_by is None or answer.erase_by <= answer.keep_until
    early = answer.erase_by is not None and answer.erase_by < answer.keep_until
    assert early == (Flag.ERASURE_CONFLICT in answer.flags)
    assert answer.group == f"{EPOCH + timedelta(seconds=answer.keep_until):%Y-%m}.0"


@settings(max_examples=30)
@given(
    st.lists(records, min_size=2, max_size=12),
    st.lists(st.integers(-1_800_000_000, 1_800_000_000), max_size=12),
)
def test_the_memo_changes_nothing(some: list[Facts], nudges: list[int]) -> None:
    near = [
        facts._replace(occurred_at_us=facts.occurred_at_us + by, received_at_us=facts.received_at_us - by)
        for facts in some
        for by in nudges
    ]
    shared = keeper(BOOK, ledger_jurisdictions=("CN", "GB"), opted_in=("EU-AIA-19", "DE-HGB-257"))
    for facts in [*some, *near, *some]:
        assert shared(facts) == keep(facts, ("CN", "GB"), ("EU-AIA-19", "DE-HGB-257"))


@pytest.mark.parametrize("name", ["America/St_Johns", "Africa/Monrovia", "America/Toronto", "Pacific/Apia"])
def test_the_memo_changes_nothing_where_days_do_not_end_on_a_quarter_hour(name: str) -> None:
    where = ZoneInfo(name)
    shared = keeper(load(_book_for(name)), ledger_jurisdictions=("XA",), opted_in=())
    for day in (date(1919, 3, 30), date(1971, 5, 1), date(1987, 10, 24), date(2011, 12, 29)):
        midnight = first_instant_after(day, where)
        for second in range(midnight - 3600, midnight + 3600, 30):
            last_day = end_of_period(local_date(second, where), Period.parse("P3Y"))
            facts = Facts(second * 1_000_000, second * 1_000_000, None, ("XA",), "payment")
            assert shared(facts).keep_until == first_instant_after(last_day, where)


@given(instants, st.sampled_from(sorted(available_timezones())))
def test_no_zone_of_the_world_keeps_longer_than_an_unlisted_code(us: int, name: str) -> None:
    facts = Facts(us, us, None, (), "payment")
    there = keeper(load(_book_for(name)), ledger_jurisdictions=("XA",), opted_in=())(facts)
    unlisted = dated(facts, ("XB",), ())
    assert there.keep_until is not None
    assert there.keep_until <= unlisted
    assert unlisted - there.keep_until <= 60 * 3600


def _book_for(zone: str) -> bytes:
    return f"""schema = 1
version = "one-zone"
[[rule]]
id = "FLOOR"
jurisdiction = "*"
instrument = "floor"
minimum = "P3Y"
trigger = "decision_completed"
erase = "no"
applies = "default"
status = "verified"
[[jurisdiction]]
code = "XA"
zone = "{zone}"
""".encode()
