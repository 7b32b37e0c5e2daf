"""Where the keys of groups and of the tenant lie: ``<home>/provider.toml``; without it, in the key directory.

keys = "openbao"
address = "https://bao.example:8200"
mount = "transit"
ca_file = "/etc/ssl/bao.pem"        # where the system's certificates do not do

It is written once, by ``init``. Address and certificates may be edited later, such as when the server moves; the mount
is part of where the keys are. There is no secret in it: the token comes from the environment.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from vault.core.errors import UsageError
from vault.keys import disk
from vault.keys.keyfile import KeyDirectory
from vault.keys.openbao import OpenBaoKeys
from vault.keys.openbao_http import Transit, check_address, from_environment
from vault.keys.provider import KeyProvider

RECORD = "keys-openbao"


class OpenBaoSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """``provider.toml``. ``ca_file`` names PEM certificates to trust instead of the system's; empty for those."""

    keys: Literal["openbao"]
    address: str
    mount: str = "transit"
    ca_file: str = ""


def read(home: Path) -> OpenBaoSettings | None:
    """Return what ``provider.toml`` says, None for the key directory.

    Raises:
        UsageError: it is damaged, or it is missing where there is a record of OpenBao's keys.
    """
    path = _file(home)
    try:
        return msgspec.convert(tomllib.loads(path.read_text()), OpenBaoSettings)
    except FileNotFoundError:
        if (home / RECORD).exists():
            raise UsageError(f"{path} is missing, and this vault's keys are in OpenBao: restore it") from None
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None


def choose(home: Path, wanted: OpenBaoSettings | None, *, new: bool) -> None:
    """Write down where a new vault's keys lie. Nothing happens where that is said already.

    Raises:
        UsageError: a vault is here whose keys lie elsewhere; they do not move.
    """
    if wanted is None or wanted == (known := read(home)):
        return
    if known is not None or not new:
        raise UsageError("this vault's keys lie elsewhere, and keys do not move: see provider.toml in its home")
    _transit(wanted)  # refuses what cannot work, before it is written down
    lines = [
        f"{name} = {json.dumps(value)}\n" for name, value in msgspec.structs.asdict(wanted).items() if value
    ]  # what the settings may hold is spelled alike in JSON and TOML
    disk.write_file(_file(home), "".join(lines).encode())


def provider(home: Path, keys: KeyDirectory, *, make: bool = False) -> KeyProvider:
    """Return the provider of the vault in ``home``, whose key directory is open.

    OpenBao is not asked anything yet, unless ``make`` finds no record of its keys: then it makes one, and a canary.

    Raises:
        UsageError: ``provider.toml`` cannot work. KeyUnavailable, Modified: the record is not there, or not whole.
    """
    settings = read(home)
    if settings is None:
        return keys
    opening = OpenBaoKeys.create if make else OpenBaoKeys.open
    return opening(home / RECORD, _transit(settings))


@contextmanager
def opened(home: Path, keys: KeyDirectory, *, make: bool = False) -> Iterator[KeyProvider]:
    """Yield the provider, and close its connections in the end."""
    found = provider(home, keys, make=make)
    try:
        yield found
    finally:
        if isinstance(found, OpenBaoKeys):
            found.close()


def openbao(address: str, mount: str, ca_file: Path | None) -> OpenBaoSettings:
    """Return settings from what a command was given. Raises ``UsageError`` for an address that cannot work."""
    return OpenBaoSettings("openbao", check_address(address), mount, "" if ca_file is None else str(ca_file.absolute()))


def _transit(settings: OpenBaoSettings) -> Transit:
    ca_file = Path(settings.ca_file) if settings.ca_file else None
    return Transit(settings.address, settings.mount, token=from_environment(os.environ), ca_file=ca_file)


def _file(home: Path) -> Path:
    return home / "provider.toml"
