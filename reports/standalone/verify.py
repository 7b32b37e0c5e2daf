#!/usr/bin/env python3
"""Check a Reasonvault evidence bundle (reasonvault-bundle/1) without Reasonvault, its database or its keys.

    python3 verify.py [BUNDLE] --key FINGERPRINT

BUNDLE is the zip, or the directory it was unpacked into; left out, the directory that this file stands in. FINGERPRINT
is the SHA-256 of the vault's checkpoint key, 64 hex digits, that its owner told you on another way. Without one the
bundle is only compared with itself.

Needs Python 3.9 or later and the package `cryptography`; nothing of Reasonvault, and no network. Nothing in the bundle
is executed, and nothing is written. Written from docs/reference/bundle.md and vault/core/FORMAT.md, C2SP signed-note,
tlog-checkpoint and tlog-cosignature, RFC 6962, RFC 3161, RFC 5652 and RFC 5816.

Exit: 0 OK, 10 MODIFIED, 11 MISSING, 12 FORKED; the worst decides. 2: the command line.
"""

import sys

# What lies beside this file came with a bundle, or from whoever unpacked it: none of it is imported. Not even the
# module __future__ is, so annotations with "|" stand in quotes.
if __name__ == "__main__" and not (sys.flags.isolated or getattr(sys.flags, "safe_path", False)):
    del sys.path[0]

import argparse
import base64
import binascii
import hashlib
import hmac
import io
import json
import os
import re
import stat
import struct
import zipfile
from array import array
from bisect import bisect_left, bisect_right
from collections import Counter
from contextlib import contextmanager
from datetime import date, datetime, timedelta, timezone
from functools import lru_cache
from itertools import islice
from typing import Any, BinaryIO, Iterable, Iterator, NamedTuple, Sequence

try:
    from cryptography import x509
    from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
    from cryptography.x509.oid import ExtendedKeyUsageOID
except ImportError:
    print("verify.py needs the package cryptography: pip install cryptography", file=sys.stderr)
    sys.exit(2)

VERSION = "reasonvault-bundle/1"
MODIFIED, MISSING, FORKED = "MODIFIED", "MISSING", "FORKED"
EXIT = {MISSING: 11, MODIFIED: 10, FORKED: 12}  # the worst last
EXIT_ORDER = (MISSING, MODIFIED, FORKED)
MOST_SMALL = 32 << 20  # bytes of a file that is read whole
MOST_LINE = 16 << 20  # a record has at most 1 MiB, and JSON may spell a byte in six
MOST_FILES = 20_000
SHOWN = 50  # findings that are printed
MOST_ABSENT = 10_000  # records that are named as absent
UTC = timezone.utc


class Finding(NamedTuple):
    verdict: str
    what: str


class Bad(Exception):
    """A check that does not hold. ``verdict`` says what that means."""

    def __init__(self, what: str, verdict: str = MODIFIED) -> None:
        super().__init__(what)
        self.verdict = verdict


class Report:
    """What was checked and what was found."""

    def __init__(self) -> None:
        self.checks: list[str] = []
        self.notes: list[str] = []
        self.findings: list[Finding] = []
        self.counts: Counter[str] = Counter()
        self.about: dict[str, Any] = {}

    def ok(self, what: str) -> None:
        self.checks.append(what)

    def note(self, what: str) -> None:
        self.notes.append(what)

    def bad(self, what: str, verdict: str = MODIFIED) -> None:
        self.counts[verdict] += 1
        if len(self.findings) < 10_000:
            self.findings.append(Finding(verdict, what))

    @property
    def verdict(self) -> str:
        return next((one for one in reversed(EXIT_ORDER) if self.counts[one]), "OK")

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """Turn whatever a hostile file makes go wrong into a finding."""
        try:
            yield
        except Bad as error:
            self.bad(f"{what}: {error}", error.verdict)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as error:  # what a library raises is not for it to say; some are no Exception
            self.bad(f"{what}: not in the form it must have ({type(error).__name__})")


# Bytes and texts.


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: Any, length: int) -> bytes:
    """The bytes of base64url without padding, in its one spelling."""
    if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise Bad("not base64url")
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except binascii.Error:
        raise Bad("not base64url") from None
    if len(data) != length or b64url(data) != text:
        raise Bad("a digest of the wrong length or spelling")
    return data


