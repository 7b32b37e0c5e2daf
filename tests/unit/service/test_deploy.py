"""What is shipped for operators fits the code: settings, metrics, exit codes."""

from __future__ import annotations

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.metrics import Metrics
from service.settings import ServiceSettings, load
from service.witness_figures import OutsideState
from vault.core.errors import Denied, Forked, Missing, Modified, Unavailable, UsageError

ROOT = Path(__file__).parents[3]
DEPLOY = ROOT / "deploy"
ANALYZE = shutil.which("systemd-analyze")


@pytest.fixture
def names(tmp_path: Path) -> set[str]:
    """Every series a service can have, by name."""
    (tmp_path / "verification.json").write_text('{"verdict": "OK", "at": 1}')
    (tmp_path / "checkpoints").mkdir()
    metrics = Metrics(tmp_path, ["/"])
    metrics.outside(OutsideState(1.0, 1.0, 0, 0))
    body, _ = metrics.render()
    families = re.findall(r"^# TYPE (\S+) (\S+)$", body.decode(), re.MULTILINE)
    found = {name for name, _ in families}
    return found | {f"{name}{end}" for name, kind in families if kind == "histogram" for end in ("_bucket", "_count")}


def test_the_settings_example_holds_every_default(tmp_path: Path) -> None:
    shutil.copy(DEPLOY / "service.toml.example", tmp_path / "service.toml")
    assert load(tmp_path).service == ServiceSettings()
    text = (DEPLOY / "service.toml.example").read_text("utf-8")
    assert set(re.findall(r"^(\w+) = ", text, re.MULTILINE)) == set(ServiceSettings.__struct_fields__)


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((DEPLOY / "alerts.yaml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def test_alerts_ask_for_metrics_that_exist(names: set[str]) -> None:
    for rule in rules():
        asked = set(re.findall(r"\breasonvault_\w+", rule["expr"]))
        assert asked <= names, rule["alert"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        assert rule["annotations"]["summary"]
    assert len({rule["alert"] for rule in rules()}) == len(rules())


def test_the_reference_lists_every_metric(names: set[str]) -> None:
    page = (ROOT / "docs" / "reference" / "metrics.md").read_text("utf-8")
    listed = set(re.findall(r"^\| `(reasonvault_\w+)` \|", page, re.MULTILINE))
    assert listed == {name for name in names if not name.endswith(("_bucket", "_count", "_created"))}


UNITS = ("reasonvault.service", "reasonvault-worker.service")


def unit(name: str = "reasonvault.service") -> dict[str, list[str]]:
    """Return a unit's settings; one may stand there several times."""
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / name).read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_starts_again_only_where_that_may_help(name: str) -> None:
    never = {int(code) for code in unit(name)["RestartPreventExitStatus"][0].split()}
    assert never == {error.exit_code for error in (UsageError, Denied, Modified, Missing, Forked)}
    assert Unavailable.exit_code not in never
    assert 1 not in never


def test_the_unit_waits_longer_than_the_service_takes_to_stop() -> None:
    assert int(unit()["TimeoutStopSec"][0]) > ServiceSettings().stop_seconds
    assert unit()["KillMode"] == ["mixed"]


@pytest.mark.parametrize("name", UNITS)
def test_no_secret_is_in_the_unit_or_in_the_image(name: str) -> None:
    environment = [value.partition("=")[0] for value in unit(name)["Environment"]]
    assert "REASONVAULT_PASSPHRASE" not in environment
    assert "REASONVAULT_PASSPHRASE_FILE" in environment
    image = (DEPLOY / "Containerfile").read_text("utf-8")
    assert "REASONVAULT_PASSPHRASE=" not in image
    assert re.findall(r"^USER (\S+)$", image, re.MULTILINE) == ["10001:10001"]


@pytest.mark.skipif(ANALYZE is None, reason="systemd is not here")
@pytest.mark.parametrize("name", UNITS)
def test_systemd_understands_the_unit(tmp_path: Path, name: str) -> None:
    # The program is not installed here, so the unit is checked with one that is.
    text = (DEPLOY / name).read_text("utf-8")
    file = tmp_path / name
    file.write_text(text.replace("ExecStart=/opt/reasonvault/bin/reasonvault", "ExecStart=/bin/true"))
    assert ANALYZE is not None
    checked = subprocess.run([ANALYZE, "verify", str(file)], capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")


@pytest.mark.parametrize("name", UNITS)
def test_the_unit_is_a_unit(name: str) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    parser.read(DEPLOY / name)
    assert parser.sections() == ["Unit", "Service", "Install"]


def test_the_worker_is_shut_in_like_the_service() -> None:
    """What the two units differ in is what they run, with which login, and how they end."""
    own = {"Description", "ExecStart", "TimeoutStopSec"}
    service, worker = ({key: values for key, values in unit(name).items() if key not in own} for name in UNITS)
    assert service == worker
