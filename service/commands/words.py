"""Words that should not stand on a command line: ids of cases and customers, reasons, purposes.

A command line can be read by every account of the machine while the command runs, and stays in the shell's history. So
each of these options also takes ``@FILE``, or ``-`` for standard input, once a command. ``@@`` begins a plain value
that begins with ``@``.
"""

from __future__ import annotations

import sys
from typing import Any, BinaryIO, Final

import click

_MOST: Final = 65_536
_STDIN: Final = "reasonvault.stdin"


class Words(click.ParamType[str]):
    """Text, typed or read. Line ends behind it do not count; errors never repeat what was read."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not isinstance(value, str) or (value != "-" and not value.startswith("@")):
            return str(value)
        if value.startswith("@@"):
            return value[1:]
        if value == "-":
            if ctx is not None and ctx.meta.get(_STDIN):
                self.fail("standard input can be read for one option only", param, ctx)
            if ctx is not None:
                ctx.meta[_STDIN] = True
            return self._decoded(sys.stdin.buffer, "standard input", param, ctx)
        try:
            with open(value[1:], "rb") as file:
                return self._decoded(file, value[1:], param, ctx)
        except OSError as error:
            self.fail(f"cannot read {value[1:]}: {error.strerror}", param, ctx)

    def _decoded(self, file: BinaryIO, name: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        content = file.read(_MOST + 1)
        if len(content) > _MOST:
            self.fail(f"{name} is longer than {_MOST} bytes", param, ctx)
        try:
            words = content.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            self.fail(f"{name} is not UTF-8 text", param, ctx)
        if not words:
            self.fail(f"{name} is empty", param, ctx)
        return words


WORDS: Final = Words()
