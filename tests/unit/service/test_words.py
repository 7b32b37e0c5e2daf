from __future__ import annotations

from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

import cli
from service.commands.words import WORDS, Words

HIDDEN = {"case", "customer", "customers", "conversations", "transactions", "reason", "purpose"}


@click.command()
@click.option("--case", "cases", type=WORDS, multiple=True)
@click.option("--reason", type=WORDS)
def command(cases: tuple[str, ...], reason: str | None) -> None:
    click.echo(repr((cases, reason)))


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(command, arguments, input=given)


def test_words_are_typed_or_read(tmp_path: Path) -> None:
    (tmp_path / "case").write_text("C-17 Müller\n", "utf-8")
    done = run(
        "--case", f"@{tmp_path / 'case'}", "--case", "plain", "--case", "@@home", "--reason", "-", given="why\r\n"
    )
    assert done.output == f"{(('C-17 Müller', 'plain', '@home'), 'why')!r}\n"


def test_standard_input_is_read_once() -> None:
    done = run("--case", "-", "--reason", "-", given="why")
    assert done.exit_code == 2
    assert "one option only" in done.output


@pytest.mark.parametrize(
    ("content", "why"), [(b"", "is empty"), (b"\n", "is empty"), (b"secret \xff", "no"), (b"secret" * 20_000, "longer")]
)
def test_what_cannot_be_words_is_refused_and_not_repeated(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "case").write_bytes(content)
    for done in (run("--case", f"@{tmp_path / 'case'}"), run("--case", "-", given=content)):
        assert done.exit_code == 2
        assert why in done.output
        assert "secret" not in done.output


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("--case", f"@{tmp_path / 'none'}")
    assert done.exit_code == 2
    assert "No such file" in " ".join(done.output.split())


def test_every_such_option_takes_them() -> None:
    found: list[click.Parameter] = []

    def walk(one: click.Command) -> None:
        if isinstance(one, click.Group):
            for each in one.commands.values():
                walk(each)
        found.extend(option for option in one.params if option.name in HIDDEN)

    walk(cli.main)
    assert len(found) >= 15
    assert [option.name for option in found if not isinstance(option.type, Words)] == []
