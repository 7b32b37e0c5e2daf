"""The look of a report: its language, whose name it carries, and where an operator's own templates lie.

Nothing here changes what a report says; it changes how, and under which name. Templates and a logo are the operator's
own files: they are read when a report is made, and a template runs without access to anything but the report.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from reports.phrase import phrase
from vault.core.errors import UsageError

_COLOUR = re.compile(r"#[0-9a-fA-F]{6}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Brand:
    """Whose report it is.

    Attributes:
        name: stands at the top of page one.
        line: behind it.
        accent: colour of headings' numbers and rules, ``#rrggbb``. Figures and findings keep their own colours, which
            are chosen to be told apart in print.
        logo: a PNG or SVG file, instead of the name.
        note: at the end of page one, such as a company's address; may be empty.
    """

    name: str = "Reasonvault"
    line: str = field(default_factory=lambda: phrase("Management’s evidence on AI-assisted payment decisions"))
    accent: str = "#24466e"
    logo: Path | None = None
    note: str = ""

    def __post_init__(self) -> None:
        if not _COLOUR.fullmatch(self.accent):
            raise UsageError("the accent of a report is a colour as #rrggbb")
        if self.logo is not None and self.logo.suffix not in (".png", ".svg"):
            raise UsageError("the logo of a report is a .png or .svg file")


@dataclass(frozen=True, slots=True)
class Look:
    """How a report is to look.

    Attributes:
        language: BCP 47 tag, one of ``reports.catalog.LANGUAGES``.
        templates: a folder whose templates come before ours, by name; None where there is none.
    """

    language: str = "en"
    brand: Brand = field(default_factory=Brand)
    templates: Path | None = None