def unb64(text: Any) -> bytes:
    """The bytes of standard base64 with padding, in its one spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError, TypeError):
        raise Bad("not base64") from None
    if base64.b64encode(data).decode() != text:
        raise Bad("base64 in another spelling than its own")
    return data


def safe(text: Any) -> str:
    """A text for the terminal: what a hostile file holds moves no cursor and reorders nothing."""
    return "".join(one if " " <= one <= "~" else f"\\u{ord(one):04x}" for one in str(text)[:200])


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise Bad("a name stands twice in one object")
    return found


def no_constant(word: str) -> Any:
    raise Bad(f"{word} is no JSON")


def parse(data: "bytes | str") -> Any:
    """JSON, each name once, no NaN."""
    try:
        text = data if isinstance(data, str) else data.decode("utf-8")  # json would take UTF-16, too
        return json.loads(text, object_pairs_hook=once, parse_constant=no_constant)
    except (ValueError, RecursionError):
        raise Bad("not JSON in UTF-8") from None


def instant(text: Any) -> datetime:
    """An instant of a leaf or of the manifest."""
    if not isinstance(text, str) or not INSTANT.fullmatch(text):
        raise Bad("not an instant")
    calendar_day(text[:10])
    moment = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return moment + timedelta(milliseconds=int(text[20:23])) if len(text) > 20 else moment


@lru_cache(maxsize=8192)
def calendar_day(text: str) -> None:
    try:
        date(int(text[:4]), int(text[5:7]), int(text[8:10]))
    except ValueError:
        raise Bad("a day that no calendar has") from None


# The container: a zip that somebody hostile may have made, or a directory.

NAME = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")


def good_name(name: Any) -> bool:
    """Whether a name can only lie below the bundle: no absolute path, no backslash, no part that begins with a dot."""
    return isinstance(name, str) and len(name) <= 300 and NAME.fullmatch(name) is not None


KNOWN = re.compile(
    r"README\.txt|verify\.py|trust/tsa-[0-9]{1,9}\.pem|"
    r"ledgers/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/"
    r"(?:checkpoint|leaves\.jsonl|nodes\.bin|records\.jsonl|consistency/[0-9]{1,20}\.bin|"
    r"outside/[0-9]{20}\.(?:note|stamped|tsr)|selections/[A-Za-z0-9_-]{43}\.txt|manifests/[A-Za-z0-9._-]{1,80}\.txt)"
)
"""The names that a manifest lists: docs/reference/bundle.md, "The file". Another file could be a program."""


class Zip:
    """The files of a zip, read where they lie. Everything doubtful is refused before anything is read."""

    is_zip = True

    def __init__(self, path: str, most: int) -> None:
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error):
            raise Bad("not a zip, or a damaged one") from None
        except OSError as error:
            raise Bad(f"the file cannot be read ({type(error).__name__})") from None
        members = self._zip.infolist()
        if len(members) > MOST_FILES or self._zip.comment:
            raise Bad("too many files, or a comment")
        seen: set[str] = set()
        total, spans = 0, []
        for one in members:
            kind = stat.S_IFMT(one.external_attr >> 16)
            if not good_name(one.filename) or one.orig_filename != one.filename:
                raise Bad(f"the name {safe(one.orig_filename)!r} does not belong into a bundle")
            if one.filename.lower() in seen:
                raise Bad(f"{one.filename} is there twice")
            if kind not in (0, stat.S_IFREG) or one.is_dir():
                raise Bad(f"{one.filename} is no plain file")
            if one.flag_bits & 0x1 or one.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise Bad(f"{one.filename} is encrypted or packed in a foreign way")
            if one.file_size > 1100 * one.compress_size + 1100:  # more than DEFLATE can
                raise Bad(f"{one.filename} says an absurd size")
            seen.add(one.filename.lower())
            total += one.file_size
            spans.append((one.header_offset, one.header_offset + 30 + one.compress_size))
        if total > most:
            raise Bad(f"it unpacks to {total} bytes: more than --most allows")
        spans.sort()
        if spans and spans[0][0] != 0:
            raise Bad("something stands before the first file in it")
        if any(after[0] < before[1] for before, after in pairs(spans)):
            raise Bad("files overlap in it")
        with open(path, "rb") as file:
            check_nothing_between(file, sorted(members, key=lambda one: one.header_offset), self._zip.start_dir)
        self._members = {one.filename: one for one in members}

    def names(self) -> list[str]:
        return list(self._members)

    def size(self, name: str) -> "int | None":
        found = self._members.get(name)
        return None if found is None else found.file_size

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            with self._zip.open(self._members[name]) as stream:
                yield stream  # type: ignore[misc]
        except (zipfile.BadZipFile, NotImplementedError, EOFError, struct.error, OSError, binascii.Error) as error:
            raise Bad(f"{name} cannot be unpacked") from error
        except Exception as error:
            if type(error).__module__ == "zlib":
                raise Bad(f"{name} cannot be unpacked") from error
            raise


_LOCAL = struct.Struct("<4s5H3I2H")
_END, _END64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_MOST16, _MOST32 = 0xFFFF, 0xFFFFFFFF
_PLAIN_FLAGS = 0x0806  # how hard it was packed, and that names are UTF-8


def check_nothing_between(file: BinaryIO, members: Sequence[zipfile.ZipInfo], directory: int) -> None:
    """Refuse a zip that another program could read as other files: one that goes by the headers before the files, by
    another directory, by names in extra fields, or that looks into gaps."""
    at = 0
    for one in members:
        if one.header_offset != at:
            raise Bad(f"something stands before {one.filename} in it")
        at = after_member(file, one)
    listed = sum(46 + len(one.filename) + len(one.extra) for one in members)
    if any(one.comment or not only_zip64(one.extra) for one in members) or at != directory:
        raise Bad("something stands between its files and their list, or beside them")
    number, place = (len(members), len(members)), directory + listed
    file.seek(0, os.SEEK_END)
    size = file.tell()
    long = size == place + _END64.size + _LOCATOR.size + _END.size
    file.seek(place)
    if long:
        end = _END64.unpack(file.read(_END64.size))
        locator = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if end[:2] + end[4:] != (b"PK\x06\x06", 44, 0, 0, *number, listed, directory) or locator != (
            b"PK\x06\x07",
            0,
            place,
            1,
        ):
            raise Bad("its list of files ends in two ways")
    elif size != place + _END.size:
        raise Bad("something stands behind its list of files")
    short = _END.unpack(file.read(_END.size))
    most = (_MOST16, _MOST16, _MOST32, _MOST32)
    meant = zip(short[3:7], (*number, listed, directory), most)
    if short[:3] + short[7:] != (b"PK\x05\x06", 0, 0, 0) or not all(
        said == value or (long and said == absent) for said, value, absent in meant
    ):
        raise Bad("its list of files ends in two ways")


def after_member(file: BinaryIO, one: zipfile.ZipInfo) -> int:
    """Compare the header before a file with its line in the list; return where the file ends."""
    file.seek(one.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) != _LOCAL.size:
        raise Bad(f"{one.filename} has no header")
    mark, _, flags, method, _, _, crc, packed, plain, name, extra = _LOCAL.unpack(header)
    named, beside = file.read(name), file.read(extra)
    if packed == plain == _MOST32 and len(beside) == 20 and beside[:4] == b"\x01\x00\x10\x00":
        plain, packed = struct.unpack("<2Q", beside[4:])
    told = (mark, flags, method, crc, packed, plain, named)
    if told != (
        b"PK\x03\x04",
        one.flag_bits,
        one.compress_type,
        one.CRC,
        one.compress_size,
        one.file_size,
        one.filename.encode(),
    ):
        raise Bad(f"{one.filename} is told in two ways")
    if flags & ~_PLAIN_FLAGS or not only_zip64(beside):
        raise Bad(f"{one.filename} is packed in a foreign way")
    return int(one.header_offset + _LOCAL.size + name + extra + packed)


def only_zip64(extra: bytes) -> bool:
    """Whether the extra fields of a file are none but sizes: another may hold another name for it."""
    return not extra or (extra[:2] == b"\x01\x00" and len(extra) == 4 + int.from_bytes(extra[2:4], "little"))


class Directory:
    """The files of an unpacked bundle. Links are not followed; what the manifest does not name is not looked at."""

    is_zip = False

    def __init__(self, path: str, most: int) -> None:
        self._root = os.path.realpath(path)

    def names(self) -> list[str]:
        found = []
        for top, folders, files in os.walk(self._root):
            folders[:] = [one for one in folders if one != "__pycache__"]
            found += [os.path.relpath(os.path.join(top, one), self._root).replace(os.sep, "/") for one in files]
        return found

    def size(self, name: str) -> "int | None":
        path = os.path.join(self._root, *name.split("/"))
        try:
            found = os.lstat(path)
        except OSError:
            return None
        if not stat.S_ISREG(found.st_mode) or os.path.realpath(path) != path:
            raise Bad(f"{name} is no plain file of this directory")
        return found.st_size

    @contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            with open(os.path.join(self._root, *name.split("/")), "rb") as stream:
                yield stream
        except OSError:
            raise Bad(f"{name} cannot be read", MISSING) from None


class Bundle:
    """Files by name, read only as large as they were said to be."""

    def __init__(self, source: "Zip | Directory") -> None:
        self.source = source

    def has(self, name: str) -> bool:
        return good_name(name) and self.source.size(name) is not None

    def read(self, name: str, most: int = MOST_SMALL) -> bytes:
        if not good_name(name):
            raise Bad("a file's name does not belong into a bundle")
        size = self.source.size(name)
        if size is None:
            raise Bad(f"{name} is not there", MISSING)
        if size > most:
            raise Bad(f"{name} is too large")
        with self.source.open(name) as stream:
            return stream.read(size + 1)

    def digest(self, name: str) -> tuple[int, str]:
        made, size = hashlib.sha256(), 0
        with self.source.open(name) as stream:
            while chunk := stream.read(1 << 20):
                made.update(chunk)
                size += len(chunk)
        return size, made.hexdigest()

    def lines(self, name: str) -> Iterator[bytes]:
        """The lines of a file, without their LF."""
        if self.source.size(name) is None:
            raise Bad(f"{name} is not there", MISSING)
        with self.source.open(name) as stream:
            buffered: Any = io.BufferedReader(stream, 1 << 20) if self.source.is_zip else stream
            while line := buffered.readline(MOST_LINE):
                if line[-1:] != b"\n":
                    raise Bad(f"{name} has a line that is too long, or not ended")
                yield line[:-1]


def pairs(values: Sequence[Any]) -> Iterable[tuple[Any, Any]]:
    return ((values[at], values[at + 1]) for at in range(len(values) - 1))


# Signed notes, checkpoints, cosignatures (C2SP).

ED25519, COSIGNATURE = 1, 4
_P = 2**255 - 19
# y of the points of order 1, 2, 4 and 8 (two of them): whoever has such a key "signs" everything.
_LOW_ORDER = {
    1,
    _P - 1,
    0,
    int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little"),
    int.from_bytes(bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"), "little"),
}


class Key(NamedTuple):
    """A C2SP verifier key. ``until``: up to which size a retired key vouches for its ledger; None while in force."""

    name: str
    kind: int
    public: bytes
    until: "int | None" = None

    @property
    def id(self) -> bytes:
        return sha256(self.name.encode() + b"\n" + bytes([self.kind]) + self.public)[:4]

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256(self.public).hexdigest()


def key_of(text: Any, kind: int, until: Any = None) -> Key:
    """A verifier key ``name+hex id+base64(kind, public)``."""
    parts = text.split("+", 2) if isinstance(text, str) else []
    if len(parts) != 3 or not re.fullmatch(r"[0-9a-f]{8}", parts[1]) or not is_key_name(parts[0]):
        raise Bad("not a verifier key")
    data = unb64(parts[2])
    if len(data) != 33 or data[0] != kind:
        raise Bad("a verifier key of another kind")
    y = int.from_bytes(data[1:], "little") & ((1 << 255) - 1)
    if y >= _P or y in _LOW_ORDER:
        raise Bad("a verifier key of low order")
    if until is not None and not is_count(until):
        raise Bad("a key that is retired at no size")
    key = Key(parts[0], kind, data[1:], until)
    if key.id.hex() != parts[1]:
        raise Bad("a verifier key whose id is not its own")
    return key


def is_key_name(name: str) -> bool:
    return bool(name) and re.fullmatch(r"[!-*,-~]+", name) is not None


def is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


class Line(NamedTuple):
    name: str
    key_id: bytes
    signature: bytes


def split_note(note: bytes) -> tuple[bytes, list[Line]]:
    """Text and signature lines of a note; nothing is verified."""
    if len(note) > 1_000_000:
        raise Bad("a note that is too large")
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError:
        raise Bad("a note that is not UTF-8") from None
    if any(one != "\n" and (one < " " or one == "\x7f") for one in whole):
        raise Bad("a note with control characters")
    text, blank, rest = whole.rpartition("\n\n")
    if not blank or not rest.endswith("\n"):
        raise Bad("not a signed note")
    found: list[Line] = []
    for line in rest[:-1].split("\n"):
        dash, _, named = line.partition(" ")
        name, _, encoded = named.partition(" ")
        data = unb64(encoded)
        if dash != "\u2014" or not name or len(data) < 5 or len(found) >= 100:
            raise Bad("a signature line that is none")
        found.append(Line(name, data[:4], data[4:]))
    return (text + "\n").encode(), found


def signed_by(text: bytes, lines: Sequence[Line], keys: Iterable[Key]) -> list[Key]:
    """The keys that signed. A line that names a known key must verify; others are ignored."""
    found = []
    for key in keys:
        for line in lines:
            if (line.name, line.key_id) == (key.name, key.id):
                if len(line.signature) != 64 or not verifies(key.public, line.signature, text):
                    raise Bad(f"the signature of {safe(key.name)} does not hold")
                found.append(key)
    return found


def verifies(public: bytes, signature: bytes, message: bytes) -> bool:
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


class Head(NamedTuple):
    size: int
    root: bytes


def checkpoint_of(text: bytes, origin: str) -> Head:
    lines = text.decode().split("\n")
    if len(lines) != 4 or lines[3] or lines[0] != origin or not re.fullmatch(r"0|[1-9][0-9]{0,18}", lines[1]):
        raise Bad("not a checkpoint of this ledger")
    root = unb64(lines[2])
    if len(root) != 32 or int(lines[1]) >= 2**63:
        raise Bad("not a checkpoint of this ledger")
    return Head(int(lines[1]), root)


def open_checkpoint(note: bytes, origin: str, keys: Sequence[Key]) -> Head:
    """A checkpoint that one of the keys signed which may vouch for a tree of its size."""
    text, lines = split_note(note)
    head = checkpoint_of(text, origin)
    signers = signed_by(text, lines, keys)
    if not signers:
        raise Bad("no key that is trusted has signed the checkpoint")
    if not any(one.until is None or head.size <= one.until for one in signers):
        raise Bad("only a key that was retired before has signed the checkpoint")
    return head


def cosigned_at(key: Key, line: Line, text: bytes) -> int:
    """When a witness cosigned, Unix seconds: C2SP cosignature/v1."""
    if len(line.signature) != 72:
        raise Bad(f"the cosignature of {safe(key.name)} is none")
    seconds = int.from_bytes(line.signature[:8], "big")
    if seconds >= 2**63 or not verifies(key.public, line.signature[8:], b"cosignature/v1\ntime %d\n" % seconds + text):
        raise Bad(f"the cosignature of {safe(key.name)} does not hold")
    return seconds


# Merkle trees (RFC 6962).


def leaf_hash(leaf: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + leaf).digest()


def root_of(size: int, positions: Sequence[int], hashed: "bytes | bytearray", nodes: bytes) -> bytes:
    """The root that some leaves and the hashes beside them lead to: docs/reference/bundle.md, "Leaves"."""
    taken = 0

    def root(low: int, high: int, first: int, last: int) -> bytes:
        nonlocal taken
        if first == last:
            taken += 32
            if taken > len(nodes):
                raise Bad("nodes.bin has too few hashes")
            return nodes[taken - 32 : taken]
        if high - low == 1:
            return bytes(hashed[first * 32 : first * 32 + 32])
        middle = low + (1 << ((high - low - 1).bit_length() - 1))
        cut = bisect_left(positions, middle, first, last)
        return hashlib.sha256(b"\x01" + root(low, middle, first, cut) + root(middle, high, cut, last)).digest()

    if not size or not positions:
        raise Bad("an empty tree, or no leaf of it")
    made = root(0, size, 0, len(positions))
    if taken != len(nodes):
        raise Bad("nodes.bin has hashes to spare")
    return made


def is_beginning(old: Head, new: Head, proof: bytes) -> bool:
    """Whether RFC 6962's consistency proof shows that the old tree is how the new one begins. It is taken apart from
    the top, as the RFC defines it."""
    if not 0 < old.size <= new.size or len(proof) % 32 or len(proof) > 64 * 64:
        return False
    given = [proof[at : at + 32] for at in range(0, len(proof), 32)]
    if old.size == new.size:
        return not given and old.root == new.root

    def both(m: int, n: int, whole: bool) -> tuple[bytes, bytes]:
        """SUBPROOF(m, D[n], whole), read from its end: the roots of the first m and of all n leaves."""
        if m == n:
            if whole:
                return old.root, old.root
            last = given.pop()
            return last, last
        k = 1 << ((n - 1).bit_length() - 1)
        beside = given.pop()
        if m <= k:
            left_old, left_new = both(m, k, whole)
            return left_old, sha256(b"\x01" + left_new + beside)
        right_old, right_new = both(m - k, n - k, False)
        return sha256(b"\x01" + beside + right_old), sha256(b"\x01" + beside + right_new)

    try:
        made = both(old.size, new.size, True)
    except IndexError:
        return False
    return not given and made == (old.root, new.root)


# Leaves (FORMAT.md, section 2).

_WORD = r"[A-Za-z0-9._:/+-]+"
_B32 = r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]"
_B16 = r"[A-Za-z0-9_-]{21}[AQgw]"
_INT = r"0|[1-9][0-9]{0,15}"
_UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
_TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_GROUP = r"(?:[0-9]{4}-(?:0[1-9]|1[0-2])|open|held)\.(?:0|[1-9][0-9]{0,8})"
INSTANT = re.compile(_TIME + r"(?:\.[0-9]{3})?Z")
MOMENT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9]{2}:[0-9]{2}:[0-9]{2})(?:\.([0-9]{1,20}))?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))"
)
UUID = re.compile(_UUID)
WORD = re.compile(_WORD)
PREDECESSOR = re.compile(rf"{_UUID}:({_INT}):{_B32}:({_INT})")
RECORD = re.compile(
    rf'\{{"facets":"(?P<facets>{_B32})","group":"(?P<group>{_GROUP})","id_tag":"(?P<id_tag>{_B16})",'
    rf'(?:"keep_until":"(?P<keep_until>{_TIME}Z)",)?"key":"{_B32}","kind":"record","ledger":"(?P<ledger>{_UUID})",'
    rf'"parts":\["{_B32}"(?:,"{_B32}")*\],"plaintext":"(?P<plaintext>{_B32})","prev":"(?P<prev>{_B32})",'
    rf'"producer":"{_WORD}",(?:"producer_seq":(?P<counted>{_INT}),)?"received_at":"(?P<received_at>{_TIME}\.[0-9]{{3}}Z)",'
    rf'"rulebook":"{_B32}","rules":\[(?P<rules>(?:"{_WORD}"(?:,"{_WORD}")*)?)\],"seq":(?P<seq>{_INT}),"v":1\}}'
)
_EVENT = {"actor", "at", "event", "facts", "kind", "ledger", "prev", "seq", "v"}
_SEALED = {"group", "key", "parts", "plaintext", "rulebook", "rules"}
_GENESIS = {
    "created_at",
    "jurisdictions",
    "kind",
    "ledger",
    "ledger_kind",
    "name",
    "region",
    "rulebook",
    "rules",
    "seq",
}
_GENESIS |= {"tenant", "v", "verifiers"}


class Leaf(NamedTuple):
    """A leaf whose form was checked. ``said``: its members; of a record the few that are needed."""

    kind: str
    seq: int
    prev: "str | None"
    said: dict[str, Any]
    hashed: bytes


def leaf_of(line: bytes, ledger: str) -> Leaf:
    if len(line) > 4096:
        raise Bad("a leaf of more than 4,096 bytes")
    try:
        text = line.decode("ascii")
    except UnicodeDecodeError:
        raise Bad("a leaf that is not ASCII") from None
    match = RECORD.fullmatch(text)
    said: dict[str, Any] = match.groupdict() if match is not None else canonical(text)
    kind = "record" if match is not None else said.get("kind")
    seq = int(said["seq"])
    if match is not None:
        check_record(said, seq)
    elif kind == "event":
        check_event(said)
    elif kind == "genesis":
        check_genesis(said)
    else:
        raise Bad("a leaf of no known kind, or without the form of its kind")
    if said["ledger"] != ledger:
        raise Bad("a leaf of another ledger")
    return Leaf(str(kind), seq, said.get("prev"), said, leaf_hash(line))


def canonical(text: str) -> dict[str, Any]:
    said = parse(text)
    if not isinstance(said, dict) or not in_subset(said, 0) or spelled(said) != text or said.get("v") != 1:
        raise Bad("a leaf that is not canonical JSON of version 1")
    if not is_count(said.get("seq")):
        raise Bad("a leaf without a position")
    return said


def spelled(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"))


def in_subset(value: Any, depth: int) -> bool:
    """Canonical JSON's few types: FORMAT.md, section 2."""
    if depth > 4:
        return False
    if isinstance(value, dict):
        return all((not key or WORD.fullmatch(key)) and in_subset(one, depth + 1) for key, one in value.items())
    if isinstance(value, list):
        return all(in_subset(one, depth + 1) for one in value)
    if isinstance(value, str):
        return not value or WORD.fullmatch(value) is not None
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**53


