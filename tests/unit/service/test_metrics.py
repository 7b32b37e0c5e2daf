from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from prometheus_client.parser import text_string_to_metric_families

from service.jobs.state import JobState
from service.metrics import Metrics, bury_the_dead, share

ROUTE = "/v1/ledgers/{ledger}/records"
NOW = 1_800_000_000.0
LEDGER = UUID(int=7)

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(body: bytes) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(body.decode())
        for sample in family.samples
    }


def value(body: bytes, name: str, **labels: str) -> float:
    return samples(body)[name, tuple(sorted(labels.items()))]


@pytest.fixture
def metrics(tmp_path: Path) -> Metrics:
    return Metrics(tmp_path, [ROUTE], clock=lambda: NOW)


def test_a_request_counts_under_its_template(metrics: Metrics) -> None:
    metrics.request(ROUTE, "POST", 201, 0.004)
    metrics.request(ROUTE, "POST", 200, 0.02)
    body, kind = metrics.render()
    where = {"route": ROUTE, "method": "POST", "status": "2xx"}
    assert kind.startswith("text/plain")
    assert value(body, "reasonvault_request_seconds_count", **where) == 2
    assert value(body, "reasonvault_request_seconds_bucket", le="0.005", **where) == 1
    assert value(body, "reasonvault_request_seconds_sum", **where) == pytest.approx(0.024)


def test_nobody_outside_makes_a_series(metrics: Metrics) -> None:
    for number in range(500):
        metrics.request(f"/wp-admin/{number}", "BREW", 999, 0.001)
        metrics.refused(f"code-{number}")
        metrics.refused(f"code {number}\n4111111111111111")
        metrics.guard(f"kind-{number}")
        metrics.denial(f"some reason {number}")
    body, _ = metrics.render()
    assert b"wp-admin" not in body
    assert b"41111111" not in body  # four digits of them stand in some instant now and then
    assert value(body, "reasonvault_request_seconds_count", route="other", method="other", status="0xx") == 500
    assert value(body, "reasonvault_denials_total", reason="other") == 500
    assert len(samples(body)) < 1000
    assert sum(number for (name, _), number in samples(body).items() if name == "reasonvault_records_total") == 1000


def test_what_becomes_of_records(metrics: Metrics) -> None:
    metrics.record("accepted", 3)
    metrics.record("conflict")
    metrics.refused("card_number")
    metrics.commit(3, 0.0008)
    metrics.guard("card_number")
    metrics.event("record.opened")
    metrics.read(2)
    metrics.search()
    metrics.denial("no_grant")
    metrics.limited("shop-1")
    metrics.log_keys_dropped(4)
    metrics.queue(5)
    metrics.key_provider(False)
    metrics.database(True)
    body, _ = metrics.render()
    assert value(body, "reasonvault_records_total", outcome="accepted", code="") == 3
    assert value(body, "reasonvault_records_total", outcome="duplicate", code="") == 0
    assert value(body, "reasonvault_records_total", outcome="refused", code="card_number") == 1
    assert value(body, "reasonvault_group_records_bucket", le="4.0") == 1
    assert value(body, "reasonvault_commit_seconds_bucket", le="0.001") == 1
    assert value(body, "reasonvault_guard_findings_total", type="card_number") == 1
    assert value(body, "reasonvault_events_total", kind="record.opened") == 1
    assert value(body, "reasonvault_reads_total") == 2
    assert value(body, "reasonvault_searches_total") == 1
    assert value(body, "reasonvault_denials_total", reason="no_grant") == 1
    assert value(body, "reasonvault_rate_limited_total", producer="shop-1") == 1
    assert value(body, "reasonvault_log_keys_dropped_total") == 4
    assert value(body, "reasonvault_queue_records") == 5
    assert value(body, "reasonvault_key_provider_up") == 0
    assert value(body, "reasonvault_database_up") == 1


def test_an_outcome_that_does_not_exist_is_a_mistake(metrics: Metrics) -> None:
    with pytest.raises(KeyError):
        metrics.record("lost")


