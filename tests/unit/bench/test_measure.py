from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import measure
from bench.measure import PeakMemory, Reading, Spread, ratios, spread

needs_proc = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="the system has no /proc")
MEGABYTE = 2**20


def test_a_spread_is_the_middle_and_both_ends() -> None:
    assert spread([3.0, 1.0, 2.0]) == Spread(2.0, 1.0, 3.0)
    assert spread([5.0]) == Spread(5.0, 5.0, 5.0)


def test_ratios_are_taken_round_by_round() -> None:
    # The second round met a busy machine, both contenders alike: the ratio does not know.
    assert ratios([30.0, 15.0], [20.0, 10.0]) == Spread(1.5, 1.5, 1.5)


def test_ratios_need_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="zip"):
        ratios([1.0, 2.0], [1.0])


def test_a_rate_is_of_wall_time() -> None:
    assert Reading(100, 0.5, 3.0, 4.0, 0).rate == 200


@needs_proc
def test_processor_time_counts_children_that_ended() -> None:
    before = measure.tree_seconds(os.getpid())
    busy = "import time\nwhile time.process_time() < 0.2: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    after = measure.tree_seconds(os.getpid())
    assert before is not None
    assert after is not None
    assert after - before >= 0.15  # the kernel counts in hundredths and rounds down


def test_processor_time_of_nobody_is_unknown() -> None:
    assert measure.tree_seconds(2**30) is None


@needs_proc
def test_memory_is_watched_in_a_process_and_in_its_child() -> None:
    script = f"""if True:
        import os, sys
        mine = b"x" * {40 * MEGABYTE}
        if os.fork() == 0:
            more = b"x" * {80 * MEGABYTE}
        print(flush=True)
        sys.stdin.read()
    """
    pipe = subprocess.PIPE
    with subprocess.Popen([sys.executable, "-c", script], stdin=pipe, stdout=pipe) as process:
        assert process.stdout is not None
        with PeakMemory(process.pid) as watched:
            process.stdout.readline()
            process.stdout.readline()
    peak = watched.peak()
    assert peak is not None
    assert 40 * MEGABYTE <= peak.parent < 100 * MEGABYTE
    assert peak.largest_child >= 120 * MEGABYTE
    assert peak.total == peak.parent + peak.largest_child


@needs_proc
def test_memory_of_a_process_that_is_gone_is_unknown() -> None:
    assert measure.high_water(2**30) is None
    assert measure.children(2**30) == []
