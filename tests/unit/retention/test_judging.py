"""What is to become of an entry, by its dates, its holds and what is asked for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import msgspec
import pytest

from retention.judging import Applied, Judge, Sight, Verdict
from retention.reckoning import Effect
from vault.core.selection import Selection
from vault.surveying import Opened

DEC, JAN, FEB = 1_890_777_600, 1_893_456_000, 1_896_134_400  # 2029-12-01, 2030-01-01, 2030-02-01
MID_DEC = "2029-12-15T00:00:00Z"
BOOK = b"b" * 32


def effect(until: int | None, *, conflict: bool = False) -> Effect:
    return Effect(until, None, ("R-1", "R-2"), "v1", conflict, (("decision_completed", 5),), BOOK)


def judged(
    until: int | None,
    *,
    now: int,
    seq: int = 7,
    own: str | None = MID_DEC,
    holds: tuple[str, ...] = (),
    conflict: bool = False,
    **more: Any,
) -> Verdict:
    judge = Judge(lambda *_: effect(until, conflict=conflict), lambda *_: holds, now=now, **more)
    leaf = SimpleNamespace(keep_until=msgspec.UNSET if own is None else own)
    entry = SimpleNamespace(seq=seq, leaf=leaf, facets=None, record=None, leaf_hash=b"h" * 32)
    return judge(cast(Opened, entry))


def test_it_is_due_when_its_month_is_over() -> None:
    assert judged(DEC + 5, now=JAN - 1).reason == "not_due"
    assert judged(DEC + 5, now=JAN).reason == ""
    assert judged(JAN - 1, now=JAN).reason == ""
    assert judged(JAN, now=JAN).reason == "extended"  # its leaf says December


@pytest.mark.parametrize(
    ("verdict", "reason", "stem"),
    [
        (judged(FEB, now=JAN), "extended", "2030-02"),
        (judged(FEB, now=JAN, own=None), "not_due", "2030-02"),
        (judged(FEB, now=JAN, own="2030-02-01T00:00:00Z"), "not_due", "2030-02"),
        (judged(None, now=JAN), "open_ended", "open"),
        (judged(None, now=JAN, holds=("h-1",)), "held", "held"),
        (judged(FEB, now=JAN, holds=("h-1",)), "held", "held"),
        (judged(DEC, now=JAN, holds=("h-1", "h-2")), "held", "held"),
        (judged(DEC, now=JAN, besides=Selection.of([7])), "planned", "2029-12"),
        (judged(DEC, now=JAN, among=Selection.of([8])), "unasked", "2029-12"),
        (judged(FEB, now=JAN, among=Selection.of([8]), early=True), "extended", "2030-02"),
        (judged(FEB, now=JAN, among=Selection.of([7]), early=True, holds=("h-1",)), "held", "held"),
        (judged(DEC, now=JAN, conflict=True), "", "2029-12"),
        (judged(FEB, now=JAN, conflict=True), "extended", "2030-02"),
        (judged(FEB, now=JAN, among=Selection.of([7]), early=True), "", "2030-02"),
        (judged(None, now=JAN, among=Selection.of([7]), early=True), "", "open"),
    ],
    ids=[
        "extended",
        "dated later",
        "not due yet",
        "open-ended",
        "held while open",
        "held before due",
        "held when due",
        "planned by another",
        "not asked for",
        "early, and another's",
        "early and held",
        "a conflict saves nothing",
        "a conflict dooms nothing",
        "early",
        "early while open",
    ],
)
def test_why_it_is_left_behind_and_where_it_belongs(verdict: Verdict, reason: str, stem: str) -> None:
    assert (verdict.reason, verdict.stem) == (reason, stem)


def test_what_was_seen_is_summed_up() -> None:
    sight = Sight()
    sight.take(3, "2029-12.0", judged(DEC + 9, now=JAN))
    sight.take(1, "2029-12.1", judged(DEC + 2, now=JAN))
    sight.take(5, "2029-12.0", judged(DEC, now=JAN, holds=("h-1", "h-2")))
    sight.take(6, "2029-12.0", judged(None, now=JAN))
    assert (sight.looked, sight.latest, sight.groups) == (4, DEC + 9, {"2029-12.0", "2029-12.1"})
    assert [seq for seq, _ in sight.doomed] == [3, 1]
    assert sight.places == {("2029-12.0", "held"): [5], ("2029-12.0", "open"): [6]}
    assert list(sight.targets()) == [(1, "", None), (3, "", None), (5, "2029-12.0", "held"), (6, "2029-12.0", "open")]
    assert sight.counts == {"held": 1, "extended": 0, "not_due": 0, "open_ended": 1, "planned": 0}
    assert sight.holds == {"h-1": 1, "h-2": 1}
    (first, second) = msgspec.convert(sight.rules(), list[Applied])
    assert (first.rule, second.rule, first.book) == ("R-1", "R-2", "v1")
    assert (first.count, first.first, first.last) == (2, DEC + 2, DEC + 9)
    assert first.triggers == {"decision_completed": (5, 5)}
