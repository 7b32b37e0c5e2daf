"""Effective dates: what later books and datings do to what a leaf froze, and that nothing is ever due sooner."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from retention.history import Dating
from retention.keeping import carried, keeper
from retention.period import Period
from retention.reckoning import Effect, Reckoning
from retention.rules import RuleBook, load_default
from tests.support.books import loaded
from tests.support.decisions import decision, spelled
from vault.core import leaf
from vault.core.canonical import b64
from vault.core.errors import Missing, UsageError
from vault.core.facets import Facets
from vault.core.flags import Flag
from vault.core.keeping import Facts, Keeping
from vault.core.leaf import EventLeaf, RecordLeaf, instant, instant_ms, microseconds
from vault.core.parse import parse
from vault.core.record import Record
from vault.sealing import facets_of

LEDGER = UUID(int=7)
OLD = load_default()
RELATION = {"id": "CN-REL", "jurisdiction": "CN", "minimum": "P5Y", "trigger": "relationship_ended"}


def us(moment: str) -> int:
    return round(datetime.fromisoformat(moment).astimezone(UTC).timestamp() * 1_000_000)


def utc(seconds: int | None) -> str | None:
    return None if seconds is None else instant(seconds)


class Written:
    """A record as intake writes it under the first of some books."""

    def __init__(
        self,
        book: RuleBook,
        jurisdictions: tuple[str, ...] = ("CN",),
        opted_in: tuple[str, ...] = (),
        *,
        occurred: str = "2026-01-05T10:00:00+08:00",
        received: str = "2026-01-05T03:00:00+00:00",
        imported: bool = False,
        **changes: Any,
    ) -> None:
        raw = spelled(decision(1, occurred_at=occurred, jurisdictions=list(jurisdictions), **changes))
        parsed = parse(raw, now_us=us(received), default_threshold=0.5)
        self.record: Record = parsed.record
        executed = self.record.decision.executed_at
        facts = Facts(
            us(occurred),
            us(occurred) if imported else us(received),
            None if executed is None else us(executed.isoformat()),
            tuple(self.record.jurisdictions),
            self.record.record_class,
            any(one.kind == "dates" for one in self.record.relates_to or ()),
        )
        self.keeping: Keeping = keeper(book, ledger_jurisdictions=jurisdictions, opted_in=opted_in)(facts)
        self.columns: Facets = facets_of(parsed, int(self.keeping.flags) | (Flag.IMPORTED if imported else 0))
        draft = leaf.record_draft(
            facets=bytes(32),
            group=self.keeping.group,
            id_tag=bytes(16),
            keep_until=self.keeping.keep_until,
            key=bytes(32),
            ledger=LEDGER,
            parts=(bytes(32),),
            plaintext=bytes(32),
            producer="psp-1",
            producer_seq=1,
            received_at=instant_ms(us(received)),
            rulebook=book.digest,
            rules=self.keeping.rules,
        )
        found = leaf.parse(draft.at(1, bytes(32)))
        assert isinstance(found, RecordLeaf)
        self.leaf = found
        self.terms = (jurisdictions, opted_in)

    def reckoned(self, *books: RuleBook, told: tuple[tuple[str, str], ...] = ()) -> Effect:
        datings = {1: tuple(Dating(name, us(at), 9, 0) for name, at in told)} if told else {}
        return Reckoning(books, *self.terms, datings).of_record(self.leaf, self.columns, self.record)


def test_alone_it_is_what_the_leaf_froze() -> None:
    written = Written(OLD)
    effect = written.reckoned(OLD)
    assert utc(effect.keep_until) == written.leaf.keep_until == "2029-01-05T16:00:00Z"
    assert (effect.book, effect.rulebook, effect.rules) == ("2026-11", OLD.digest, ("PROD-3Y",))
    assert not effect.conflict
    assert effect.erase_by is None
    assert dict(effect.triggers) == {
        "decision_completed": us("2026-01-05T10:00:00+08:00"),
        "record_created": us("2026-01-05T03:00:00+00:00"),
    }


def test_a_book_adopted_later_lengthens_what_is_kept() -> None:
    longer = loaded("2027-01", {"PROD-3Y": {"minimum": "P7Y"}})
    effect = Written(OLD).reckoned(OLD, longer)
    assert utc(effect.keep_until) == "2033-01-05T16:00:00Z"
    assert (effect.book, effect.rulebook) == ("2027-01", longer.digest)


def test_a_reduction_shortens_nothing_that_is_kept() -> None:
    longer = loaded("long", {"PROD-3Y": {"minimum": "P7Y"}})
    shorter = loaded("short", {"PROD-3Y": {"minimum": "P3Y"}})
    effect = Written(longer).reckoned(longer, shorter)
    assert utc(effect.keep_until) == "2033-01-05T16:00:00Z"
    assert effect.book == "long"


def test_a_book_from_before_the_leaf_does_not_count() -> None:
    longer = loaded("long", {"PROD-3Y": {"minimum": "P7Y"}})
    assert utc(Written(OLD).reckoned(longer, OLD).keep_until) == "2029-01-05T16:00:00Z"


def test_a_default_rule_that_is_added_reaches_what_is_kept_of_its_jurisdiction() -> None:
    added = loaded("more", added=[{"id": "CN-NEW", "jurisdiction": "CN", "minimum": "P6Y", "applies": "default"}])
    assert utc(Written(OLD).reckoned(OLD, added).keep_until) == "2032-01-05T16:00:00Z"
    assert Written(OLD).reckoned(OLD, added).rules == ("CN-NEW", "PROD-3Y")
    sg = Written(OLD, ("SG",))
    assert utc(sg.reckoned(OLD, added).keep_until) == sg.leaf.keep_until


def test_a_rule_counts_for_decisions_of_its_time() -> None:
    """By the local date of the decision: 5 January in China."""

    def under(**dates: date) -> str | None:
        rule = {"id": "CN-NEW", "jurisdiction": "CN", "minimum": "P6Y", "applies": "default"} | dates
        return utc(Written(OLD).reckoned(OLD, loaded("new", added=[rule])).keep_until)

    with_it, without = "2032-01-05T16:00:00Z", "2029-01-05T16:00:00Z"
    assert under(effective_from=date(2026, 1, 5)) == with_it
    assert under(effective_from=date(2026, 1, 6)) == without
    assert under(effective_until=date(2026, 1, 6)) == with_it
    assert under(effective_until=date(2026, 1, 5)) == without
    assert under(effective_from=date(2025, 1, 1), effective_until=date(2027, 1, 1)) == with_it


def test_a_rule_out_of_its_time_waits_for_nothing_and_stands_in_no_leaf() -> None:
    rule = RELATION | {"applies": "default", "effective_from": date(2027, 1, 1)}
    written = Written(loaded("new", added=[rule]))
    assert written.keeping.rules == ("PROD-3Y",)
    assert written.leaf.keep_until == "2029-01-05T16:00:00Z"


def test_a_rule_that_waits_makes_what_is_kept_open_ended_until_it_is_told() -> None:
    waits = loaded("waits", added=[RELATION | {"applies": "default"}])
    assert Written(OLD).reckoned(OLD, waits).keep_until is None
    told = Written(OLD).reckoned(OLD, waits, told=(("relationship_ended", "2030-06-30T23:00:00+08:00"),))
    assert utc(told.keep_until) == "2035-06-30T16:00:00Z"
    assert dict(told.triggers)["relationship_ended"] == us("2030-06-30T23:00:00+08:00")


def test_an_open_record_is_dated_by_what_was_told_and_never_below_its_floor() -> None:
    waits = loaded("waits", added=[RELATION])
    written = Written(waits, opted_in=("CN-REL",))
    assert written.leaf.keep_until is msgspec.UNSET
    assert written.reckoned(waits).keep_until is None
    assert written.reckoned(waits, told=(("transaction_completed", "2040-01-01T00:00:00Z"),)).keep_until is None
    ended = written.reckoned(waits, told=(("relationship_ended", "2026-02-01T00:00:00+08:00"),))
    assert utc(ended.keep_until) == "2031-02-01T16:00:00Z"
    # An end from before the decision counts from the decision.
    early = written.reckoned(waits, told=(("relationship_ended", "2001-02-01T00:00:00+08:00"),))
    assert utc(early.keep_until) == "2031-01-05T16:00:00Z"


def test_the_latest_report_counts() -> None:
    waits = loaded("waits", added=[RELATION])
    told = tuple(("relationship_ended", f"{year}-06-30T12:00:00+08:00") for year in (2027, 2029, 2028))
    effect = Written(waits, opted_in=("CN-REL",)).reckoned(waits, told=told)
    assert utc(effect.keep_until) == "2034-06-30T16:00:00Z"


@pytest.mark.parametrize(
    ("trigger", "at", "keep_until"),
    [
        ("transaction_completed", "2026-03-01T00:00:00+08:00", "2036-03-01T16:00:00Z"),
        ("transaction_completed", "2025-03-01T00:00:00+08:00", "2036-01-05T16:00:00Z"),
        ("relationship_ended", "2029-03-01T00:00:00+08:00", "2036-01-05T16:00:00Z"),
    ],
)
def test_a_transaction_that_is_told_later_only_lengthens(trigger: str, at: str, keep_until: str) -> None:
    written = Written(OLD, opted_in=("CN-AML-34",))
    assert written.leaf.keep_until == "2036-01-05T16:00:00Z"
    assert utc(written.reckoned(OLD, told=((trigger, at),)).keep_until) == keep_until


def test_a_year_end_that_is_told_later_only_lengthens() -> None:
    written = Written(OLD, ("DE",), ("DE-HGB-257",))
    assert written.leaf.keep_until == "2034-12-31T23:00:00Z"
    told = (("calendar_year_end", "2027-05-01T00:00:00Z"),)
    assert utc(written.reckoned(OLD, told=told).keep_until) == "2035-12-31T23:00:00Z"
    moved = (("transaction_completed", "2028-05-01T00:00:00Z"),)
    assert utc(written.reckoned(OLD, told=moved).keep_until) == "2036-12-31T23:00:00Z"


def test_a_rule_lengthened_one_day_before_expiry_keeps() -> None:
    """Nothing is asked about the day: a book counts for whatever is there when somebody plans."""
    longer = loaded("2029-01-04", {"PROD-3Y": {"minimum": "P3Y1D"}})
    assert utc(Written(OLD).reckoned(OLD, longer).keep_until) == "2029-01-06T16:00:00Z"


def test_an_imported_record_counts_its_own_day_as_that_of_its_receipt() -> None:
    old: dict[str, Any] = {"occurred": "2016-02-29T17:30:00+00:00", "received": "2026-01-05T03:00:00+00:00"}
    assert utc(Written(OLD, **old, imported=True).reckoned(OLD).keep_until) == "2019-03-01T16:00:00Z"
    assert utc(Written(OLD, **old).reckoned(OLD).keep_until) == "2029-01-05T16:00:00Z"
    longer = loaded("long", {"PROD-3Y": {"minimum": "P12Y"}})
    assert utc(Written(OLD, **old, imported=True).reckoned(OLD, longer).keep_until) == "2028-03-01T16:00:00Z"


VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "retention-dates.json").read_text("utf-8"))
ZONES = {one.zone: code for code, one in OLD.jurisdictions.items() if code != "EU"}
LONG = [
    one
    for group in VECTORS["sets"]
    for one in group["vectors"]
    if one["zone"] in ZONES and Period.parse(one["minimum"]).months >= 36 and one["event"] < "2031"
]


@pytest.mark.parametrize("vector", LONG, ids=lambda one: f"{one['event']} {one['zone']} {one['minimum']}")
def test_records_of_years_ago_become_due_by_the_calendar(vector: dict[str, str]) -> None:
    """Imported under a rule like the vector's, and adopted after they were written."""
    code = ZONES[vector["zone"]]
    rule = {"id": "V", "jurisdiction": code, "minimum": vector["minimum"], "applies": "default"}
    book = loaded("v", added=[rule | {"trigger": vector.get("trigger", "decision_completed")}])
    facts: dict[str, Any] = {"occurred": vector["event"], "received": "2032-01-01T00:00:00+00:00", "imported": True}
    assert utc(Written(book, (code,), **facts).reckoned(book).keep_until) == vector["eligible"]
    assert utc(Written(OLD, (code,), **facts).reckoned(OLD, book).keep_until) == vector["eligible"]


