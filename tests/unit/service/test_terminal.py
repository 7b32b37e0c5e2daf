"""How commands end on what nobody foresaw."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from service.terminal import Commands

SECRET = "IBAN DE02 1203"


@click.group(cls=Commands)
def group() -> None:
    """A group."""


@group.command("fall")
def fall() -> None:
    """Fall over a record."""
    json.loads('"' + SECRET)


@group.command("stumble")
def stumble() -> None:
    """Fail here."""
    raise KeyError(SECRET)


def _unread(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    raise ValueError(value)


@group.command("trip")
@click.option("--over", callback=_unread, default=SECRET)
def trip(over: str) -> None:
    """Fail before the command begins."""


@group.command("leave")
def leave() -> None:
    """End as click does."""
    click.get_current_context().exit(7)


@group.command("misuse")
def misuse() -> None:
    """End as click does, with words."""
    raise click.UsageError("not so")


def test_what_nobody_foresaw_is_one_line_without_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REASONVAULT_DEBUG", raising=False)
    for command, name in (("stumble", "KeyError"), ("trip", "ValueError"), ("fall", "JSONDecodeError")):
        done = CliRunner().invoke(group, [command])
        assert done.exit_code == 1
        assert done.stderr.startswith(f"reasonvault: internal error: {name} in ")
        assert done.stderr.endswith("; nothing acknowledged is lost; please report it\n")
        assert done.stderr.count("\n") == 1
        assert SECRET not in done.output
    document = json.loads(CliRunner().invoke(group, ["stumble", "--json"]).stdout)
    assert document["exit_code"] == 1


def test_it_is_named_by_our_own_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REASONVAULT_DEBUG", raising=False)
    done = CliRunner().invoke(group, ["fall"])
    assert " in service.terminal:" in done.stderr  # not the JSON library's; these tests are no module of ours


def test_the_traceback_is_there_for_whoever_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REASONVAULT_DEBUG", "1")
    done = CliRunner().invoke(group, ["stumble"])
    assert done.exit_code == 1
    assert "Traceback" in done.stderr
    assert "internal error: KeyError" in done.stderr


def test_what_click_ends_with_stays() -> None:
    assert CliRunner().invoke(group, ["leave"]).exit_code == 7
    done = CliRunner().invoke(group, ["misuse"])
    assert (done.exit_code, done.stderr) == (2, "reasonvault: not so (see 'group misuse --help')\n")
