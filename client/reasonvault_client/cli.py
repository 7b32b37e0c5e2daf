"""``reasonvault-client spool show|drain|parked|retry``: a spool by hand.

The producer's key is read from a file or from the variable REASONVAULT_KEY, never from the command line, which other
users of the host can read. Exit codes: 0 done, 1 something is left, 2 the command cannot work.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from reasonvault_client import files, parcel, parking, spoolkey
from reasonvault_client.client import Client
from reasonvault_client.errors import ClientError, Misconfigured
from reasonvault_client.spool import LEDGER, Spool


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return the exit code."""
    options = _parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], int] = options.run
    try:
        return run(options)
    except Misconfigured as error:
        print(error, file=sys.stderr)
        return 2
    except ClientError as error:
        print(error, file=sys.stderr)
        return 1


def show(options: argparse.Namespace) -> int:
    """Say what lies in a spool."""
    spool = _open(options)
    names = spool.names()
    state = spool.counter.peek()
    parked = parking.parked(spool)
    receipts = files.beside(spool.folder, ".receipts.jsonl")
    told = {
        "pending": sum(name.records for name in names),
        "parked": sum(one.records for one in parked),
        "bytes": state.bytes,
        "oldest": _written_at(spool, names),
        "producer_seq": state.producer_seq,
        "tickets": state.tickets,
        "spool_key": spool.key.key_id.hex(),
        "receipts_bytes": receipts.stat().st_size if receipts.exists() else 0,
    }
    _print(options, told)
    return 0


def drain(options: argparse.Namespace) -> int:
    """Deliver what lies in a spool."""
    with Client(
        options.url,
        options.ledger or _ledger(options),
        _producer_key(options),
        spool=_folder(options),
        spool_key=options.spool_key,
        verifier=options.verifier,
        insecure=options.insecure,
        deliver=False,
    ) as client:
        try:
            client.drain(options.timeout)
        finally:
            counted = client.counters()
            _print(options, {"sent": counted.sent, "pending": counted.pending, "parked": counted.parked})
    return 1 if counted.pending else 0


def parked(options: argparse.Namespace) -> int:
    """List what is parked, and why."""
    found = parking.parked(_open(options))
    for one in found:
        reason = one.reason
        if options.json:
            print(json.dumps({"name": one.name, "records": one.records, "bytes": one.bytes, **_told(reason)}))
        else:
            words = [one.name, reason.parked_at, reason.why, reason.code or "", reason.path or ""]
            print("  ".join(word for word in words if word))
    return 0


def retry(options: argparse.Namespace) -> int:
    """Put parked records back in line."""
    spool = _open(options)
    names = spool.parked_names() if options.all else [_name(text) for text in options.name]
    if not names and not options.all:
        raise Misconfigured("name what to try again, as `spool parked` lists it, or say --all")
    for name in names:
        parking.retry(spool, name)
    _print(options, {"retried": sum(name.records for name in names)})
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="reasonvault-client", description=__doc__.partition("\n")[0])
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    spool = commands.add_parser("spool", help="look into a spool directory, or empty it").add_subparsers(
        required=True, metavar="COMMAND"
    )
    for run, summary in (
        (show, "how much lies in it, since when"),
        (drain, "deliver what lies in it"),
        (parked, "what the vault would not take, and why"),
        (retry, "put parked records back in line"),
    ):
        command = spool.add_parser(run.__name__, help=summary, description=run.__doc__)
        command.set_defaults(run=run)
        command.add_argument("directory", type=Path)
        command.add_argument("--spool-key", type=Path, help="its key file; <directory>.key unless given")
        command.add_argument("--json", action="store_true", help="print JSON")
        if run is drain:
            command.add_argument("--url", required=True, help="the vault's address")
            command.add_argument("--ledger", help="name or uuid; the one that the spool is for unless given")
            command.add_argument("--key-file", type=Path, help="file with the producer's key; else REASONVAULT_KEY")
            command.add_argument("--verifier", help="the vault's verifier key; else the one trusted so far")
            command.add_argument("--insecure", action="store_true", help="allow http:// to another host")
            command.add_argument("--timeout", type=float, default=30.0, help="seconds to try for; 30 unless given")
        if run is retry:
            command.add_argument("name", nargs="*", help="as `spool parked` lists it")
            command.add_argument("--all", action="store_true", help="everything that is parked")
    return parser


def _folder(options: argparse.Namespace) -> Path:
    folder: Path = options.directory
    if not folder.is_dir():
        raise Misconfigured(f"there is no spool {folder}")
    return folder


def _open(options: argparse.Namespace) -> Spool:
    folder = _folder(options)
    return Spool(folder, spoolkey.load(options.spool_key or files.beside(folder, ".key"), create=False))


def _ledger(options: argparse.Namespace) -> str:
    try:
        return (_folder(options) / LEDGER).read_text("utf-8").strip()
    except (OSError, UnicodeError):
        raise Misconfigured("the spool does not say for which ledger it is: pass --ledger") from None


def _producer_key(options: argparse.Namespace) -> str:
    if options.key_file is None:
        return os.environ.get("REASONVAULT_KEY", "")
    try:
        return str(options.key_file.read_text("ascii").strip())
    except (OSError, UnicodeError):
        raise Misconfigured(f"cannot read a key from {options.key_file}") from None


def _name(text: str) -> parcel.Name:
    name = parcel.parse_name(text)
    if name is None:
        raise Misconfigured("a parked record is named as `spool parked` lists it")
    return name


def _written_at(spool: Spool, names: list[parcel.Name]) -> str | None:
    try:
        moment = (spool.folder / str(names[0])).stat().st_mtime
    except (IndexError, FileNotFoundError):
        return None
    return parking.instant(moment)


def _told(reason: parking.Reason) -> dict[str, Any]:
    words = {name: getattr(reason, name) for name in ("parked_at", "why", "status", "code", "path", "damaged")}
    return {name: word for name, word in words.items() if word is not None}


def _print(options: argparse.Namespace, told: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(told))
        return
    for name, value in told.items():
        print(f"{name.replace('_', ' ')}: {'-' if value is None else value}")
