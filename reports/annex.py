"""Annexes: long lists as pages, attached to their report as files of their own.

A layout's cost grows faster than its table, and its memory with its pages. So a list is cut into parts of five hundred
rows, each a tagged PDF/A-3u that reads on its own, laid out in parallel. They are attached, not merged: merging tagged
files breaks their structure trees.

    annex("Refusals", [Column("seq", 1, "right"), Column("reason", 3)], rows, workdir, name="refusals", ...)
    -> refusals-001.pdf, refusals-002.pdf ...
"""

from __future__ import annotations

import gc
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final, Literal, NamedTuple

from markupsafe import Markup

from reports import layout
from reports.attach import Attachment
from reports.catalog import catalog
from reports.fonts import FontBook
from reports.look import Look
from reports.model import Identification
from reports.phrase import phrase
from reports.wording import Wording
from vault.core.errors import Unavailable, UsageError
from vault.forks import each

ROWS: Final = 500
"""Rows of one part: some ten pages, and a process of 200 MB."""

PDF: Final = "application/pdf"


class Column(NamedTuple):
    """A column; ``width`` is its share of the page, against the other columns' shares."""

    title: str
    width: float
    align: Literal["left", "right"] = "left"
    mono: bool = False


class Part(NamedTuple):
    """Some rows in a row; ``first`` counts from 1."""

    number: int
    first: int
    rows: Sequence[Sequence[str]]


def annex(
    title: str,
    columns: Sequence[Column],
    rows: Iterable[Sequence[str]],
    folder: Path,
    *,
    name: str,
    language: str,
    processes: int,
    who: Identification | None = None,
    look: Look | None = None,
) -> list[Attachment]:
    """Lay out rows as PDF/A-3u files in ``folder``; return them as attachments, in order. No rows, no file.

    Args:
        rows: as many cells as there are columns; strings may hold anything, and a phrase is said in the language.
            They are read as they are laid out: so many parts of them are in memory as there are processes, and two.
        name: of the files, ``<name>-001.pdf`` and so on.
        who: the report they belong to, printed on every page; None prints none.
        look: the report's; None is the plain one in ``language``.

    Raises:
        UsageError: there is no column, or a row has another number of cells.
        Unavailable: a part cannot be written, or a worker died.
    """
    if not columns:
        raise UsageError(f"the annex {name} has no column")
    job = _Layout(title, tuple(columns), folder, name, look or Look(language), who)
    return list(each(job, _parts(rows, len(columns), name), processes=processes))


def _parts(rows: Iterable[Sequence[str]], columns: int, name: str) -> Iterator[Part]:
    left, number, first = iter(rows), 1, 1
    while some := list(islice(left, ROWS)):
        if any(len(row) != columns for row in some):
            raise UsageError(f"a row of the annex {name} has not {columns} cells")
        yield Part(number, first, some)
        number, first = number + 1, first + len(some)


@dataclass(frozen=True, slots=True)
class _Layout:
    """Lays out one part, in whichever process."""

    title: str
    columns: tuple[Column, ...]
    folder: Path
    name: str
    look: Look
    who: Identification | None

    def after_fork(self) -> None:
        """Nothing of the parent's is used."""

    def __call__(self, part: Part, /) -> Attachment:
        file = f"{self.name}-{part.number:03d}.pdf"
        last = part.first + len(part.rows) - 1
        pdf = self._pages(part, last, file)
        _write(self.folder / file, pdf)
        description = phrase("{title}, rows {first:,} to {last:,}", title=self.title, first=part.first, last=last)
        return Attachment(file, description, PDF, self.folder / file)

    def _pages(self, part: Part, last: int, file: str) -> bytes:
        fonts = FontBook()
        words = Wording(fonts, catalog(self.look.language))
        templates = layout.environment(words, self.look)
        whole = sum(column.width for column in self.columns)
        templates.filters |= {"percentage": lambda width: Markup("{:.3f}%").format(100 * width / whole), "look": _look}
        with layout.template_errors():
            body = templates.get_template("annex.html.j2").render(
                title=self.title,
                number=part.number,
                first=part.first,
                last=last,
                columns=self.columns,
                rows=part.rows,
                who=self.who,
            )
            css, served = layout.dress(templates, fonts, words, self.title, self.look)
        report = "" if self.who is None else self.who.report_id
        with _collecting_later():
            return layout.to_pdf(body, css, layout.Served(served), f"{report}/{file}")[0]


@contextmanager
def _collecting_later() -> Iterator[None]:
    """A layout makes millions of objects that live until its end: looking for garbage meanwhile costs a third more."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def _look(column: Column) -> Markup:
    classes = ["u", *(["r"] * (column.align == "right")), *(["mono"] * column.mono)]
    return Markup(' class="{}"').format(" ".join(classes))


def _write(path: Path, pdf: bytes) -> None:
    """A new file for its owner alone."""
    try:
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(pdf)
    except OSError as error:
        raise Unavailable(f"cannot write {path}: {error.strerror}") from None