def check_record(said: dict[str, Any], seq: int) -> None:
    if not 0 < seq < 2**53 or int(said["counted"] or 0) >= 2**53:
        raise Bad("a record leaf with a number out of range")
    calendar_day(said["received_at"][:10])
    if said["keep_until"]:
        calendar_day(said["keep_until"][:10])
    if said["rules"]:
        in_order(said["rules"][1:-1].split('","'))


@lru_cache(maxsize=1024)
def _in_order(rules: tuple[str, ...]) -> bool:
    return all(before < after for before, after in pairs(rules))


def in_order(rules: Any) -> None:
    if not isinstance(rules, list) or not all(isinstance(one, str) for one in rules) or not _in_order(tuple(rules)):
        raise Bad("rules that are out of order")


def check_event(said: dict[str, Any]) -> None:
    sealed = said.keys() & _SEALED
    whole = _EVENT | sealed | ({"keep_until"} & said.keys() if sealed else set())
    if said.keys() != whole or sealed not in (set(), _SEALED) or said["seq"] == 0:
        raise Bad("an event leaf without the members of its kind")
    if not isinstance(said["facts"], dict) or not (said["actor"] and said["event"]):
        raise Bad("an event leaf without facts")
    for name in ("actor", "event", "at"):
        if not isinstance(said[name], str):
            raise Bad("an event leaf with a member of another type")
    instant(said["at"])
    unb64url(said["prev"], 32)
    if sealed:
        for text in [said["key"], said["plaintext"], said["rulebook"], *said["parts"]]:
            unb64url(text, 32)
        in_order(said["rules"])
        if not said["parts"] or not re.fullmatch(_GROUP, said["group"]):
            raise Bad("an event leaf with sealed details that have no form")
        if "keep_until" in said:
            instant(said["keep_until"])


def check_genesis(said: dict[str, Any]) -> None:
    if said.keys() - {"predecessor"} != _GENESIS or said["seq"] != 0 or not UUID.fullmatch(str(said["ledger"])):
        raise Bad("a genesis leaf without the members of its kind")
    if said["ledger_kind"] not in ("decisions", "events") or not isinstance(said["verifiers"], list):
        raise Bad("a genesis leaf of no known kind of ledger")
    instant(said["created_at"])
    unb64url(said["rulebook"], 32)
    if "predecessor" in said:
        match = PREDECESSOR.fullmatch(str(said["predecessor"]))
        if match is None or not int(match[1]) <= int(match[2]) < 2**53:
            raise Bad("a genesis leaf with a predecessor that is none")


# Records (FORMAT.md, sections 3 and 5).

APIS = ("payment_intelligence", "risk_compliance", "customer_interaction", "non_ai_bypass", "human_review")
OUTCOMES = ("accepted", "human_review", "deterministic_rule", "rejected", "failed", "outcome_unknown")
FIDELITIES = ("wire", "reconstructed", "truncated", "redacted")
MASKED = "[masked]"
_FIXED = struct.Struct(">BqBBBBBBdqI")
_FACETS: tuple[str, ...] = (
    "record_id",
    "occurred_at",
    "jurisdictions",
    "record_class",
    "api",
    "outcome",
    "fidelity",
    "money_moved",
)
_FACETS += ("below_threshold", "score", "ai_ms", "flags", "model")


def facets_digest(facets: dict[str, Any], salt: bytes) -> bytes:
    if facets.keys() != set(_FACETS) or any(isinstance(one, bool) for one in facets.values()):
        raise Bad("facets that are not the thirteen")
    score = facets["score"]
    if facets["ai_ms"] < -1:
        raise Bad("facets with a number out of range")
    try:
        fixed = _FIXED.pack(
            1,
            facets["occurred_at"],
            facets["api"],
            facets["outcome"],
            facets["fidelity"],
            facets["money_moved"],
            facets["below_threshold"],
            score is not None,
            0.0 if score is None else float(score),
            facets["ai_ms"],
            facets["flags"],
        )
        texts = [facets[name].encode() for name in ("record_id", "record_class", "model", "jurisdictions")]
        return sha256(salt + fixed + b"".join(struct.pack(">H", len(one)) + one for one in texts))
    except (struct.error, UnicodeEncodeError, AttributeError):
        raise Bad("facets with a value that does not fit") from None


