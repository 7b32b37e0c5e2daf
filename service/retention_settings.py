"""Settings of retention: ``<home>/retention.toml``, where there is one.

[disposal]
cooling_off_hours = 72
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

from retention.disposal import CoolingOff
from vault.core.errors import UsageError

_FILE = "retention.toml"
_MOST_HOURS = 24 * 366


class DisposalSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The section ``[disposal]``.

    Attributes:
        cooling_off_hours: between the second approval of what is due and its destruction. 0 leaves nobody any time to
            object; whatever it is, the certificate prints it.
        early_cooling_off_hours: the same where two people want records gone before they are due.
    """

    cooling_off_hours: float = 72
    early_cooling_off_hours: float = 72


def read_disposal(home: Path) -> CoolingOff:
    """Read how long disposals cool off.

    Raises:
        UsageError: the file cannot be read, or holds something that nothing knows.
    """
    path = home / _FILE
    try:
        document = tomllib.loads(path.read_text("utf-8")) if path.exists() else {}
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    if unknown := set(document) - {"disposal"}:
        raise UsageError(f"{path} has a section that nothing knows: {min(unknown)}")
    try:
        found = msgspec.convert(document.get("disposal", {}), DisposalSettings)
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}, section [disposal]: {error}") from None
    hours = (found.cooling_off_hours, found.early_cooling_off_hours)
    if not all(0 <= one <= _MOST_HOURS for one in hours):
        raise UsageError(f"{path}: hours of cooling-off are 0 to {_MOST_HOURS}")
    return CoolingOff(*(round(one * 3600) for one in hours))
