from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

import pytest

from bench.contender import Failed
from bench.retention.pace import Latency, Sample, latency
from bench.retention.timing import APPROVE, PLAN, REST, RUN, Point, Timing


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    made = ModuleType("timed_by_a_test")
    made.inner = lambda: "inner"  # type: ignore[attr-defined]
    made.outer = lambda: made.inner() + made.inner()
    monkeypatch.setitem(sys.modules, made.__name__, made)
    return made


def test_what_a_part_called_is_not_counted_twice(module: ModuleType) -> None:
    moments = iter([0.0, 1.0, 2.0, 5.0, 6.0, 10.0, 12.0, 20.0])
    points = (Point(module.__name__, "outer", "out"), Point(module.__name__, "inner", "in"))
    with Timing(points, clock=lambda: next(moments)) as timing:
        assert module.outer() == "innerinner"
    # 0..20 in all; outer 1..12, of it inner 2..5 and 6..10
    assert timing.seconds() == {"out": 4.0, "in": 7.0, REST: 9.0}


def test_nothing_stays_between_a_verb_and_what_it_calls(module: ModuleType) -> None:
    before = module.inner
    with Timing((Point(module.__name__, "inner", "in"),)):
        assert module.inner is not before
    assert module.inner is before


def test_a_part_that_fails_is_timed_all_the_same(module: ModuleType) -> None:
    moments = iter([0.0, 1.0, 3.0, 4.0])
    module.inner = lambda: 1 / 0  # type: ignore[attr-defined]
    points = (Point(module.__name__, "inner", "in"),)
    with Timing(points, clock=lambda: next(moments)) as timing, pytest.raises(ZeroDivisionError):
        module.inner()
    assert timing.seconds() == {"in": 2.0, REST: 2.0}


@pytest.mark.parametrize("point", [*PLAN, *APPROVE, *RUN], ids=lambda point: f"{point.module}.{point.name}")
def test_what_is_timed_is_there(point: Point) -> None:
    assert callable(getattr(import_module(point.module), point.name))


def test_latency_is_of_the_appends_that_were_due_meanwhile() -> None:
    samples = [Sample(float(at), 0.01 * at) for at in range(10)]
    assert latency(samples, 2.0, 5.0) == Latency(3, 0.03, 0.04, 0.04)


def test_a_stretch_without_appends_tells_nothing() -> None:
    with pytest.raises(Failed, match="no record was sent"):
        latency([Sample(1.0, 0.1)], 2.0, 5.0)