def test_a_report_never_ends_before_what_the_leaf_froze() -> None:
    """Zone data may say otherwise by then."""
    written = Written(OLD)
    written.leaf = msgspec.structs.replace(written.leaf, keep_until="2030-01-01T00:00:00Z")
    told = (("transaction_completed", "2026-02-01T00:00:00Z"),)
    assert utc(written.reckoned(OLD, told=told).keep_until) == "2030-01-01T00:00:00Z"


def test_duties_to_erase_are_the_earliest_and_conflict_is_told() -> None:
    written = Written(OLD, ("CN", "DE"), ("CN-AML-34", "EU-AMLR-77"))
    effect = written.reckoned(OLD)
    assert utc(effect.keep_until) == "2036-01-05T16:00:00Z"
    assert utc(effect.erase_by) == "2031-01-05T23:00:00Z"
    assert effect.conflict
    alone = Written(OLD, ("DE",), ("EU-AMLR-77",))
    assert (alone.reckoned(OLD).erase_by, alone.reckoned(OLD).conflict) == (alone.reckoned(OLD).keep_until, False)
    # A newer book that keeps longer brings the old duty into conflict.
    longer = loaded("long", {"PROD-3Y": {"minimum": "P7Y"}})
    assert alone.reckoned(OLD, longer).conflict


