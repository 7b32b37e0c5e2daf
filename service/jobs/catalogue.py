"""The catalogue: which jobs there are, when each is due, and with which parameters.

Defaults are shipped beside this file; ``<home>/jobs.toml`` overrides them, setting by setting:

    [disposal.plan]
    cron = "0 3 * * sun"

    [holds.inherit]
    enabled = false

A section or a setting that nothing knows is refused: a misspelt schedule must not mean the default.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec

from service.jobs import bodies
from service.jobs.schedule import Schedule
from vault.core.errors import UsageError
from vault.jobs import Counts, Work

_FILE = "jobs.toml"
_WORKER = "worker"


class Job(NamedTuple):
    """One job as it is set up here. ``does`` is what it does, in a few words; a run of a ``quiet`` one that finds
    nothing to do is no event."""

    name: str
    does: str
    schedule: Schedule
    enabled: bool
    run: Work
    quiet: bool = False


class WorkerSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[worker]``.

    Attributes:
        lease_seconds: after so long without a sign of life a run is taken over.
        poll_seconds: how often runs that were missed, or left by a dead worker, are looked for.
        clock_seconds: how far this machine's clock may be from the database's; beyond it no job runs.
        at_once: jobs that one worker runs beside each other.
    """

    lease_seconds: float
    poll_seconds: float
    clock_seconds: float
    at_once: int


class Catalogue(NamedTuple):
    """All jobs, by name, and how the worker goes about them."""

    jobs: Mapping[str, Job]
    worker: WorkerSettings

    def job(self, name: str) -> Job:
        """Return one. Raises ``UsageError`` where there is none of that name."""
        found = self.jobs.get(name)
        if found is None:
            raise UsageError(f"no job is called {name[:40]}: choose one of {', '.join(self.jobs)}")
        return found


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a job's section may hold. A job with settings of its own has a subclass."""

    cron: str
    enabled: bool = True


class Provisioning(Parameters, frozen=True, forbid_unknown_fields=True):
    """``months``: how far ahead of what is written to now."""

    months: Annotated[int, msgspec.Meta(ge=1, le=24)] = 1


class _Kind(NamedTuple):
    does: str
    body: Callable[[Path, Any], Work]
    parameters: type[Parameters] = Parameters
    quiet: bool = False


def _plain(run: Callable[..., Counts]) -> Callable[[Path, Parameters], Work]:
    """A body that needs neither the home nor settings."""
    return lambda _home, _parameters: run


def _with_home(run: Callable[..., Counts]) -> Callable[[Path, Parameters], Work]:
    return lambda home, _parameters: partial(run, home)


_KINDS: Mapping[str, _Kind] = {
    "checkpoints": _Kind(
        "signs what was not signed, anchors what moved in the events", _plain(bodies.checkpoints), quiet=True
    ),
    "disposal.plan": _Kind("plans the disposal of due groups; approves nothing", _with_home(bodies.plan_disposals)),
    "disposal.run": _Kind("executes disposals that are approved and cooled off", _plain(bodies.run_disposals)),
    "erased.proof": _Kind("proves that destroyed records do not open", _plain(bodies.prove_erasure)),
    "holds.inherit": _Kind("puts new records under the holds they match", _plain(bodies.inherit_holds)),
    "keys.provision": _Kind(
        "makes the keys of groups ahead of time",
        lambda _home, wanted: partial(bodies.provision_keys, wanted.months),
        Provisioning,
    ),
    "records.date": _Kind("dates records by what followed them", _plain(bodies.date_records)),
    "reports.scheduled": _Kind(
        "makes and delivers the reports of standing orders", _with_home(bodies.scheduled_reports), quiet=True
    ),
    "verify.incremental": _Kind("verifies the entries since its last run", _with_home(bodies.verify_new)),
    "witness": _Kind(
        "has others vouch for what is new, where witness.toml names some", _plain(bodies.witness), quiet=True
    ),
}


def load(home: Path) -> Catalogue:
    """Return the catalogue of a home.

    Raises:
        UsageError: its ``jobs.toml`` cannot work; the line says where.
    """
    path = home / _FILE
    defaults = _sections(tomllib.loads(resources.files(__package__).joinpath(_FILE).read_text("utf-8")), _FILE)
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    given = _sections(document, str(path))
    sections = {name: defaults[name] | given.get(name, {}) for name in defaults}
    worker = _converted(sections.pop(_WORKER), WorkerSettings, path, _WORKER)
    for field in WorkerSettings.__struct_fields__:
        if not 0 < getattr(worker, field) <= 86_400:
            raise UsageError(f"{path}, section [{_WORKER}]: {field} is above 0, and a day at the most")
    return Catalogue({name: _job(home, name, section, path) for name, section in sections.items()}, worker)


def _job(home: Path, name: str, section: dict[str, Any], path: Path) -> Job:
    kind = _KINDS[name]
    wanted = _converted(section, kind.parameters, path, name)
    try:
        schedule = Schedule(wanted.cron)
    except UsageError as error:
        raise UsageError(f"{path}, section [{name}]: {error}") from None
    return Job(name, kind.does, schedule, wanted.enabled, kind.body(home, wanted), kind.quiet)


def _sections(document: dict[str, Any], where: str) -> dict[str, dict[str, Any]]:
    """Return sections by the names of jobs: ``[disposal.plan]`` is a table in a table."""
    known = {_WORKER, *_KINDS}
    found: dict[str, dict[str, Any]] = {}
    for outer, content in document.items():
        inside = content if isinstance(content, dict) else {}
        parts = {outer: content} if outer in known else {f"{outer}.{name}": part for name, part in inside.items()}
        if not parts or not all(name in known and isinstance(part, dict) for name, part in parts.items()):
            name = next((name for name in parts if name not in known), outer)
            raise UsageError(f"{where} has a section that nothing knows: {name[:60]}")
        found |= parts
    return found


def _converted(section: dict[str, Any], kind: type[Any], path: Path, name: str) -> Any:
    try:
        return msgspec.convert(section, kind)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}, section [{name}]: {error}") from None