def check_facets_of(record: dict[str, Any], facets: dict[str, Any]) -> None:
    """What facets and record both say must be the same, unless it is masked in one of them."""
    decision: Any = record.get("decision")
    source: Any = record.get("source")
    model: Any = {} if record.get("model") is None else record["model"]
    confidence: Any = record.get("confidence")
    timing: Any = record.get("timing")
    named = record.get("jurisdictions")
    said: tuple[tuple[str, Any], ...] = (
        ("record_id", record.get("id")),
        ("api", code(APIS, record.get("api"))),
        ("outcome", code(OUTCOMES, MASKED if decision == MASKED else decision["outcome"])),
        ("money_moved", as_number(MASKED if decision == MASKED else decision["money_moved"])),
        ("fidelity", code(FIDELITIES, MASKED if source == MASKED else source["fidelity"])),
        ("record_class", record.get("record_class") or "payment"),
        ("jurisdictions", named if not isinstance(named, list) else MASKED if MASKED in named else ",".join(named)),
        ("model", MASKED if model == MASKED else model.get("served") or model.get("requested") or ""),
    )
    number: Any = MASKED if confidence == MASKED else (confidence or {}).get("score")
    spent: Any = MASKED if timing == MASKED else (timing or {}).get("ai_ms")
    said += (
        ("score", float(number) if isinstance(number, int) else number),
        ("ai_ms", -1 if spent is None else int(min(spent, 2**31 - 1)) if spent != MASKED else spent),
    )
    if (at := record.get("occurred_at")) != MASKED and abs(microseconds(at) - facets["occurred_at"]) > 1:
        raise Bad("its facets say another occurred_at than the record")  # 1: a record may say nanoseconds
    for name, value in said:
        if value != facets[name] and MASKED not in (value, facets[name]):
            raise Bad(f"its facets say another {name} than the record")