def test_erasing_after_all_minimums_follows_what_was_lengthened() -> None:
    longer = loaded("long", {"PROD-3Y": {"minimum": "P7Y"}})
    effect = Written(OLD, ("SG",)).reckoned(OLD, longer)
    assert effect.erase_by == effect.keep_until
    assert not effect.conflict


def test_an_open_record_conflicts_with_any_duty_to_erase() -> None:
    waits = loaded("waits", added=[RELATION])
    effect = Written(waits, ("CN", "DE"), ("CN-REL", "EU-AMLR-77")).reckoned(waits)
    assert effect.keep_until is None
    assert effect.conflict


def test_a_rule_that_the_ledger_opted_into_goes_on_where_a_newer_book_leaves_it_out() -> None:
    newer = loaded("newer", without=["CN-AML-34"])
    full = carried((OLD, newer), ("CN-AML-34",))
    assert (full.version, full.digest) == ("newer", newer.digest)
    assert Written(full, opted_in=("CN-AML-34",)).leaf.keep_until == "2036-01-05T16:00:00Z"
    written = Written(OLD, opted_in=("CN-AML-34",))
    assert utc(written.reckoned(OLD, newer).keep_until) == "2036-01-05T16:00:00Z"
    # Whoever did not opt in has nothing of it.
    assert carried((OLD, newer), ()) is newer


