"""What the service counts, for Prometheus. See ``docs/reference/metrics.md`` for the list.

    share(folder)                        supervisor, before it starts its processes: they count into files of one folder
    metrics = Metrics(home, routes)      each process
    metrics.request("/v1/login", "POST", 200, 0.004)
    metrics.render()                     any process, for all of them

Labels are bounded: routes are templates from the application's own list, everything else passes ``_Children``, which
takes words only and not more than a number of them. So nobody who sends requests decides how many series there are, or
what stands in them.

Ages and states are read from the home when somebody asks: what the verification job and the checkpoints last left
there is the same for every process, and stays true when none of them runs.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Generic, TypeVar
from uuid import UUID

import msgspec
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, values
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from service.jobs.state import JobState
from service.witness_figures import OutsideFigures, OutsideState

_FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # prometheus_client's own word
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_OTHER: Final = "other"
_WORD = re.compile(r"[A-Za-z0-9._:/+-]{1,64}")
_LATENCY: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_COMMIT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_GROUP: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_VERDICTS: Final = ("OK", "MODIFIED", "MISSING", "FORKED", "UNKNOWN")
_MOST_LEDGERS: Final = 1000

M = TypeVar("M", bound=MetricWrapperBase)


def share(folder: Path) -> None:
    """Have this process and those it starts from now on count into files of one folder, emptied first.

    To be called before any ``Metrics`` is made; a folder belongs to one supervisor.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for left in folder.glob("*.db"):
        left.unlink()
    os.environ[_FOLDER] = str(folder)
    # The library looked for the folder when it was imported, which may have been before.
    values.ValueClass = values.get_value_class()  # type: ignore[no-untyped-call]


class _Children(Generic[M]):
    """The children of a metric with one free label: words, and not more than ``most`` different ones."""

    def __init__(self, metric: M, most: int) -> None:
        self._metric = metric
        self._most = most
        self._known: dict[str, M] = {}

    def __getitem__(self, word: str) -> M:
        found = self._known.get(word)
        if found is not None:
            return found
        if word != _OTHER and (len(self._known) >= self._most or not _WORD.fullmatch(word)):
            return self[_OTHER]
        made = self._known[word] = self._metric.labels(word)
        return made


