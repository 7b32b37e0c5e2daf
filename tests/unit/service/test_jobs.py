"""Which jobs there are, when they are due, and what a home may say about it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.jobs import catalogue
from service.jobs.catalogue import Job, WorkerSettings
from service.jobs.schedule import Schedule
from service.worker import due
from vault.core.errors import UsageError
from vault.db.jobs import JobRow

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "jobs.md"
NOW = datetime(2026, 3, 10, 12, 0, 30, 17, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "latest", "following"),
    [
        ("* * * * *", "2026-03-10 12:00", "2026-03-10 12:01"),
        ("*/15 * * * *", "2026-03-10 12:00", "2026-03-10 12:15"),
        ("0 12 * * *", "2026-03-10 12:00", "2026-03-11 12:00"),
        ("1 12 * * *", "2026-03-09 12:01", "2026-03-10 12:01"),
        ("0 4 1 jan,apr,jul,oct *", "2026-01-01 04:00", "2026-04-01 04:00"),
        ("0 0 29 feb *", "2024-02-29 00:00", "2028-02-29 00:00"),
        ("30 2 * * sun", "2026-03-08 02:30", "2026-03-15 02:30"),
        ("0 1 * * mon-fri", "2026-03-10 01:00", "2026-03-11 01:00"),
        ("0 2 1 * mon", "2025-12-01 02:00", "2026-06-01 02:00"),  # both day fields must fit
    ],
)
def test_due_times_are_those_of_the_expression(cron: str, latest: str, following: str) -> None:
    schedule = Schedule(cron)
    assert f"{schedule.latest(NOW):%Y-%m-%d %H:%M}" == latest
    assert f"{schedule.following(NOW):%Y-%m-%d %H:%M}" == following


def test_looking_back_finds_what_looking_ahead_would_have() -> None:
    schedule, at = Schedule("7,31 */5 1-10 * *"), datetime(2026, 2, 1, tzinfo=UTC)
    walked: list[datetime] = []
    while (following := schedule.following(walked[-1] if walked else at)) is not None and following < NOW:
        walked.append(following)
    assert len(walked) > 150
    for at in (walked[0] + number * timedelta(hours=3, minutes=13) for number in range(270)):
        assert schedule.latest(at) == max(one for one in walked if one <= at)


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "0 0 * *",
        "61 * * * *",
        "a b c d e",
        "0 0 31 feb *",
        "0 0 * * 0",
        "0 0 * * 1-5",
        "0 0 * * mon,3",
        "-1 * * * *",
    ],
)
def test_what_is_no_schedule_is_refused(cron: str) -> None:
    with pytest.raises(UsageError, match="is no schedule"):
        Schedule(cron)


def nothing(*_: object) -> dict[str, int]:
    return {}


DAILY = Job("a", "nothing", Schedule("0 3 * * *"), True, nothing)
TODAY = datetime(2026, 3, 10, 3, 0, tzinfo=UTC)


def row(days_ago: int, outcome: str | None, *, live: bool = False) -> JobRow:
    at = TODAY - timedelta(days=days_ago)
    return JobRow("a", at, "w", at, live, 1, None if outcome is None else at, outcome)


@pytest.mark.parametrize(
    ("newest", "expected"),
    [
        (None, TODAY),
        (row(0, "ok"), None),
        (row(0, "failed"), None),
        (row(1, "ok"), TODAY),
        (row(9, "failed"), TODAY),
        (row(0, None, live=True), None),
        (row(1, None, live=True), None),
        (row(0, None), TODAY),
        (row(2, None), TODAY),
        (row(-1, None), TODAY + timedelta(days=1)),
        (row(-1, "ok"), None),
    ],
    ids=[
        "never ran",
        "done",
        "failed, and not tried again",
        "due again",
        "several were missed",
        "under way",
        "an earlier one is under way",
        "left by a dead worker",
        "left, and due again",
        "left, of a clock that was ahead",
        "done, of a clock that was ahead",
    ],
)
def test_what_is_due_follows_from_the_newest_run(newest: JobRow | None, expected: datetime | None) -> None:
    assert due(DAILY, newest, NOW) == expected


def test_the_defaults_are_those_of_the_page(tmp_path: Path) -> None:
    wanted = catalogue.load(tmp_path)
    told = dict(re.findall(r"^\| `([a-z.]+)` \| `([^`]+ [^`]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert {name: job.schedule.cron for name, job in wanted.jobs.items()} == told
    assert all(job.enabled for job in wanted.jobs.values())
    settings = dict(re.findall(r"^\| `([a-z_]+)` \| `([0-9.]+)` \|", PAGE.read_text("utf-8"), re.MULTILINE))
    assert {
        name: str(getattr(wanted.worker, name)) for name in WorkerSettings.__struct_fields__
    }.items() <= settings.items()


def test_a_home_overrides_setting_by_setting(tmp_path: Path) -> None:
    (tmp_path / "jobs.toml").write_text(
        '[worker]\nat_once = 1\n[disposal.plan]\ncron = "0 3 * * sun"\n[disposal.run]\nenabled = false\n[checkpoints]\n'
    )
    wanted, default = catalogue.load(tmp_path), catalogue.load(tmp_path / "none")
    assert wanted.worker == WorkerSettings(default.worker.lease_seconds, 20, 60, 1)
    assert wanted.job("disposal.plan").schedule.cron == "0 3 * * sun"
    assert wanted.job("disposal.run").enabled is False
    assert wanted.job("disposal.run").schedule.cron == default.job("disposal.run").schedule.cron


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('[disposal.paln]\ncron = "0 3 * * *"', "a section that nothing knows: disposal.paln"),
        ("[disposal]\nenabled = false", "a section that nothing knows: disposal.enabled"),
        ("checkpoints = 3", "a section that nothing knows: checkpoints"),
        ("[disposal.plan]\nenable = false", r"section \[disposal.plan\]: Object contains unknown field `enable`"),
        ('[holds.inherit]\ncron = "daily"', r"section \[holds.inherit\]: 'daily' is no schedule"),
        ("[holds.inherit]\ncron = 3", r"section \[holds.inherit\]: Expected `str`, got `int`"),
        ("[holds.inherit]\nmonths = 3", "unknown field `months`"),
        ("[keys.provision]\nmonths = 0", r"section \[keys.provision\]: Expected `int` >= 1"),
        ("[worker]\nlease_seconds = 0", r"section \[worker\]: lease_seconds is above 0"),
        ("[worker]\nleases = 1", "unknown field `leases`"),
        ("[disposal.plan", "cannot read .*jobs.toml"),
    ],
)
def test_what_nobody_knows_is_refused_in_one_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "jobs.toml").write_text(text)
    with pytest.raises(UsageError, match=said) as refused:
        catalogue.load(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_job_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no job is called verify: choose one of checkpoints, disposal\.plan"):
        catalogue.load(tmp_path).job("verify")
