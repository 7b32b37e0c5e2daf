from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.http import family
from bench.http.family import Sample, Watch

needs_proc = pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="the system has no /proc")
MEGABYTE = 2**20


@needs_proc
def test_grandchildren_are_of_the_family() -> None:
    script = f"""if True:
        import os, sys, time
        if os.fork() == 0:
            if os.fork() == 0:
                more = b"x" * {60 * MEGABYTE}
                while time.process_time() < 0.2: pass
                print(flush=True)
            sys.stdin.read()
            os._exit(0)
        sys.stdin.read()
    """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert len(family.members(process.pid)) == 3
        assert family.seconds(process.pid) >= 0.15
        assert family.memory(process.pid) >= 60 * MEGABYTE


@needs_proc
def test_nobody_has_no_memory_and_no_time() -> None:
    assert family.memory(2**30) == 0
    assert family.seconds(2**30) == 0


def test_a_watch_looks_at_least_once() -> None:
    with Watch(lambda: 7, every=60) as watch:
        pass
    assert [sample.size for sample in watch.samples] == [7]


def test_slope_and_growth_after_the_first_quarter() -> None:
    samples = [Sample(at, 50 if at < 25 else 100 + at) for at in range(100)]
    settled = family.settled(samples)
    assert settled[0].size == 125
    assert family.slope(settled) == pytest.approx(1)
    assert family.growth(settled) == pytest.approx(196 / 128)
    assert family.slope(settled[:1]) == 0
    assert family.growth([Sample(0, 5)]) == 1
