"""Who vouches for the vault from outside: ``<home>/witness.toml``, where there is one.

    quorum = 1                    # so many of the witnesses that are asked
    fail = "open"                 # or "closed": reports, bundles and the destruction of keys wait for it
    alarm_after = 60              # minutes
    stamp_every = 15              # minutes

    [[witness]]
    key = "witness.example/w1+da77ade7+BOvN63jn/bLvkieywe8R6UYAtVtNbZpXh34x7onlmtw2"
    url = "https://witness.example"

    [[authority]]
    name = "example-tsa"
    url = "https://tsa.example/tsr"
    roots = "tsa-root.pem"        # PEM; a relative path begins at the home directory

``own = true`` marks what is run by whoever runs the vault. Without a ``url`` nobody is asked any more, and what was
vouched for before still counts: so keep the entries of those you leave.
"""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import msgspec
from cryptography.x509 import Certificate, load_pem_x509_certificates

from vault.core.canonical import is_word
from vault.core.cosignature import CosignerKey
from vault.core.errors import RefusedInput, UsageError
from vault.policy import NOBODY, Authority, Policy, Witness

FILE: Final = "witness.toml"
_MOST_MINUTES: Final = 7 * 24 * 60
_MOST_ROOTS_BYTES: Final = 1 << 20


class WitnessSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[witness]]``.

    Attributes:
        key: its verifier key, C2SP type 4.
        url: submission prefix; ``/add-checkpoint`` is added. Empty: asked no more.
        own: whether whoever runs the vault runs it too.
    """

    key: str
    url: str = ""
    own: bool = False


class AuthoritySettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One ``[[authority]]``.

    Attributes:
        name: a word, for events and reports.
        roots: file of PEM certificates that its own must lead to.
        url: where it takes requests (RFC 3161). Empty: asked no more.
        own: whether whoever runs the vault runs it too.
    """

    name: str
    roots: str
    url: str = ""
    own: bool = False


class OutsideSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file.

    Attributes:
        quorum: so many of the witnesses that are asked; as a default, all.
        fail: what happens while the policy is not met.
        alarm_after: minutes; so old may the newest evidence be.
        stamp_every: minutes between time-stamps, at the least.
        witness, authority: who is asked; the first authority that answers will do.
    """

    quorum: int | None = None
    fail: Literal["open", "closed"] = "open"
    alarm_after: float = 60
    stamp_every: float = 15
    witness: tuple[WitnessSettings, ...] = ()
    authority: tuple[AuthoritySettings, ...] = ()


def read(home: Path) -> Policy:
    """Return the policy of a home; one that asks nobody where there is no file.

    Raises:
        UsageError: the file cannot work; the line says which of its lines.
    """
    path = home / FILE
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return NOBODY
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {str(error).splitlines()[0]}") from None
    try:
        found = msgspec.convert(tomllib.loads(text), OutsideSettings)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path}: {error}") from None
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}{_line(text, str(error))}: {error}") from None
    try:
        return _policy(home, found)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _policy(home: Path, found: OutsideSettings) -> Policy:
    witnesses = tuple(_witness(one) for one in found.witness)
    authorities = tuple(_authority(home, one) for one in found.authority)
    # A witness that has another key now keeps its name; the old key's entry, without a url, is what it said before.
    names = [one.name for one in witnesses if one.url] + [one.name for one in authorities]
    twice = {name for name in names if names.count(name) > 1}
    keys = [one.key.public_key for one in witnesses]
    if twice or len(set(keys)) < len(keys):
        raise UsageError(f"a name or a key stands there twice: {', '.join(sorted(twice)) or 'the key'}")
    asked = sum(1 for one in witnesses if one.url)
    quorum = asked if found.quorum is None else found.quorum
    if not (1 if asked else 0) <= quorum <= asked:
        raise UsageError(f"quorum is {quorum}, and {asked} witnesses are asked")
    if not 1 <= found.alarm_after <= _MOST_MINUTES:
        raise UsageError(f"alarm_after is 1 to {_MOST_MINUTES} minutes")
    if not 0 <= found.stamp_every <= found.alarm_after / 2:
        raise UsageError("stamp_every is 0 to half of alarm_after, so that one stamp may fail before the alarm")
    return Policy(
        witnesses,
        authorities,
        quorum,
        found.fail == "closed",
        timedelta(minutes=found.alarm_after),
        timedelta(minutes=found.stamp_every),
    )


def _witness(one: WitnessSettings) -> Witness:
    try:
        key = CosignerKey.parse(one.key)
    except RefusedInput as error:
        raise UsageError(f"the key of witness {one.key[:40]!r} cannot be used: {error.reason}") from None
    return Witness(key, _url(one.url, key.name), one.own)


def _authority(home: Path, one: AuthoritySettings) -> Authority:
    if not one.name or not is_word(one.name):
        raise UsageError(f"the name of an authority is a word of A-Z a-z 0-9 . _ : / + -, not {one.name[:40]!r}")
    return Authority(one.name, _url(one.url, one.name), _roots(home / one.roots, one.name), one.own)


def _roots(path: Path, name: str) -> tuple[Certificate, ...]:
    try:
        with open(path, "rb") as file:
            return tuple(load_pem_x509_certificates(file.read(_MOST_ROOTS_BYTES)))
    except OSError as error:
        raise UsageError(f"cannot read the roots of {name}, {path}: {error.strerror}") from None
    except ValueError:
        raise UsageError(f"the roots of {name}, {path}, are no PEM certificates") from None


def _url(url: str, name: str) -> str:
    """Plain http will do: what comes back is signed, and nothing that goes out is secret."""
    if not url:
        return ""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        host, parts = "", urlsplit("")
    plain = parts.username is None and parts.password is None and not parts.fragment
    if parts.scheme not in ("http", "https") or not host or not plain or not url.isascii() or not url.isprintable():
        raise UsageError(f"the url of {name} is https://HOST or http://HOST, without a user or a fragment")
    return url


def _line(text: str, words: str) -> str:
    """Return in which line a fault stands that names its place as msgspec does: ``... - at `$.witness[1].url```, or an
    unknown field in a table; "" where it cannot be told."""
    field = re.search(r"unknown field `([^`]+)`", words)
    place = re.search(r"at `\$(?:\.(\w+)(?:\[(\d+)\])?)?(?:\.(\w+))?`", words)
    table, number = (place[1], int(place[2])) if place and place[2] else ("", 0)
    name = field[1] if field else ((place[3] or place[1]) if place else None)
    count, inside = -1, not table
    for at, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[\[?\s*([\w.-]+)", line):
            count += header[1] == table
            inside = not table and header[1] == name if not table else header[1] == table and count == number
            if inside and (name is None or header[1] == name):
                return f", line {at}"
        if name is not None and inside and re.match(rf"\s*[\"']?{re.escape(name)}[\"']?\s*=", line):
            return f", line {at}"
    return ""