def test_a_rule_whose_jurisdiction_is_gone_too_is_carried_with_its_zone() -> None:
    newer = loaded("newer", without=["DE-HGB-257"], without_codes=["DE"])
    full = carried((OLD, newer), ("DE-HGB-257",))
    assert Written(full, ("DE",), ("DE-HGB-257",)).leaf.keep_until == "2034-12-31T23:00:00Z"


def test_the_latest_book_that_has_it_states_what_is_carried() -> None:
    middle = loaded("middle", {"CN-AML-34": {"minimum": "P12Y"}})
    newest = loaded("newest", without=["CN-AML-34"])
    assert carried((OLD, middle, newest), ("CN-AML-34",)).rules["CN-AML-34"].minimum == "P12Y"


def test_a_rule_that_ends_is_given_its_end() -> None:
    ends = loaded("ends", {"CN-AML-34": {"effective_until": date(2026, 1, 1)}})
    assert Written(ends, opted_in=("CN-AML-34",)).leaf.keep_until == "2029-01-05T16:00:00Z"
    assert utc(Written(OLD, opted_in=("CN-AML-34",)).reckoned(OLD, ends).keep_until) == "2036-01-05T16:00:00Z"


def test_a_ledger_may_opt_into_what_an_older_book_did_not_have() -> None:
    newer = loaded("newer", added=[RELATION])
    written = Written(newer, opted_in=("CN-REL",))
    assert written.reckoned(OLD, newer).keep_until is None


def test_a_rule_that_no_book_had_is_refused() -> None:
    with pytest.raises(UsageError, match="'NO-SUCH'"):
        Reckoning((OLD,), ("CN",), ("NO-SUCH",), {})


def test_a_leaf_of_a_book_that_was_never_in_force_fails_closed() -> None:
    with pytest.raises(Missing, match="never in force"):
        Written(loaded("other")).reckoned(OLD)


def event_leaf(**promised: Any) -> EventLeaf:
    fields: dict[str, Any] = {
        "actor": "worker",
        "at": "2026-01-05T03:00:00.000Z",
        "event": "record.opened",
        "facts": {"seq": 1},
        "kind": "event",
        "ledger": str(LEDGER),
    }
    found = leaf.parse(leaf.draft(fields | promised).at(1, bytes(32)))
    assert isinstance(found, EventLeaf)
    return found