def microseconds(text: Any) -> int:
    """Microseconds since 1970 of an instant as producers write it: RFC 3339, any offset."""
    match = MOMENT.fullmatch(text)
    if match is None:
        raise Bad("a record that occurred at no time")
    day, clock, fraction, sign, hours, minutes = match.groups()
    moment = datetime.strptime(f"{day} {clock}", "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    seconds = (moment - offset - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return int(seconds * 1_000_000 + int((fraction or "").ljust(6, "0")[:6]))


def code(words: Sequence[str], word: Any) -> Any:
    return words.index(word) + 1 if word in words else word


def as_number(value: Any) -> Any:
    return int(value) if isinstance(value, bool) else value


# Time-stamps (RFC 3161, RFC 5652, RFC 5816).

SIGNED_DATA, TST_INFO = "1.2.840.113549.1.7.2", "1.2.840.113549.1.9.16.1.4"
CONTENT_TYPE, MESSAGE_DIGEST = "1.2.840.113549.1.9.3", "1.2.840.113549.1.9.4"
SIGNING_CERTIFICATE, SIGNING_CERTIFICATE_V2 = "1.2.840.113549.1.9.16.2.12", "1.2.840.113549.1.9.16.2.47"
DIGESTS: dict[str, tuple[str, Any]] = {
    "2.16.840.1.101.3.4.2.1": ("sha256", hashes.SHA256()),
    "2.16.840.1.101.3.4.2.2": ("sha384", hashes.SHA384()),
    "2.16.840.1.101.3.4.2.3": ("sha512", hashes.SHA512()),
}
RSA_KEY, RSA_PSS = "1.2.840.113549.1.1.1", "1.2.840.113549.1.1.10"
RSA_WITH = {f"1.2.840.113549.1.1.{at}": f"2.16.840.1.101.3.4.2.{at - 10}" for at in (11, 12, 13)}
ECDSA_WITH = {f"1.2.840.10045.4.3.{at}": f"2.16.840.1.101.3.4.2.{at - 1}" for at in (2, 3, 4)}
ED25519_SIGNATURE = "1.3.101.112"


class Der(NamedTuple):
    """One DER value: its tag, its content, and all of its bytes."""

    tag: int
    content: bytes
    whole: bytes

    def parts(self) -> "list[Der]":
        return der_values(self.content)

    def expect(self, tag: int) -> "Der":
        if self.tag != tag:
            raise Bad("a time-stamp of another structure")
        return self

    def sequence(self) -> "list[Der]":
        return self.expect(0x30).parts()

    def oid(self) -> str:
        data, numbers, value = self.expect(0x06).content, [], 0
        if not data or len(data) > 40 or data[-1] & 0x80:
            raise Bad("an object identifier that is none")
        for byte in data:
            value = value << 7 | byte & 0x7F
            if not byte & 0x80:
                numbers.append(value)
                value = 0
        first = min(numbers[0] // 40, 2)
        return ".".join(map(str, [first, numbers[0] - 40 * first, *numbers[1:]]))

    def number(self) -> int:
        return int.from_bytes(self.expect(0x02).content, "big", signed=True)


def der_values(data: bytes) -> "list[Der]":
    found, at = [], 0
    while at < len(data):
        start, tag = at, data[at]
        if tag & 0x1F == 0x1F or at + 2 > len(data):
            raise Bad("not DER")
        length, at = data[at + 1], at + 2
        if length >= 0x80:
            width = length & 0x7F
            length = int.from_bytes(data[at : at + width], "big")
            at += width
            if not 1 <= width <= 4 or length < 0x80 or length >> (8 * (width - 1)) == 0:
                raise Bad("not DER")
        if at + length > len(data):
            raise Bad("not DER")
        found.append(Der(tag, data[at : at + length], data[start : at + length]))
        at += length
    return found


def der_value(data: bytes) -> Der:
    found = der_values(data)
    if len(found) != 1:
        raise Bad("not one DER value")
    return found[0]


class Stamp(NamedTuple):
    at: datetime
    authority: str
    anchor: str  # fingerprint of the certificate that the chain ended at


def verify_stamp(response: bytes, stamped: bytes, roots: Sequence[x509.Certificate]) -> Stamp:
    """Verify a TimeStampResp over SHA-256 of some bytes. Certificates are judged at the time that it says.

    Not checked: revocation, policies, nonce (whoever asked compared it then).
    """
    parts = der_value(response).sequence()
    if len(parts) != 2 or parts[0].sequence()[0].number() not in (0, 1):
        raise Bad("the time-stamp was not granted")
    outer = parts[1].sequence()
    if outer[0].oid() != SIGNED_DATA:
        raise Bad("the time-stamp is no signed data")
    data = der_value(outer[1].expect(0xA0).content).sequence()
    content = data[2].sequence()
    if content[0].oid() != TST_INFO:
        raise Bad("what is signed is no time-stamp")
    info = der_value(content[1].expect(0xA0).content).expect(0x04).content
    certificates = [one for part in data[3:] if part.tag == 0xA0 for one in certificates_of(part)]
    signers = data[-1].expect(0x31).parts()
    if len(signers) != 1:
        raise Bad("a time-stamp has one signer")
    at = check_info(info, stamped)
    signer = check_signer(signers[0].sequence(), info, certificates)
    anchor = check_chain(signer, certificates, roots, at)
    name = signer.subject.rfc4514_string()
    return Stamp(at, name, anchor.fingerprint(hashes.SHA256()).hex())


def certificates_of(part: Der) -> Iterator[x509.Certificate]:
    for one in part.parts():
        if one.tag == 0x30:
            try:
                yield x509.load_der_x509_certificate(one.whole)
            except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
                raise Bad("a certificate of the time-stamp cannot be read") from None


def check_info(info: bytes, stamped: bytes) -> datetime:
    parts = der_value(info).sequence()
    if parts[0].number() != 1:
        raise Bad("a time-stamp of another version")
    imprint = parts[2].sequence()
    algorithm = imprint[0].sequence()[0].oid()
    if (
        algorithm not in DIGESTS
        or imprint[1].expect(0x04).content != hashlib.new(DIGESTS[algorithm][0], stamped).digest()
    ):
        raise Bad("the time-stamp is over other bytes")
    text = parts[4].expect(0x18).content.decode("ascii", "replace")
    match = re.fullmatch(r"([0-9]{14})(?:\.([0-9]{1,9}))?Z", text)
    if match is None:
        raise Bad("the time-stamp says no time")
    moment = datetime.strptime(match[1], "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    return moment + timedelta(microseconds=int((match[2] or "0").ljust(6, "0")[:6]))


def check_signer(parts: list[Der], info: bytes, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    signer = signer_of(parts[1], certificates)
    digest = parts[2].sequence()[0].oid()
    if digest not in DIGESTS or parts[3].tag != 0xA0:
        raise Bad("the time-stamp is signed in a way that is not known")
    attributes: dict[str, list[Der]] = {}
    for one in parts[3].parts():
        kind, values = one.sequence()
        if kind.oid() in attributes:
            raise Bad("an attribute of the time-stamp is there twice")
        attributes[kind.oid()] = values.expect(0x31).parts()
    if [one.oid() for one in attributes.get(CONTENT_TYPE, [])] != [TST_INFO]:
        raise Bad("the time-stamp's signature is over something else")
    made = hashlib.new(DIGESTS[digest][0], info).digest()
    if [one.expect(0x04).content for one in attributes.get(MESSAGE_DIGEST, [])] != [made]:
        raise Bad("the time-stamp's digest is not that of its content")
    check_named(attributes, signer)
    signed = b"\x31" + parts[3].whole[1:]  # signed as a SET, carried under another tag (RFC 5652 section 5.4)
    check_signature(signer, parts[4].sequence(), digest, parts[5].expect(0x04).content, signed)
    return signer


def signer_of(identifier: Der, certificates: Sequence[x509.Certificate]) -> x509.Certificate:
    for one in certificates:
        if identifier.tag == 0x30:
            issuer, serial = identifier.parts()
            if one.issuer.public_bytes() == issuer.whole and one.serial_number == serial.number():
                return one
        elif identifier.tag == 0x80:
            known = (of.value for of in one.extensions if isinstance(of.value, x509.SubjectKeyIdentifier))
            if any(of.digest == identifier.content for of in known):
                return one
    raise Bad("the certificate of the time-stamp's signer is not in it")


def check_named(attributes: dict[str, list[Der]], signer: x509.Certificate) -> None:
    """The signed attributes name the certificate: nobody can put another beside the signature (RFC 5035)."""
    whole = signer.public_bytes(serialization.Encoding.DER)
    if SIGNING_CERTIFICATE_V2 in attributes:
        first = attributes[SIGNING_CERTIFICATE_V2][0].sequence()[0].sequence()[0].sequence()
        named = "sha256"
        if first[0].tag == 0x30:
            named = DIGESTS[first[0].sequence()[0].oid()][0]
            first = first[1:]
    elif SIGNING_CERTIFICATE in attributes:
        first = attributes[SIGNING_CERTIFICATE][0].sequence()[0].sequence()[0].sequence()
        named = "sha1"
    else:
        raise Bad("the time-stamp does not name its signer's certificate")
    if first[0].expect(0x04).content != hashlib.new(named, whole).digest():
        raise Bad("the time-stamp names another certificate")


def check_signature(
    signer: x509.Certificate, algorithm: list[Der], digest: str, signature: bytes, signed: bytes
) -> None:
    kind, key = algorithm[0].oid(), signer.public_key()
    try:
        if isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048 and (kind == RSA_KEY or kind in RSA_WITH):
            hashed = DIGESTS[RSA_WITH.get(kind, digest)][1]
            key.verify(signature, signed, padding.PKCS1v15(), hashed)
        elif isinstance(key, rsa.RSAPublicKey) and key.key_size >= 2048 and kind == RSA_PSS:
            hashed = DIGESTS[digest][1]
            key.verify(signature, signed, padding.PSS(padding.MGF1(hashed), padding.PSS.AUTO), hashed)
        elif isinstance(key, ec.EllipticCurvePublicKey) and kind in ECDSA_WITH:
            key.verify(signature, signed, ec.ECDSA(DIGESTS[ECDSA_WITH[kind]][1]))
        elif isinstance(key, ed25519.Ed25519PublicKey) and kind == ED25519_SIGNATURE:
            key.verify(signature, signed)
        else:
            raise Bad("the time-stamp is signed in a way that is not known")
    except (InvalidSignature, UnsupportedAlgorithm):
        raise Bad("the time-stamp's signature does not hold") from None


def check_chain(
    signer: x509.Certificate, certificates: Sequence[x509.Certificate], roots: Sequence[x509.Certificate], at: datetime
) -> x509.Certificate:
    """Lead from the signer to a trusted certificate; return that one. All are judged at the time of the stamp."""
    try:
        usage = signer.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    except (x509.ExtensionNotFound, ValueError):
        raise Bad("the signer's certificate is not one for time-stamps") from None
    if list(usage.value) != [ExtendedKeyUsageOID.TIME_STAMPING] or not usage.critical:
        raise Bad("the signer's certificate is not one for time-stamps alone")
    trusted = {one.fingerprint(hashes.SHA256()) for one in roots}
    here, above = signer, 0
    while True:
        anchor = here.fingerprint(hashes.SHA256()) in trusted
        check_certificate(here, at, None if here is signer else above - 1, anchor)
        if anchor:
            return here
        following = next((one for one in [*roots, *certificates] if one is not here and issued(here, one)), None)
        if following is None or above == 8:
            raise Bad("the signer's certificate does not lead to an authority that is trusted")
        here, above = following, above + 1


def issued(one: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        one.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def check_certificate(one: x509.Certificate, at: datetime, below: "int | None", anchor: bool) -> None:
    """Check one certificate of a chain.

    Args:
        below: how many authorities stand under it, None for the signer.
        anchor: it is trusted itself, so it need not say that it is an authority's (RFC 5280 section 6.1).
    """
    try:
        begins, ends = one.not_valid_before_utc, one.not_valid_after_utc
    except AttributeError:  # cryptography before 42
        begins, ends = one.not_valid_before.replace(tzinfo=UTC), one.not_valid_after.replace(tzinfo=UTC)
    if not begins <= at <= ends:
        raise Bad("a certificate was not valid at the time of the stamp")
    authority = False
    for extension in one.extensions:
        value = extension.value
        if isinstance(value, x509.BasicConstraints):
            authority = value.ca and (below is None or value.path_length is None or below <= value.path_length)
        elif isinstance(value, x509.KeyUsage) and below is not None and not value.key_cert_sign:
            raise Bad("a certificate may not issue others")
        elif (
            isinstance(value, x509.KeyUsage)
            and below is None
            and not (value.digital_signature or value.content_commitment)
        ):
            raise Bad("the signer's certificate may not sign")
        elif extension.critical and isinstance(value, (x509.UnrecognizedExtension, x509.NameConstraints)):
            raise Bad("a certificate has a critical extension that is not understood")
    if below is not None and not authority and not anchor:
        raise Bad("a certificate is not an authority's")


# Sets of positions, and erasures (FORMAT.md, section 8).


class Ranges:
    """A selection: ascending ranges that do not touch."""

    def __init__(self, content: bytes, ledger: str, digest: str) -> None:
        if b64url(sha256(content)) != digest:
            raise Bad("a set of positions is not the one that is named")
        title, named, *lines = content.decode("ascii").split("\n")
        if (title, named) != ("reasonvault selection/1", ledger) or not lines or lines.pop():
            raise Bad("a set of positions of another version or ledger")
        self.firsts, self.lasts = array("q"), array("q")
        for line in lines:
            match = re.fullmatch(rf"({_INT})(?:-({_INT}))?", line)
            if match is None:
                raise Bad("a set of positions with a line that is none")
            first, last = int(match[1]), int(match[2] or match[1])
            if (match[2] and last <= first) or (self.lasts and first <= self.lasts[-1] + 1):
                raise Bad("a set of positions that is out of order")
            self.firsts.append(first)
            self.lasts.append(last)

    def __contains__(self, seq: int) -> bool:
        at = bisect_right(self.firsts, seq) - 1
        return at >= 0 and seq <= self.lasts[at]

    def __len__(self) -> int:
        return sum(self.lasts) - sum(self.firsts) + len(self.firsts)

    def without(self, positions: Sequence[int]) -> Iterator[int]:
        """Those that are not among ascending positions."""
        at = 0
        for first, last in zip(self.firsts, self.lasts):
            for seq in range(first, last + 1):
                while at < len(positions) and positions[at] < seq:
                    at += 1
                if at == len(positions) or positions[at] != seq:
                    yield seq


def selection_digest(ledger: str, positions: Sequence[int]) -> str:
    made = hashlib.sha256(f"reasonvault selection/1\n{ledger}\n".encode())
    at = 0
    while at < len(positions):
        end = at
        while end + 1 < len(positions) and positions[end + 1] == positions[end] + 1:
            end += 1
        first, last = positions[at], positions[end]
        made.update(b"%d\n" % first if first == last else b"%d-%d\n" % (first, last))
        at = end + 1
    return b64url(made.digest())


def spans(positions: Sequence[int], most: int = 40) -> str:
    """Positions in words: ``3-5, 9``."""
    found: list[list[int]] = []
    for seq in positions:
        if found and seq == found[-1][1] + 1:
            found[-1][1] = seq
        else:
            found.append([seq, seq])
    words = [str(low) if low == high else f"{low}-{high}" for low, high in found[:most]]
    return ", ".join(words) + (f" and {len(found) - most} more ranges: --json has all" if len(found) > most else "")


class Erasures:
    """Whether records that are not there were destroyed as they must be, by the events of the bundle."""

    def __init__(self, bundle: Bundle, ledger: str, tenant: str, events: Sequence[Leaf]) -> None:
        self._bundle, self._ledger, self._tenant = bundle, ledger, tenant
        self._of: dict[str, list[Leaf]] = {}
        for one in events:
            self._of.setdefault(one.said["event"], []).append(one)
        self._dead = {one.said["facts"]["group"] for one in self._here("key.destroyed")}
        self._known: dict[str, Any] = {}
        self._sets: dict[str, Ranges] = {}
        self.outside_at: Any = lambda seq, own: None
        self.self_asserted = 0

    def judge(self, disposal: Any, leaf: Leaf) -> None:
        """Raise Bad, MISSING, unless the erasure of a record holds."""
        try:
            case = self._case(disposal)
            self._judge(case, leaf)
        except (Bad, KeyError, TypeError, ValueError, AttributeError) as error:
            what = str(error) if isinstance(error, Bad) else "its events do not have their facts"
            raise Bad(f"it is not there, and its erasure does not hold: {what}", MISSING) from None

    def _case(self, disposal: Any) -> dict[str, Any]:
        if not isinstance(disposal, str) or not re.fullmatch(r"[A-Za-z0-9._-]{1,80}", disposal):
            raise Bad("no disposal is named")
        if disposal not in self._known:
            try:
                self._known[disposal] = self._make(disposal)
            except Bad as error:
                self._known[disposal] = error
        found = self._known[disposal]
        if isinstance(found, Bad):
            raise found
        return dict(found)

    def _make(self, name: str) -> dict[str, Any]:
        step = {one: self._steps(f"disposal.{one}", name) for one in ("planned", "intended", "destroying", "cancelled")}
        if [len(step[one]) for one in ("planned", "intended", "destroying")] != [1, 1, 1]:
            raise Bad("it was not planned, intended and begun once each")
        planned, intended, began = step["planned"][0], step["intended"][0], step["destroying"][0]
        plan, final = planned.said["facts"], began.said["facts"]
        if not planned.seq < intended.seq < began.seq or any(one.seq < began.seq for one in step["cancelled"]):
            raise Bad("its steps are out of order")
        if plan["ledger"] != self._ledger or plan["kind"] not in ("expiry", "early"):
            raise Bad("it is another ledger's")
        at, cooling = instant(began.said["at"]), plan["cooling_off"]
        start = max(instant(intended.said["at"]), instant(planned.said["at"]))
        if at < max(start + timedelta(seconds=cooling), instant(intended.said["facts"]["not_before"])):
            raise Bad("its cooling-off was not over")
        if plan["kind"] == "expiry" and at < instant(plan["due"]):
            raise Bad("the last of its entries was not due")
        self._require_approved(name, planned, intended, began)
        if final["manifest"] != plan["manifest"] or final["holds_at"] > began.seq:
            raise Bad("it destroyed something else than was planned")
        content = self._bundle.read(f"ledgers/{self._ledger}/manifests/{name}.txt", 1 << 30)
        if b64url(sha256(content)) != plan["manifest"]:
            raise Bad("its manifest is not the one that was signed")
        title, ledger, *lines = content.split(b"\n")
        if (title, ledger.decode()) != (b"reasonvault manifest/1", self._ledger) or len(lines) - 1 != plan["count"]:
            raise Bad("its manifest is of another version, ledger or size")
        chosen = self._set(final["selection"])
        if len(chosen) != final["count"]:
            raise Bad("it destroyed another number of entries than it says")
        places = {"planned": planned.seq, "intended": intended.seq, "began": began.seq}
        return {"kind": plan["kind"], "at": at, "manifest": set(lines), "chosen": chosen, **places}

    def _require_approved(self, name: str, planned: Leaf, intended: Leaf, began: Leaf) -> None:
        plan = planned.said["facts"]
        counted: dict[str, str] = {}
        for one in self._steps("disposal.approved", name):
            person, facts = one.said["actor"], one.said["facts"]
            known = [of for of in self._of.get("approver.registered", ()) if of.said["facts"]["person"] == person]
            known = [of for of in known if of.seq < began.seq]
            gone = [of for of in self._of.get("approver.removed", ()) if of.said["facts"]["person"] == person]
            if not known or known[-1].seq >= planned.seq or person == planned.said["actor"] or one.seq >= intended.seq:
                continue
            if any(known[-1].seq < of.seq < began.seq for of in gone):
                continue
            lines: tuple[Any, ...] = (
                "reasonvault disposal approval/1",
                self._tenant,
                name,
                plan["kind"],
                self._ledger,
                plan["manifest"],
            )
            lines += (plan["count"], plan.get("due", "-"), planned.seq, plan["cooling_off"], person)
            text = "".join(f"{line}\n" for line in lines).encode("ascii")
            public = known[-1].said["facts"]["public"]
            if facts["key"] == public and verifies(unb64url(public, 32), unb64url(facts["signature"], 64), text):
                counted[public] = person
        if len(set(counted.values())) < 2:
            raise Bad(f"{len(set(counted.values()))} of 2 approvals hold")

    def _judge(self, case: dict[str, Any], leaf: Leaf) -> None:
        if (
            leaf.seq not in case["chosen"]
            or b"%d %b" % (leaf.seq, b64url(leaf.hashed).encode()) not in case["manifest"]
        ):
            raise Bad("it is not among what two people signed for")
        self._require_free(case, leaf.seq)
        groups = [leaf.said["group"]]
        groups += [one.said["facts"]["to"] for one in self._here("keys.moved") if leaf.seq in self._set_of(one)]
        for group in groups:
            if group not in self._dead:
                raise Bad(f"the key of group {group} is not destroyed")
        if case["kind"] == "early":
            return
        for group in groups[1:]:
            if re.match(r"[0-9]{4}-", group) and case["at"] < month_after(group):
                raise Bad(f"it was moved to group {group}, whose month was not over")
        until = leaf.said["keep_until"]
        if until is None:
            dated = [one for one in self._here("record.dated") if one.said["facts"]["seq"] == leaf.seq]
            if not any(one.seq < case["planned"] and instant(one.said["facts"]["at"]) <= case["at"] for one in dated):
                raise Bad("it had no date, and none was told before the plan")
            return
        if instant(until) > case["at"]:
            raise Bad(f"it was to be kept until {until}")
        vouched = self.outside_at(case["intended"], True)
        if vouched is not None and vouched < instant(until):
            raise Bad(
                f"it was to be kept until {until}, and its destruction was ordered by {vouched:%Y-%m-%dT%H:%M:%SZ}"
            )
        self.self_asserted += self.outside_at(case["intended"], False) is None

    def _require_free(self, case: dict[str, Any], seq: int) -> None:
        released = {one.said["facts"]["hold"]: one.seq for one in self._of.get("hold.released", ())}
        for one in (*self._of.get("hold.placed", ()), *self._of.get("hold.inherited", ())):
            facts = one.said["facts"]
            if one.seq > case["began"] or released.get(facts["hold"], case["began"]) < case["began"]:
                continue
            named = (
                zip(facts["ledgers"], facts["selections"])
                if "ledgers" in facts
                else [(facts["ledger"], facts["selection"])]
            )
            if any(ledger == self._ledger and seq in self._set(digest) for ledger, digest in named):
                raise Bad(f"the hold {safe(facts['hold'])} was open")

    def _steps(self, event: str, name: str) -> list[Leaf]:
        return [one for one in self._of.get(event, ()) if one.said["facts"].get("disposal") == name]

    def _here(self, event: str) -> list[Leaf]:
        return [one for one in self._of.get(event, ()) if one.said["facts"].get("ledger") == self._ledger]

    def _set_of(self, one: Leaf) -> Ranges:
        return self._set(one.said["facts"]["selection"])

    def _set(self, digest: Any) -> Ranges:
        unb64url(digest, 32)
        if digest not in self._sets:
            content = self._bundle.read(f"ledgers/{self._ledger}/selections/{digest}.txt", 1 << 30)
            self._sets[digest] = Ranges(content, self._ledger, digest)
        return self._sets[digest]


def month_after(group: str) -> datetime:
    year, month = int(group[:4]), int(group[5:7])
    return datetime(year + month // 12, month % 12 + 1, 1, tzinfo=UTC)


# The bundle.

ACCESS: tuple[str, ...] = (
    "record.opened",
    "record.gone",
    "record.unsound",
    "access.denied",
    "records.opened",
    "records.searched",
)
ACCESS += ("access.requested", "access.exported", "followups.opened")


class Entry(NamedTuple):
    """What the manifest says of one ledger."""

    ledger: str
    origin: str
    head: Head
    leaves: int
    records: int
    keys: list[Key]


class Options(NamedTuple):
    fingerprints: frozenset[str]
    witnesses: tuple[Key, ...]
    roots: tuple[x509.Certificate, ...]
    most: int


class Verifier:
    """Checks one bundle; ``report`` says what came of it."""

    def __init__(self, bundle: Bundle, options: Options, report: Report) -> None:
        self.bundle, self.options, self.report = bundle, options, report
        self.manifest: dict[str, Any] = {}
        self.numbers: Counter[str] = Counter()
        self.erased: list[tuple[Leaf, Any]] = []
        self.positions = array("q")  # of the records that are there, ascending
        self.masked, self.closed = array("q"), array("q")  # and of those that are masked, or restricted
        self.events: list[Leaf] = []
        self.heads: dict[str, Head] = {}
        self.vouched = False  # a key that is trusted has signed the manifest
        self.adopted: frozenset[str] = frozenset()  # fingerprints of keys that a trusted one vouches for
        self.outside: list[tuple[int, datetime, str, bool]] = []  # size, time, who, whether the vault's owner runs it

    def run(self) -> None:
        report = self.report
        with report.checking("manifest.json"):
            self.read_manifest()
        if not self.manifest:
            return
        self.check_files()
        events, subject = self.entries[-1], self.entries[0]
        with report.checking("keys"):
            self.follow_keys(events)
        with report.checking("manifest.note"):
            self.check_note()
        for entry in (events, subject):
            with report.checking(f"ledger {entry.ledger}"):
                self.check_ledger(entry, records=entry is subject)
        with report.checking("the access event"):
            self.check_access(events, subject)
        with report.checking("anchors"):
            self.check_anchors(subject)
        for name in self.names_below(f"ledgers/{events.ledger}/outside/", ".note"):
            with report.checking(name):
                self.check_outside(events, name)
        self.check_erasures(subject)
        self.conclude(subject)

    # -- manifest and files

    def read_manifest(self) -> None:
        self.content = self.bundle.read("manifest.json")
        said = parse(self.content)
        if not isinstance(said, dict) or said.get("bundle") != VERSION:
            raise Bad(f"this is no {VERSION}")
        if len(said["ledgers"]) != 2 or said["ledgers"][1]["ledger"] != said["events"]:
            raise Bad("it does not name two ledgers, the events ledger last")
        for text in (said["id"], said["tenant"], said["made_by"]):
            if not isinstance(text, str) or not re.fullmatch(r"[A-Za-z0-9._:/+-]{1,200}", text):
                raise Bad("an id that is none")
        instant(said["made_at"])
        if said["fields"] not in ("full", "masked") or said["scope"]["kind"] not in (
            "whole",
            "period",
            "record",
            "conversation",
            "positions",
        ):
            raise Bad("an unknown scope")
        self.entries = [self.entry(one) for one in said["ledgers"]]
        names = [one["name"] for one in said["files"]]
        if not all(good_name(one) and KNOWN.fullmatch(one) for one in names):
            raise Bad("a file's name does not belong into a bundle")
        if len({one.lower() for one in names}) != len(names):
            raise Bad("a file is there twice")
        self.listed = {one["name"]: (one["bytes"], one["sha256"]) for one in said["files"]}
        self.manifest = said
        self.report.about = {name: said[name] for name in ("id", "tenant", "made_at", "made_by", "fields")}

    def entry(self, said: dict[str, Any]) -> Entry:
        if not UUID.fullmatch(said["ledger"]) or said["origin"].rpartition("/")[2] != said["ledger"]:
            raise Bad("a ledger without its uuid and origin")
        if not all(is_count(said[name]) for name in ("size", "leaves", "records")):
            raise Bad("a number that is none")
        keys = [key_of(one["key"], ED25519, one.get("until")) for one in said["keys"]]
        if (
            not keys
            or any(one.name != said["origin"] for one in keys)
            or len({one.public for one in keys}) != len(keys)
        ):
            raise Bad("a ledger without keys of its own")
        head = Head(said["size"], unb64(said["root"]))
        return Entry(said["ledger"], said["origin"], head, said["leaves"], said["records"], keys)

    def check_files(self) -> None:
        report, before = self.report, sum(self.report.counts.values())
        for name, (size, digest) in self.listed.items():
            with report.checking(name):
                found = self.bundle.source.size(name)
                if found is None:
                    raise Bad("it is not there", MISSING)
                if found != size or self.bundle.digest(name) != (size, digest):
                    raise Bad("it is not what the manifest says")
        others = set(self.bundle.source.names()) - self.listed.keys() - {"manifest.json", "manifest.note"}
        for name in sorted(others)[:SHOWN]:
            if self.bundle.source.is_zip:
                report.bad(f"{safe(name)}: it is in the zip, and the manifest does not name it")
            else:
                report.note(f"{safe(name)} is no part of the bundle; nothing looks at it")
        if sum(report.counts.values()) == before:
            report.ok(f"{len(self.listed)} files are what the manifest says")

    def names_below(self, folder: str, ending: str) -> list[str]:
        return sorted(one for one in self.listed if one.startswith(folder) and one.endswith(ending))

    def trusted(self, entry: Entry) -> list[Key]:
        """The keys that may vouch for a ledger. One that whoever checks brought along vouches for those that the
        manifest names, once it has signed the manifest."""
        given = self.options.fingerprints | self.adopted
        if not given or self.vouched:
            return entry.keys
        return [one for one in entry.keys if one.fingerprint in given]

    def follow_keys(self, events: Entry) -> None:
        """From a key that was retired since to its successors: while a key joins, both sign, and the tree that the old
        one signed holds the event that added the new one."""
        given = self.options.fingerprints
        if not given or any(one.until is None and one.fingerprint in given for one in events.keys):
            return
        positions, hashed, added = array("q"), bytearray(), []
        for line in self.bundle.lines(f"ledgers/{events.ledger}/leaves.jsonl"):
            leaf = leaf_of(line, events.ledger)
            if leaf.seq >= events.head.size or (positions and leaf.seq <= positions[-1]):
                raise Bad("the events are out of order")
            positions.append(leaf.seq)
            hashed += leaf.hashed
            if leaf.said.get("event") == "signer.added":
                added.append((leaf.seq, hashlib.sha256(unb64url(leaf.said["facts"]["public"], 32)).hexdigest()))
        nodes = self.bundle.read(f"ledgers/{events.ledger}/nodes.bin", 1 << 31)
        if root_of(events.head.size, positions, hashed, nodes) != events.head.root:
            raise Bad("the events are not in the tree that was signed")
        notes = self.names_below(f"ledgers/{events.ledger}/outside/", ".note")
        for _ in events.keys:
            for name in [f"ledgers/{events.ledger}/checkpoint", *notes]:
                text, lines = split_note(self.bundle.read(name, 1_000_000))
                head = checkpoint_of(text, events.origin)
                if signed_by(text, lines, self.trusted(events)) and self.begins(events, head, events.head):
                    self.adopted |= {print_ for seq, print_ in added if seq < head.size}
        if self.adopted - given:
            self.report.note("the key that you named was retired since; it vouches for the one that signed this")

    def check_note(self) -> None:
        events = self.entries[-1]
        text, lines = split_note(self.bundle.read("manifest.note", 1_000_000))
        expected = f"{VERSION}\n{base64.b64encode(sha256(self.content)).decode()}\n".encode()
        if text != expected:
            raise Bad("it is of another manifest than this")
        keys = [one for one in self.trusted(events) if one.until is None]
        signers = signed_by(text, lines, keys)
        if not signers:
            given = self.options.fingerprints
            raise Bad("no key that you named has signed the manifest" if given else "no key in force has signed it")
        self.vouched = True
        self.report.about["fingerprints"] = [one.fingerprint for one in signers]
        self.report.ok(f"the manifest is signed by {signers[0].name}")

    # -- ledgers

    def check_ledger(self, entry: Entry, records: bool) -> None:
        folder = f"ledgers/{entry.ledger}"
        head = open_checkpoint(self.bundle.read(f"{folder}/checkpoint"), entry.origin, self.trusted(entry))
        if head != entry.head:
            raise Bad("the checkpoint is not the one that the manifest names")
        self.heads[entry.ledger] = head
        positions, hashed = array("q"), bytearray()
        lines = self.record_lines(entry) if records else iter(())
        waiting = next(lines, None)
        before: Leaf | None = None
        for line in self.bundle.lines(f"{folder}/leaves.jsonl"):
            leaf = leaf_of(line, entry.ledger)
            if leaf.seq <= (positions[-1] if positions else -1) or leaf.seq >= head.size:
                raise Bad(f"the leaf at {leaf.seq} is out of order, or beyond the checkpoint")
            if before is not None and before.seq == leaf.seq - 1 and leaf.prev != b64url(before.hashed):
                raise Bad(f"the leaf at {leaf.seq} does not name the one before it")
            positions.append(leaf.seq)
            hashed += leaf.hashed
            before = leaf
            if leaf.kind == "genesis":
                self.check_genesis(entry, leaf)
            elif leaf.kind == "event" and not records:
                self.events.append(leaf)
            elif leaf.kind != "record" or not records:
                raise Bad(f"the leaf at {leaf.seq} is of a kind that does not belong here")
            else:
                while waiting is not None and waiting["seq"] < leaf.seq:
                    self.report.bad(f"record {waiting['seq']}: its leaf is not there", MISSING)
                    waiting = next(lines, None)
                if waiting is not None and waiting["seq"] == leaf.seq:
                    self.check_record(waiting, leaf)
                    waiting = next(lines, None)
                else:
                    self.report.bad(f"record {leaf.seq}: its leaf is there, and it is not", MISSING)
        while waiting is not None:
            self.report.bad(f"record {waiting['seq']}: its leaf is not there", MISSING)
            waiting = next(lines, None)
        if not positions or positions[0] != 0:
            raise Bad("the genesis leaf is not there", MISSING)
        if len(positions) != entry.leaves:
            self.report.bad(
                f"ledger {entry.ledger}: {entry.leaves} leaves are named, {len(positions)} are there", MISSING
            )
        nodes = self.bundle.read(f"{folder}/nodes.bin", 1 << 31)
        if root_of(head.size, positions, hashed, nodes) != head.root:
            raise Bad("these leaves are not in the tree that was signed")
        whole = "all of them here" if len(positions) == head.size else f"{len(positions)} of them here"
        self.report.ok(f"{entry.origin}: {head.size} entries signed, {whole} and in their places")
        if records and self.manifest["scope"]["kind"] == "whole" and len(positions) != head.size:
            self.report.bad("the bundle is said to be of the whole ledger, and is not", MISSING)

    def check_genesis(self, entry: Entry, leaf: Leaf) -> None:
        self.genesis = getattr(self, "genesis", {})
        self.genesis[entry.ledger] = leaf
        known = {(one.name, one.public) for one in entry.keys}
        begun = [key_of(one, ED25519) for one in leaf.said["verifiers"]]
        if not begun or any((one.name, one.public) not in known for one in begun):
            raise Bad("the ledger began with keys that the manifest does not name")
        if leaf.said["tenant"] != self.manifest["tenant"]:
            raise Bad("the ledger is another tenant's")

    def record_lines(self, entry: Entry) -> Iterator[dict[str, Any]]:
        last = 0
        number = 0
        for line in self.bundle.lines(f"ledgers/{entry.ledger}/records.jsonl"):
            said = parse(line)
            if not isinstance(said, dict) or not is_count(said.get("seq")) or said["seq"] <= last:
                raise Bad(f"records.jsonl: line {number + 1} is no record, or out of order")
            last, number = said["seq"], number + 1
            self.positions.append(last)
            yield said
        if number != entry.records:
            self.report.bad(f"{entry.records} records are named, {number} are there", MISSING)

    def check_record(self, said: dict[str, Any], leaf: Leaf) -> None:
        try:
            self.numbers[self.record_state(said, leaf)] += 1
        except Bad as error:
            self.report.bad(f"record {leaf.seq}: {error}", error.verdict)
        except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
            self.report.bad(f"record {leaf.seq}: not in the form it must have ({type(error).__name__})")

    def record_state(self, said: dict[str, Any], leaf: Leaf) -> str:
        state = said["state"]
        if state == "erased":
            self.erased.append((leaf, said.get("disposal")))
            return "erased"
        if state == "closed":
            if said.keys() != {"seq", "state"}:
                raise Bad("it is restricted, and shows more than its leaf")
            self.closed.append(leaf.seq)
            return "closed"
        if state != self.manifest["fields"]:
            raise Bad("a record in a state that does not belong here")
        facets = said["facets"]
        if "salt" in said:
            if facets_digest(facets, unb64url(said["salt"], 16)) != unb64url(leaf.said["facets"], 32):
                raise Bad("its facets are not those that the leaf commits to")
        elif state != "masked" or MASKED not in facets.values():
            raise Bad("its facets have no salt")
        if state == "masked":
            if "record" in said or "opening" in said or not isinstance(said["masked"], dict):
                raise Bad("it is masked, and shows more")
            check_facets_of(said["masked"], facets)
            self.masked.append(leaf.seq)
            return "masked" if "salt" in said else "masked, facets too"
        raw = said["record"].encode("utf-8")
        if hmac.digest(unb64url(said["opening"], 32), raw, "sha256") != unb64url(leaf.said["plaintext"], 32):
            raise Bad("its text is not the one that was sealed")
        record = parse(raw)
        if not isinstance(record, dict):
            raise Bad("what was sealed is no record")
        check_facets_of(record, facets)
        return "full"

    # -- events

    def check_access(self, events: Entry, subject: Entry) -> None:
        found = [one for one in self.events if one.seq == self.manifest["access"]]
        if not found:
            raise Bad("it is not there", MISSING)
        facts = found[0].said["facts"]
        if found[0].said["event"] != "records.opened" or facts["bundle"] != self.manifest["id"]:
            raise Bad("it is of something else than this bundle")
        if found[0].said["actor"] != self.manifest["made_by"]:
            raise Bad("somebody else opened the records than made the bundle")
        if (facts["ledger"], facts["fields"]) != (subject.ledger, self.manifest["fields"]):
            raise Bad("it is of another ledger, or shows other fields")
        if (
            facts.get("grant", "") != self.manifest["grant"]
            or bool(facts.get("break_glass")) != self.manifest["break_glass"]
        ):
            raise Bad("it is of another grant")
        head = self.heads.get(subject.ledger)
        if head is not None and (facts["size"], unb64url(facts["root"], 32)) != head:
            same = facts["size"] == head.size
            raise Bad("the ledger told another tree when it was opened", FORKED if same else MODIFIED)
        if selection_digest(subject.ledger, self.positions) != facts["selection"]:
            self.name_absent(subject, facts["selection"])
        created = [one for one in self.named("ledger.created") if one.said["facts"]["ledger"] == subject.ledger]
        genesis = getattr(self, "genesis", {}).get(subject.ledger)
        if not created or genesis is None:
            raise Bad("the event that the ledger began with is not there", MISSING)
        if created[0].said["facts"]["genesis"] != b64url(genesis.hashed):
            raise Bad("the ledger did not begin as its events say", FORKED)
        number = sum(one.said["event"] in ACCESS for one in self.events)
        self.report.ok(
            f"the access stands in the events ledger at {found[0].seq}, as {found[0].said['actor']},"
            f" {found[0].said['at']}; {number} events of access to these records in all"
        )

    def name_absent(self, subject: Entry, digest: Any) -> None:
        """The records are not those that were opened: say which."""
        content = self.bundle.read(f"ledgers/{subject.ledger}/selections/{digest}.txt", 1 << 30)
        opened = Ranges(content, subject.ledger, digest)
        absent = 0
        for seq in islice(opened.without(self.positions), MOST_ABSENT):  # a set may name 2**53 of them
            self.report.bad(f"record {seq}: it was opened for this bundle, and is not in it", MISSING)
            absent += 1
        if absent == MOST_ABSENT:
            raise Bad("and perhaps more records that were opened for this bundle are not in it", MISSING)
        if not absent:
            raise Bad("there are records that were not opened for it")

    def named(self, event: str) -> list[Leaf]:
        return [one for one in self.events if one.said["event"] == event]

    def check_anchors(self, subject: Entry) -> None:
        told: dict[tuple[str, int], bytes] = {}
        for one in self.events:
            facts = one.said["facts"]
            if {"ledger", "size", "root"} <= facts.keys():
                size, root = facts["size"], unb64url(facts["root"], 32)
                if not is_count(size) or told.setdefault((facts["ledger"], size), root) != root:
                    raise Bad(f"two trees of {size} entries were told", FORKED)
        anchored = 0
        head = self.heads.get(subject.ledger)
        if head is None:
            return
        for (ledger, size), root in told.items():
            if ledger == subject.ledger and size == head.size and root != head.root:
                raise Bad(f"events tell another tree of {size} entries", FORKED)
        for one in self.named("checkpoint.anchored"):
            facts = one.said["facts"]
            if facts["ledger"] == subject.ledger:
                self.check_beginning(subject, Head(facts["size"], unb64url(facts["root"], 32)))
                anchored += 1
        self.report.ok(f"{anchored + 1} anchors in the events ledger are of this tree or its beginnings")

    def begins(self, entry: Entry, old: Head, new: Head) -> bool:
        name = f"ledgers/{entry.ledger}/consistency/{old.size}.bin"
        return is_beginning(old, new, b"" if old.size == new.size else self.bundle.read(name, 1 << 16))

    def check_beginning(self, entry: Entry, old: Head) -> None:
        new = self.heads[entry.ledger]
        if not self.begins(entry, old, new):
            raise Bad(f"the tree of {old.size} entries is not the beginning of that of {new.size}", FORKED)

    # -- outside

    def check_outside(self, events: Entry, name: str) -> None:
        note = self.bundle.read(name, 1_000_000)
        head = open_checkpoint(note, events.origin, self.trusted(events))
        if name[-25:-5] != f"{head.size:020d}":
            raise Bad("it is of another size than its name says")
        if events.ledger in self.heads:
            self.check_beginning(events, head)
        text, lines = split_note(note)
        for key, own in self.witnesses():
            for line in lines:
                if (line.name, line.key_id) == (key.name, key.id):
                    self.check_cosignature(key, own, line, text, head)
        stamp = name[:-5] + ".tsr"
        if stamp in self.listed:
            stamped = self.bundle.read(name[:-5] + ".stamped", 1_000_000)
            if split_note(stamped)[0] != text:
                raise Bad("what was stamped is another checkpoint", FORKED)
            self.check_stamp(self.bundle.read(stamp), stamped, head)

    def witnesses(self) -> list[tuple[Key, bool]]:
        given = [(one, False) for one in self.options.witnesses]
        known = {one.public for one, _ in given}
        ours = {key.public for entry in self.entries for key in entry.keys}  # whoever has these runs the vault
        read = [(key_of(one["key"], COSIGNATURE), bool(one["own"])) for one in self.manifest["witnesses"]]
        named = [(key, own or key.public in ours) for key, own in read]
        return given + [one for one in named if one[0].public not in known]

    def check_cosignature(self, key: Key, own: bool, line: Line, text: bytes, head: Head) -> None:
        at = datetime.fromtimestamp(cosigned_at(key, line, text), UTC)
        self.tell_outside(head, at, f"witness {safe(key.name)}", own)

    def check_stamp(self, response: bytes, stamped: bytes, head: Head) -> None:
        own: dict[str, bool] = {}
        roots = list(self.options.roots)
        for one in self.manifest["authorities"]:
            for certificate in certificates_in(self.bundle.read(one["file"], 1_000_000)):
                own.setdefault(certificate.fingerprint(hashes.SHA256()).hex(), bool(one["own"]))
                roots.append(certificate)
        for given in self.options.roots:
            own[given.fingerprint(hashes.SHA256()).hex()] = False
        stamp = verify_stamp(response, stamped, roots)
        self.tell_outside(head, stamp.at, f"time-stamp by {safe(stamp.authority)}", own[stamp.anchor])

    def tell_outside(self, head: Head, at: datetime, who: str, own: bool) -> None:
        self.outside.append((head.size, at, who, own))
        whose = "run by whoever runs the vault: not independent" if own else "said to be independent"
        self.report.ok(f"the first {head.size} events existed at {at:%Y-%m-%dT%H:%M:%SZ}: {who} ({whose})")

    def outside_at(self, seq: int, own: bool = False) -> "datetime | None":
        """The earliest time from outside of a tree that holds an event; with ``own``, also from whoever runs the vault
        or those they run, who may say any time."""
        times = [at for size, at, _, its_own in self.outside if size > seq and (own or not its_own)]
        return min(times) if times else None

    # -- erasures, and the end

    def check_erasures(self, subject: Entry) -> None:
        if not self.erased:
            return
        with self.report.checking("erasures"):
            judge = Erasures(self.bundle, subject.ledger, self.manifest["tenant"], self.events)
            judge.outside_at = self.outside_at
            held = 0
            for leaf, disposal in self.erased:
                with self.report.checking(f"record {leaf.seq}"):
                    judge.judge(disposal, leaf)
                    held += 1
            self.numbers["erased"] = held
            if held:
                self.report.ok(f"{held} records that are not there were destroyed as they must be")
            if judge.self_asserted:
                self.report.note("the times of their destruction are self-asserted: nobody outside vouches for them")

    def conclude(self, subject: Entry) -> None:
        report = self.report
        if masked := self.numbers["masked"] + self.numbers["masked, facets too"]:
            report.note(
                f"{masked} records are masked: what they show beyond their facets cannot be compared with"
                f" what was sealed (seq {spans(self.masked)})"
            )
            report.about["masked"] = spans(self.masked, len(self.masked))
        if hidden := self.numbers["masked, facets too"]:
            report.note(f"of {hidden} of them facets are masked too: they cannot be compared with the leaf either")
        if closed := self.numbers["closed"]:
            report.note(
                f"{closed} records are restricted and stay closed: only their leaves are here"
                f" (seq {spans(self.closed)})"
            )
        covering = [self.manifest["access"]]
        for one in self.named("checkpoint.anchored"):
            facts = one.said["facts"]
            if facts.get("ledger") == subject.ledger and self.positions and facts["size"] > self.positions[-1]:
                covering.append(one.seq)
        if not self.outside:
            report.note("nobody outside the vault vouches for any time in this bundle")
        elif (at := self.outside_at(min(covering))) is not None:
            report.note(f"by a time from outside, all of these records existed at {at:%Y-%m-%dT%H:%M:%SZ}")
        elif self.outside_at(min(covering), True) is None:
            report.note("the times from outside are of trees before the last of these records was anchored")
        if self.outside and all(own for _, _, _, own in self.outside):
            report.note("every witness and authority is run by whoever runs the vault, and proves nothing against them")
        if self.manifest["scope"]["kind"] != "whole":
            report.note(
                f"the bundle is of a part ({self.manifest['scope']['kind']}): what it leaves out is not seen from it"
            )
        for print_ in report.about.get("fingerprints", ()):
            if not self.options.fingerprints:
                report.note(
                    f"compare this with what the vault's owner told you on another way; until then the bundle"
                    f" agrees with itself, and no more: {print_}"
                )
        for name in ("full", "masked", "masked, facets too", "erased", "closed"):
            report.about.setdefault("records", {})[name] = self.numbers[name]


def certificates_in(pem: bytes) -> list[x509.Certificate]:
    if pem.count(b"-----BEGIN") > 100:
        raise Bad("too many certificates in one file")
    try:
        blocks = re.findall(rb"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----\s*", pem, re.DOTALL)
        found = [x509.load_pem_x509_certificate(one) for one in blocks]
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        raise Bad("a certificate cannot be read") from None
    if not found:
        raise Bad("no certificate in PEM")
    return found


def verify(path: str, options: Options) -> Report:
    """Check a bundle; never raises for what is in it."""
    report = Report()
    with report.checking("the bundle"):
        source = Directory(path, options.most) if os.path.isdir(path) else Zip(path, options.most)
        Verifier(Bundle(source), options, report).run()
    return report


# The command line.


def arguments(given: Sequence[str]) -> tuple[str, Options, bool]:
    parser = argparse.ArgumentParser(prog="verify.py", description="Check a Reasonvault evidence bundle.")
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("bundle", nargs="?", default=here, help="the zip, or a directory; this file's own if left out")
    parser.add_argument("--key", action="append", default=[], metavar="KEY", help="fingerprint, or C2SP verifier key")
    parser.add_argument("--witness", action="append", default=[], metavar="KEY", help="a witness's verifier key")
    parser.add_argument("--tsa-root", action="append", default=[], metavar="PEM", help="root of an authority")
    parser.add_argument("--most", type=int, default=16, metavar="GIB", help="refuse what unpacks to more (default 16)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    found = parser.parse_args(given)
    if not os.path.exists(found.bundle):
        parser.error(f"there is no {safe(found.bundle)}")
    prints = set()
    try:
        for one in found.key:
            plain = one.replace(":", "").replace(" ", "").lower()
            prints.add(plain if re.fullmatch(r"[0-9a-f]{64}", plain) else key_of(one, ED25519).fingerprint)
        witnesses = tuple(key_of(one, COSIGNATURE) for one in found.witness)
        roots: list[x509.Certificate] = []
        for one in found.tsa_root:
            with open(one, "rb") as file:
                roots += certificates_in(file.read(1_000_000))
    except (Bad, OSError) as error:
        parser.error(safe(error))
    return found.bundle, Options(frozenset(prints), witnesses, tuple(roots), found.most << 30), found.json


def main(given: "Sequence[str] | None" = None) -> int:
    path, options, as_json = arguments(sys.argv[1:] if given is None else given)
    report = verify(path, options)
    verdict = report.verdict
    code = EXIT.get(verdict, 0)
    if as_json:
        document = {
            "verdict": verdict,
            "exit": code,
            "bundle": report.about,
            "unsealed": 0,
            "checks": report.checks,
            "notes": report.notes,
            "counts": dict(report.counts),
            "findings": [one._asdict() for one in report.findings],
        }
        print(json.dumps(document))
        return code
    for one in report.checks:
        print(f"ok        {one}")
    for finding in report.findings[:SHOWN]:
        print(f"{finding.verdict:<9} {safe(finding.what)}")
    if sum(report.counts.values()) > SHOWN:
        print(f"          and {sum(report.counts.values()) - SHOWN} more")
    for one in report.notes:
        print(f"note      {one}")
    of = report.about.get("records", {})
    if of:
        masked = of["masked"] + of["masked, facets too"]
        words = f"{of['full']} full, {masked} masked, {of['closed']} closed, {of['erased']} ERASED-BY-POLICY"
        print(f"records   {words}, 0 UNSEALED")
    print(verdict)
    return code


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("interrupted: nothing is known of the bundle")