class Metrics:
    """One process's counters.

    Args:
        home: the vault's home, for what is read from there.
        routes: the application's route templates; a request to any other place counts as ``other``.
        clock: seconds since the epoch.
    """

    def __init__(self, home: Path, routes: Iterable[str] = (), *, clock: Callable[[], float] = time.time) -> None:
        self._folder = os.environ.get(_FOLDER)
        self._registry = CollectorRegistry()
        self._home = HomeState(home, clock)
        self._jobs = Jobs()
        self._outside = OutsideFigures()
        self._routes = frozenset(routes)
        self._request = self._histogram(
            "reasonvault_request_seconds", "Time to answer a request.", ("route", "method", "status"), _LATENCY
        )
        self._requests: dict[tuple[str, str, int], Histogram] = {}
        outcomes = self._counter("reasonvault_records_total", "Records by what became of them.", ("outcome", "code"))
        self._outcomes = {what: outcomes.labels(what, "") for what in ("accepted", "duplicate", "conflict", "gone")}
        self._records = outcomes
        self._refused: dict[str, Counter] = {}
        self._group = self._histogram("reasonvault_group_records", "Records a commit.", (), _GROUP)
        self._commit = self._histogram("reasonvault_commit_seconds", "Time of a commit, with its lock.", (), _COMMIT)
        self._guard = self._words("reasonvault_guard_findings_total", "What the guard found, by type.", "type", 32)
        self._events = self._words("reasonvault_events_total", "Events written, by kind.", "kind", 128)
        self._reads = self._counter("reasonvault_reads_total", "Records opened under a grant.", ())
        self._searches = self._counter("reasonvault_searches_total", "Searches answered.", ())
        self._unsound = self._counter(
            "reasonvault_log_unsound_total", "Tiles and proofs that do not hold: not served.", ()
        )
        self._denials = self._words("reasonvault_denials_total", "Requests denied, by reason.", "reason", 32)
        self._limited = self._words("reasonvault_rate_limited_total", "Answers 429, by producer.", "producer", 1000)
        self._dropped = self._counter("reasonvault_log_keys_dropped_total", "Log keys that were not allowed.", ())
        self._queue = self._gauge("reasonvault_queue_records", "Records waiting for a commit.", "livesum")
        self._keys_up = self._gauge("reasonvault_key_provider_up", "1 while keys can be reached.", "livemin")
        self._database_up = self._gauge("reasonvault_database_up", "1 while the database answers.", "livemin")

    def request(self, route: str, method: str, status: int, seconds: float) -> None:
        """Count an answered request; ``route`` is the template."""
        key = (route, method, status // 100)
        child = self._requests.get(key)
        if child is None:
            child = self._bind(route, method, status // 100)
        child.observe(seconds)

    def record(self, outcome: str, count: int = 1) -> None:
        """Count records that were ``accepted``, ``duplicate``, ``conflict`` or ``gone``."""
        self._outcomes[outcome].inc(count)

    def refused(self, code: str) -> None:
        """Count a refused record by its code, such as ``card_number``."""
        child = self._refused.get(code)
        if child is None:
            known = len(self._refused) < 64 and _WORD.fullmatch(code) is not None
            child = self._refused[code if known else _OTHER] = self._records.labels(
                "refused", code if known else _OTHER
            )
        child.inc()

    def guard(self, kind: str) -> None:
        """Count a finding of the guard by its type."""
        self._guard[kind].inc()

    def commit(self, records: int, seconds: float) -> None:
        """Count a commit: how many records shared it, and how long it took."""
        self._group.observe(records)
        self._commit.observe(seconds)

    def queue(self, depth: int) -> None:
        """Say how many records wait for a commit in this process."""
        self._queue.set(depth)

    def event(self, kind: str) -> None:
        """Count an entry of the events ledger."""
        self._events[kind].inc()

    def read(self, count: int = 1) -> None:
        """Count records that were opened."""
        self._reads.inc(count)

    def search(self) -> None:
        """Count a search."""
        self._searches.inc()

    def unsound(self) -> None:
        """Count what of a log was not served, since it does not lead to the signed root."""
        self._unsound.inc()

    def denial(self, reason: str) -> None:
        """Count a denial by its reason, a word of ours."""
        self._denials[reason].inc()

    def limited(self, producer: str) -> None:
        """Count an answer 429, by our id of the producer."""
        self._limited[producer].inc()

    def log_keys_dropped(self, count: int) -> None:
        """Count log keys that were not allowed."""
        self._dropped.inc(count)

    def key_provider(self, up: bool) -> None:
        """Say whether this process reaches its keys."""
        self._keys_up.set(up)

    def database(self, up: bool) -> None:
        """Say whether this process reaches the database."""
        self._database_up.set(up)

    def jobs(self, found: Iterable[JobState]) -> None:
        """Say how the jobs stand, as this process has just read it."""
        self._jobs.found = tuple(found)

    def outside(self, found: OutsideState | None) -> None:
        """Say what others vouch for, as this process has just read it."""
        self._outside.found = found

    def render(self) -> tuple[bytes, str]:
        """Return the exposition of all processes, and its content type."""
        if self._folder is None:
            return generate_latest(self._registry) + generate_latest(self._home_only()), CONTENT_TYPE_LATEST
        bury_the_dead(Path(self._folder))
        registry = self._home_only()
        MultiProcessCollector(registry, self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry), CONTENT_TYPE_LATEST

    def _home_only(self) -> CollectorRegistry:
        registry = CollectorRegistry()
        registry.register(self._home)
        registry.register(self._jobs)
        registry.register(self._outside)
        return registry

    def _bind(self, route: str, method: str, hundreds: int) -> Histogram:
        known = (
            route if route in self._routes else _OTHER,
            method if method in _METHODS else _OTHER,
            hundreds if 1 <= hundreds <= 5 else 0,
        )
        child = self._requests.get(known)
        if child is None:
            child = self._requests[known] = self._request.labels(known[0], known[1], f"{known[2]}xx")
        return child

    def _histogram(self, name: str, words: str, labels: tuple[str, ...], buckets: tuple[float, ...]) -> Histogram:
        return Histogram(name, words, labels, buckets=buckets, registry=self._registry)

    def _counter(self, name: str, words: str, labels: tuple[str, ...]) -> Counter:
        return Counter(name, words, labels, registry=self._registry)

    def _words(self, name: str, words: str, label: str, most: int) -> _Children[Counter]:
        return _Children(self._counter(name, words, (label,)), most)

    def _gauge(self, name: str, words: str, mode: str) -> Gauge:
        # The library types the mode as the literal words that it lists in Gauge._MULTIPROC_MODES.
        return Gauge(name, words, registry=self._registry, multiprocess_mode=mode)  # type: ignore[arg-type]


class Jobs(Collector):
    """Tells what the database said of the jobs when somebody asked; nothing where it did not answer."""

    def __init__(self) -> None:
        self.found: tuple[JobState, ...] = ()

    def describe(self) -> Iterator[Metric]:
        """Nothing: there may be no answer."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield one line a job that is on, of each kind."""
        at = GaugeMetricFamily(
            "reasonvault_job_last_success_timestamp_seconds", "When it last ended well, 0: never.", labels=["job"]
        )
        overdue = GaugeMetricFamily("reasonvault_job_overdue_seconds", "Since it should have run.", labels=["job"])
        failed = GaugeMetricFamily("reasonvault_job_failed", "1 where the newest run failed.", labels=["job"])
        for one in self.found:
            at.add_metric([one.name], one.succeeded)
            overdue.add_metric([one.name], one.overdue)
            failed.add_metric([one.name], float(one.failed))
        yield from (at, overdue, failed)


class Verification(msgspec.Struct, frozen=True):
    """``verification.json``: what the last verification said, and when it ended."""

    verdict: str
    at: float


class HomeState(Collector):
    """Reads from the home what no process has to remember."""

    def __init__(self, home: Path, clock: Callable[[], float]) -> None:
        self._home = home
        self._clock = clock

    def describe(self) -> Iterator[Metric]:
        """Nothing: names are known when somebody asks, and registering reads no files."""
        return iter(())

    def collect(self) -> Iterator[Metric]:
        """Yield verification state and checkpoint ages; what cannot be read is left out."""
        now = self._clock()
        found = self._verification()
        state = GaugeMetricFamily("reasonvault_verification_state", "1 at the last verdict.", labels=["verdict"])
        verdict = found.verdict if found is not None and found.verdict in _VERDICTS else "UNKNOWN"
        for word in _VERDICTS:
            state.add_metric([word], float(word == verdict))
        yield state
        if found is not None:
            yield GaugeMetricFamily(
                "reasonvault_verification_age_seconds", "Since the last verification ended.", max(0.0, now - found.at)
            )
        ages = GaugeMetricFamily("reasonvault_checkpoint_age_seconds", "Since the last checkpoint.", labels=["ledger"])
        for ledger, written in self._checkpoints():
            ages.add_metric([ledger], max(0.0, now - written))
        yield ages

    def _verification(self) -> Verification | None:
        try:
            return msgspec.json.decode((self._home / "verification.json").read_bytes(), type=Verification)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def _checkpoints(self) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        with suppress(OSError), os.scandir(self._home / "checkpoints") as entries:
            for entry in entries:
                if len(found) == _MOST_LEDGERS:
                    break
                with suppress(OSError, ValueError):
                    found.append((str(UUID(entry.name)), (Path(entry.path) / "checkpoint").stat().st_mtime))
        return sorted(found)


def bury_the_dead(folder: Path) -> None:
    """Remove what processes that ended said about themselves, such as the depth of a queue. Their counts stay."""
    pids = {int(path.stem.rpartition("_")[2]) for path in folder.glob("gauge_live*_*.db")}
    for pid in pids - {os.getpid()}:
        if not _alive(pid):
            with suppress(FileNotFoundError):  # another process buries, too
                mark_process_dead(pid, str(folder))  # type: ignore[no-untyped-call]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