def test_details_of_events_follow_the_floors_of_newer_books() -> None:
    at = us("2026-01-05T03:00:00Z")
    keeping = keeper(OLD, ledger_jurisdictions=(), opted_in=())(Facts(at, at, None, (), "event"))
    assert keeping.keep_until is not None
    digest = b64(bytes(32))
    told = event_leaf(
        group=keeping.group,
        keep_until=instant(keeping.keep_until),
        key=digest,
        parts=[digest],
        plaintext=digest,
        rulebook=b64(OLD.digest),
        rules=list(keeping.rules),
    )
    assert Reckoning((OLD,), (), (), {}).of_event(told).keep_until == keeping.keep_until
    longer = loaded("long", {"PROD-3Y": {"minimum": "P7Y"}})
    # the slowest zone on Earth: it is still the 5th there, and that ends at noon UTC of the next day
    assert utc(Reckoning((OLD, longer), (), (), {}).of_event(told).keep_until) == "2033-01-06T12:00:00Z"
    with pytest.raises(Missing):
        Reckoning((OLD,), (), (), {}).of_event(event_leaf())


PERIODS = ["P0D", "P6M", "P3Y", "P25M", "P5Y", "P10Y1D"]
STARTED = ["decision_completed", "transaction_completed", "record_created", "calendar_year_end"]
LATER = ["transaction_completed", "calendar_year_end", "relationship_ended"]
rules = st.fixed_dictionaries(
    {
        "minimum": st.sampled_from(PERIODS),
        "trigger": st.sampled_from(
            ["decision_completed", "transaction_completed", "record_created", "calendar_year_end"]
        ),
        "jurisdiction": st.sampled_from(["*", "CN", "DE", "EU", "US"]),
        "applies": st.sampled_from(["default", "optional"]),
        "erase": st.sampled_from(["no", "at_minimum", "after_all_minimums"]),
    },
    optional={"effective_from": st.dates(date(2015, 1, 1), date(2030, 1, 1))},
)
books = st.lists(st.tuples(st.sampled_from(["P3Y", "P4Y", "P6Y"]), st.lists(rules, max_size=3)), min_size=1, max_size=3)
moments = st.datetimes(datetime(2015, 1, 1), datetime(2031, 1, 1)).map(lambda one: f"{one:%Y-%m-%dT%H:%M:%S}Z")
told = st.lists(
    st.tuples(st.sampled_from(["transaction_completed", "calendar_year_end", "relationship_ended"]), moments),
    max_size=3,
)


def made(all_: list[tuple[str, list[Mapping[str, Any]]]]) -> list[RuleBook]:
    return [
        loaded(
            f"v{at}",
            {"PROD-3Y": {"minimum": floor}},
            added=[{"id": f"R{number}"} | dict(rule) for number, rule in enumerate(some)],
        )
        for at, (floor, some) in enumerate(all_)
    ]


@given(books, moments, told, st.sampled_from([("CN",), ("DE", "US"), ("BR",)]), st.booleans())
def test_more_books_and_more_reports_never_shorten(
    all_: list[tuple[str, list[Mapping[str, Any]]]],
    occurred: str,
    reports: list[tuple[str, str]],
    jurisdictions: tuple[str, ...],
    imported: bool,
) -> None:
    chain = made(all_)
    opted = tuple(one for one in ("R0",) if one in chain[0].rules)
    written = Written(
        chain[0], jurisdictions, opted, occurred=occurred, received="2031-01-01T00:00:00+00:00", imported=imported
    )
    frozen = written.leaf.keep_until
    assert isinstance(frozen, str)
    before = round(microseconds(frozen) / 1_000_000)
    for upto in range(1, len(chain) + 1):
        for some in range(len(reports) + 1):
            effect = written.reckoned(*chain[:upto], told=tuple(reports[:some]))
            assert effect.keep_until is not None
            assert effect.keep_until >= before
            if some == 0:
                least = effect.keep_until
            assert effect.keep_until >= least
            assert effect.conflict == (effect.erase_by is not None and effect.erase_by < effect.keep_until)
        before = least
    assert written.reckoned(chain[0]).keep_until == round(microseconds(frozen) / 1_000_000)


@given(books, moments, st.sampled_from([("CN",), ("DE", "US"), ("BR",)]), st.sampled_from(["CN", "DE", "NZ", "MY"]))
def test_one_more_jurisdiction_never_shortens(
    all_: list[tuple[str, list[Mapping[str, Any]]]], occurred: str, jurisdictions: tuple[str, ...], more: str
) -> None:
    chain = made(all_)

    def until(codes: tuple[str, ...]) -> int:
        one = Written(chain[0], codes, occurred=occurred, received="2031-01-01T00:00:00+00:00")
        keep_until = one.reckoned(*chain).keep_until
        assert keep_until is not None
        return keep_until

    assert until(tuple(dict.fromkeys((*jurisdictions, more)))) >= until(jurisdictions)
