"""What the command line prints: one JSON document or words, progress on standard error, errors as one line."""

from __future__ import annotations

import functools
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn, ParamSpec, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from service import home as homes
from service import wiring
from vault.context import Vault
from vault.core.errors import UsageError, VaultError

_OURS = frozenset({"cli", "service", "reports", "retention", "vault"})
P = ParamSpec("P")
T = TypeVar("T")


class Commands(click.Group):
    """A group whose commands all have ``--json`` and end errors the same way."""

    group_class = type  # subgroups are of this class too

    def main(self, args: Sequence[str] | None = None, *rest: Any, **named: Any) -> Any:
        """Run, and end what click itself finds wrong as one line, too."""
        try:
            code = super().main(args, *rest, **named | {"standalone_mode": False})
        except click.exceptions.NoArgsIsHelpError as asked:
            asked.show()
            sys.exit(asked.exit_code)
        except click.ClickException as error:
            context = getattr(error, "ctx", None)
            hint = f" (see '{context.command_path} --help')" if context else ""
            json_wanted = "--json" in (sys.argv[1:] if args is None else args)
            words = " ".join(error.format_message().split()).rstrip(".")  # a missing choice lists them a line each
            fail(UsageError(f"{words}{hint}"), as_json=json_wanted)
        except click.Abort:
            fail(VaultError("interrupted; nothing acknowledged is lost"))
        except VaultError as error:  # of an option that is read before its command begins
            fail(error)
        except Exception as error:
            fail(internal(error))
        sys.exit(code if isinstance(code, int) else 0)

    def add_command(self, cmd: click.Command, name: str | None = None) -> None:
        if cmd.callback is not None and not isinstance(cmd, click.Group):
            cmd.callback = reporting_errors(cmd.callback)
            cmd.params.append(json_parameter())
        super().add_command(cmd, name)


@contextmanager
def opened_vault() -> Iterator[Vault]:
    """Open the vault of this environment with its passphrase, as the user who runs the command."""
    home = homes.default_path()
    wiring.identity(home)
    with wiring.open_vault(home, homes.passphrase()) as vault:
        yield vault


def json_parameter() -> click.Option:
    """Return the option ``--json``; ``wants_json`` tells whether it was given."""

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
        context.meta["reasonvault.json"] = value

    return click.Option(
        ["--json"],
        is_flag=True,
        expose_value=False,
        callback=remember,
        is_eager=True,
        help="Print one JSON document.",
    )


def wants_json() -> bool:
    """Say whether the running command was given ``--json``."""
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get("reasonvault.json"))


def say(words: str, document: dict[str, Any] | list[Any], *, err: bool = False) -> None:
    """Print words for people, or the document where ``--json`` was given."""
    click.echo(json.dumps(document, ensure_ascii=False, default=str) if wants_json() else words, err=err)


def fail(error: VaultError, *, as_json: bool = False) -> NoReturn:
    """Print one line on standard error (and a JSON document on standard output where asked) and end."""
    if as_json or wants_json():
        click.echo(json.dumps({"error": str(error), "exit_code": error.exit_code}, ensure_ascii=False))
    click.echo(f"reasonvault: {error}", err=True)
    sys.exit(error.exit_code)


def reporting_errors(command: Callable[P, T]) -> Callable[P, T]:
    """End a command's VaultError, and an interrupt or a closed pipe, as one line and an exit code."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except VaultError as error:
            fail(error)
        except MemoryError:
            fail(VaultError("out of memory; nothing unacknowledged was kept"))
        except OSError as error:
            if isinstance(error, BrokenPipeError):
                sys.stderr.close()
                sys.exit(1)
            fail(
                VaultError(f"{error.strerror or 'system error'}{': ' + str(error.filename) if error.filename else ''}")
            )
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise  # click's own ways to end
        except Exception as error:
            fail(internal(error))

    return wrapped


def internal(error: Exception) -> VaultError:
    """Return one line for what nobody foresaw: where it happened, never its text, which may carry a record's.

    The traceback goes to standard error where REASONVAULT_DEBUG is 1: whoever sets it sees what it carries.
    """
    if os.environ.get("REASONVAULT_DEBUG") == "1":
        traceback.print_exception(error)
    frames = [(frame.f_globals.get("__name__", "?"), line) for frame, line in traceback.walk_tb(error.__traceback__)]
    module, line = next((one for one in reversed(frames) if one[0].partition(".")[0] in _OURS), frames[-1])
    return VaultError(
        f"internal error: {type(error).__name__} in {module}:{line}; nothing acknowledged is lost; please report it"
    )


@contextmanager
def progress(what: str, total: int | None = None) -> Iterator[Callable[[int, int | None], None]]:
    """Show a bar on standard error while the body runs; the yielded function takes (done, total)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    shown = console.is_terminal and not wants_json()
    # No refresh thread of its own: sealing and reports fork while the bar is shown, and a fork takes no threads along.
    with Progress(*columns, console=console, transient=True, disable=not shown, auto_refresh=False) as bar:
        task = bar.add_task(what, total=total)

        def update(done: int, total: int | None = total) -> None:
            bar.update(task, completed=done, total=total, refresh=shown)

        yield update