def test_state_and_ages_come_from_the_home(metrics: Metrics, tmp_path: Path) -> None:
    (tmp_path / "verification.json").write_text('{"verdict": "MODIFIED", "at": 1799999000, "more": 1}')
    for name in (str(LEDGER), "not-a-ledger"):
        folder = tmp_path / "checkpoints" / name
        folder.mkdir(parents=True)
        (folder / "checkpoint").touch()
        os.utime(folder / "checkpoint", (NOW - 30, NOW - 30))
    (tmp_path / "checkpoints" / str(UUID(int=8))).mkdir()
    body, _ = metrics.render()
    assert value(body, "reasonvault_verification_state", verdict="MODIFIED") == 1
    assert value(body, "reasonvault_verification_state", verdict="OK") == 0
    assert value(body, "reasonvault_verification_age_seconds") == 1000
    ages = {
        labels: age for (name, labels), age in samples(body).items() if name == "reasonvault_checkpoint_age_seconds"
    }
    assert ages == {(("ledger", str(LEDGER)),): 30}


@pytest.mark.parametrize("content", [None, "{}", "not json", '{"verdict": "FINE", "at": "yesterday"}', "\udcff"])
def test_a_state_that_nobody_knows_is_unknown(metrics: Metrics, tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "verification.json").write_text(content, errors="surrogateescape")
    body, _ = metrics.render()
    assert value(body, "reasonvault_verification_state", verdict="UNKNOWN") == 1
    assert "reasonvault_verification_age_seconds" not in {name for name, _ in samples(body)}


def test_processes_count_together_and_the_dead_wait_for_nothing(tmp_path: Path) -> None:
    script = """if True:
        import os, sys
        from pathlib import Path
        from service.metrics import Metrics, share
        share(Path(sys.argv[1]))
        metrics = Metrics(Path(sys.argv[2]), ["/"])
        hold, release = os.pipe()
        ready, tell = os.pipe()
        for number in (1, 2):
            if os.fork() == 0:
                os.close(release)
                metrics.request("/", "GET", 200, 0.001)
                metrics.record("accepted", number)
                metrics.queue(10 * number)
                metrics.database(number == 1)
                os.write(tell, b"x")
                if number == 1:
                    os.read(hold, 1)
                os._exit(0)
        os.read(ready, 1), os.read(ready, 1)
        os.wait()
        sys.stdout.buffer.write(metrics.render()[0])
        sys.stdout.flush()
        os.close(release)
        os.wait()
    """
    folder = tmp_path / "metrics"
    command = [sys.executable, "-c", script, str(folder), str(tmp_path)]
    body = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
    assert value(body, "reasonvault_request_seconds_count", route="/", method="GET", status="2xx") == 2
    assert value(body, "reasonvault_records_total", outcome="accepted", code="") == 3
    assert value(body, "reasonvault_queue_records") == 10  # of the one that lives
    assert value(body, "reasonvault_verification_state", verdict="UNKNOWN") == 1


def test_a_folder_starts_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")
    monkeypatch.setattr("prometheus_client.values.ValueClass", None)
    (tmp_path / "counter_1.db").write_bytes(b"of an earlier start")
    share(tmp_path)
    assert list(tmp_path.iterdir()) == []
    assert os.environ["PROMETHEUS_MULTIPROC_DIR"] == str(tmp_path)


def test_only_the_dead_are_buried(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    names = [f"gauge_livesum_{ended.pid}.db", f"counter_{ended.pid}.db", "gauge_livesum_1.db", "gauge_livemin_1.db"]
    for name in names:
        (tmp_path / name).touch()
    bury_the_dead(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names[1:])


def test_jobs_stand_as_the_database_said(metrics: Metrics) -> None:
    assert "job=" not in metrics.render()[0].decode()
    metrics.jobs([JobState("disposal.run", 12.5, 7200.0, True), JobState("checkpoints", 0.0, 0.0, False)])
    body, _ = metrics.render()
    assert value(body, "reasonvault_job_last_success_timestamp_seconds", job="disposal.run") == 12.5
    assert value(body, "reasonvault_job_overdue_seconds", job="disposal.run") == 7200
    assert value(body, "reasonvault_job_failed", job="disposal.run") == 1
    assert value(body, "reasonvault_job_failed", job="checkpoints") == 0
    metrics.jobs([])  # the database does not answer any more: what it said before is not told as if it did
    assert "job=" not in metrics.render()[0].decode()
