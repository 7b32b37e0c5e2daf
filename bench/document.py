"""What every table of results begins and ends with: title, day and machine on top, how it was measured below."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Final

from bench import machine, table
from bench.results import Goal

_ROOT: Final = Path(__file__).parents[1]


def today() -> date:
    """Return the day that a run belongs to, in UTC."""
    return datetime.now(UTC).date()


def facts(day: date, found: Mapping[str, str], settings: Mapping[str, str], **more: str) -> dict[str, str]:
    """Return the lines on top of a table: day, machine, server, then ``more``, underscores read as blanks."""
    first = {"Day": day.isoformat(), "Machine": _listed(found), "PostgreSQL": _listed(settings)}
    return first | {name.replace("_", " "): value for name, value in more.items()}


def here(settings: Mapping[str, str], **more: str) -> dict[str, str]:
    """Return the same for today and this machine."""
    return facts(today(), machine.facts(), settings, **more)


def _listed(found: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in found.items())


def spell(title: str, command: str, told: Mapping[str, str], sections: Iterable[tuple[str, str]], how: str) -> str:
    """Return a whole document.

    Args:
        command: what writes it again.
        told: ``facts``.
        sections: heading and content; a heading that is empty goes on with the section before.
    """
    parts = [f"# {title}", f"Written by `{command}`; run it again on your own machine."]
    parts.append("\n".join(f"- {name}: {value}" for name, value in told.items()))
    for heading, content in (*sections, ("How it is measured", how)):
        parts += [f"## {heading}", content] if heading else [content]
    return "\n\n".join(parts)


def goals(wanted: Sequence[Goal]) -> tuple[str, str]:
    """Return the section of what had to be reached."""
    return "Goals", table.goals(wanted)


def done(words: str, goals: Sequence[Goal], file: Path | None) -> int:
    """Print a document, write it where ``file`` says, and return the exit code: 0, or 1 where a goal is missed."""
    print(words)
    if file is not None:
        file.parent.mkdir(exist_ok=True)
        file.write_text(words + "\n", encoding="utf-8")
        print(f"written to {file.relative_to(_ROOT)}", file=sys.stderr)
    return 0 if all(goal.reached for goal in goals) else 1


def document(name: str) -> Path:
    """Return where a table belongs: ``docs/NAME.md``."""
    return _ROOT / "docs" / f"{name}.md"


@contextmanager
def folder(prefix: str) -> Iterator[Path]:
    """Yield a folder of a run's own, gone afterwards.

    It lies beside the code, since /tmp may be memory, where nothing is as durable as it says.
    """
    base = _ROOT / ".bench"
    base.mkdir(exist_ok=True)
    made = Path(tempfile.mkdtemp(prefix=f"{prefix}-", dir=base))
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
