"""The desk: what this home issues reports with, whatever their kind: its look, its signer, its witnesses.

``<home>/branding/`` holds what an operator brings along; none of it is needed:

    branding.toml       name, line, accent, logo, note (reports.look.Brand), language
    templates/*.j2      templates that come before ours, by name
    <logo>              a .png or .svg file that branding.toml names
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import msgspec

from reports.catalog import catalog
from reports.issue import Desk
from reports.look import Brand, Look
from service.signers import report_signer
from vault.context import Vault
from vault.core.errors import UsageError
from vault.outside import for_reports

FOLDER = "branding"
_MOST_LOGO_BYTES = 1 << 20


class _Settings(msgspec.Struct, forbid_unknown_fields=True):
    name: str | None = None
    line: str | None = None
    accent: str | None = None
    logo: str | None = None
    note: str | None = None
    language: str = "en"


@contextmanager
def desk_of(home: Path, vault: Vault, language: str | None = None) -> Iterator[Desk]:
    """Yield the desk of a home; what it holds open (a token's session) ends with it.

    Args:
        language: instead of the one that ``branding.toml`` names.

    Raises:
        UsageError: a setting cannot work; the line says where.
        Unavailable: what signs is out of reach.
    """
    look = _look(home / FOLDER, language)
    with report_signer(home, vault) as signer:
        yield Desk(look, signer, for_reports)


def _look(folder: Path, language: str | None) -> Look:
    path = folder / "branding.toml"
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
        given = msgspec.convert(document, _Settings)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
        raise UsageError(f"cannot use {path}: {str(error).splitlines()[0]}") from None
    spoken = language or given.language
    catalog(spoken)  # refuses a language that no report speaks
    own = {name: value for name in ("name", "line", "accent", "note") if (value := getattr(given, name)) is not None}
    try:
        brand = replace(Brand(), **own, logo=_logo(folder, given.logo))
    except UsageError as error:
        raise UsageError(f"cannot use {path}: {error}") from None
    templates = folder / "templates"
    return Look(spoken, brand, templates if templates.is_dir() else None)


def _logo(folder: Path, name: str | None) -> Path | None:
    if name is None:
        return None
    logo = folder / name
    if Path(name).name != name or not logo.is_file() or logo.stat().st_size > _MOST_LOGO_BYTES:
        raise UsageError(f"logo names a file of at most 1 MiB in {folder}")
    return logo
