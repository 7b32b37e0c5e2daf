"""The service's log: JSON lines that say who did what and how it went, and never what a record holds.

    configure("info", sys.stderr.buffer)
    structlog.get_logger().info("request", method="POST", route="/v1/ledgers/{ledger}/records", status=201, ms=3.2)

    {"timestamp":"2026-03-01T08:00:00.123Z","level":"info","event":"request","method":"POST",...}

What may stand in a line is a closed list of keys (``KEYS``), each with the form its value must have: any other key is
dropped and counted, so that somebody's ``log.info("refused", body=body)`` costs a counter instead of a secret. Texts
are cut and lose their control characters. An error says its type; only our own errors, which never carry content, also
say their text. There are no tracebacks: a traceback quotes values.

Lines of other people's libraries come through the same door. What they say is kept for the few loggers of ``SPOKEN``;
of the others a line tells that they spoke, and how loudly.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, BinaryIO, Final, cast
from uuid import UUID

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

from vault.core.errors import UsageError, VaultError

LONGEST: Final = 300
"""Characters of a text or a word that are kept."""

_TEXT, _WORD, _NUMBER, _ERROR = "text", "word", "number", "error"

KEYS: Final = {
    "timestamp": _WORD,
    "level": _WORD,
    "event": _TEXT,
    "logger": _WORD,
    "message": _TEXT,
    "error": _ERROR,
    "request_id": _WORD,
    "method": _WORD,
    "route": _WORD,  # the template: a path may hold a record's id
    "status": _NUMBER,
    "ms": _NUMBER,
    "producer": _WORD,  # our id of it
    "person": _WORD,  # a pseudonym
    "ledger": _WORD,
    "grant": _WORD,
    "report": _WORD,
    "code": _WORD,
    "reason": _WORD,
    "job": _WORD,
    "due": _WORD,
    "outcome": _WORD,
    "verdict": _WORD,
    "records": _NUMBER,
    "bytes": _NUMBER,
    "count": _NUMBER,
    "seconds": _NUMBER,
    "attempt": _NUMBER,
    "pid": _NUMBER,
    "worker": _NUMBER,
    "workers": _NUMBER,
    "signal": _WORD,
    "listen": _WORD,
    "version": _WORD,
}
"""What a line may say. A key that is added here is a promise that its values never come from a record."""

SPOKEN: Final = frozenset({"_granian", "apscheduler"})
"""Loggers, with those below them, whose first line of text is kept: they speak of processes and schedules."""

GRANIAN: Final[dict[str, Any]] = {
    "handlers": {},
    "formatters": {},
    "loggers": {
        "_granian": {"handlers": [], "propagate": True},
        "granian.access": {"handlers": [], "propagate": False},
    },
}
"""For granian's ``log_dictconfig``: its own lines come to us, and its access log, which quotes paths, is not kept."""

_WORD_FORM = re.compile(r"[A-Za-z0-9._:/+{}<>@\[\]-]*")
_LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40, "critical": 50}
_encode = msgspec.json.Encoder().encode


class Rules:
    """The processor that lets through what ``KEYS`` allows. ``dropped`` counts what it did not."""

    def __init__(self) -> None:
        self.dropped = 0

    def __call__(self, _logger: WrappedLogger, _name: str, event: EventDict) -> EventDict:
        kept: dict[str, Any] = {}
        trouble = event.pop("exc_info", None)
        if trouble and "error" not in event:
            event["error"] = _raised(trouble)
        for key, value in event.items():
            if value is None:
                continue
            kind = KEYS.get(key)
            clean = None if kind is None else _FORMS[kind](value)
            if clean is None:
                self.dropped += 1
            else:
                kept[key] = clean
        return kept


_rules = Rules()


def dropped() -> int:
    """Return how many keys of this process's lines were not allowed, or had a value of another form."""
    return _rules.dropped


def configure(level: str, stream: BinaryIO, *, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
    """Send this process's lines, structlog's and the standard library's, to ``stream`` as JSON. May be called again.

    Args:
        level: ``debug``, ``info``, ``warning``, ``error`` or ``critical``. Other people's loggers are heard from
            ``warning`` on, those of ``SPOKEN`` from ``info`` on.
        stream: for bytes, such as ``sys.stderr.buffer``.

    Raises:
        UsageError: there is no such level.
    """
    if level not in _LEVELS:
        raise UsageError(f"no log level is called so: choose one of {', '.join(_LEVELS)}")

    def stamp(_logger: WrappedLogger, name: str, event: EventDict) -> EventDict:
        return {"timestamp": _rfc3339(now()), "level": name, "event": event.pop("event", None), **event}

    structlog.configure(
        processors=[structlog.contextvars.merge_contextvars, stamp, _rules, _render],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(stream),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Bridge)]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(structlog.BytesLogger(stream), now))
    root.setLevel(max(_LEVELS[level], logging.WARNING))
    for name in SPOKEN:
        logging.getLogger(name).setLevel(max(_LEVELS[level], logging.INFO))
    logging.captureWarnings(True)


def quiet_crashes() -> None:
    """Make errors that nobody caught one line each, instead of a traceback: in this process, for good."""

    def crashed(
        kind: type[BaseException], error: BaseException | None, _trace: TracebackType | None, where: str = "process"
    ) -> None:
        structlog.get_logger().critical("uncaught", error=kind if error is None else error, reason=where)

    def in_thread(args: threading.ExceptHookArgs) -> None:
        crashed(args.exc_type, args.exc_value, None, "thread")

    def unraisable(args: Any) -> None:
        crashed(args.exc_type, args.exc_value, None, "unraisable")

    sys.excepthook = crashed
    threading.excepthook = in_thread
    sys.unraisablehook = unraisable


class _Bridge(logging.Handler):
    """Takes the standard library's records through the same rules to the same stream."""

    def __init__(self, out: structlog.BytesLogger, now: Callable[[], datetime]) -> None:
        super().__init__()
        self._out = out
        self._now = now

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._out.msg(_render(None, "", _rules(None, "", self._event(record))))
        except Exception:
            # Not handleError, which would print the record with its arguments.
            _rules.dropped += 1

    def _event(self, record: logging.LogRecord) -> EventDict:
        event: EventDict = {
            "timestamp": _rfc3339(self._now()),
            "level": record.levelname.lower(),
            "event": "library",
            "logger": record.name,
        }
        if _spoken(record.name):
            event["message"] = record.getMessage().partition("\n")[0]
        if record.exc_info and record.exc_info[1] is not None:
            event["error"] = record.exc_info[1]
        return event


def _spoken(name: str) -> bool:
    return name in SPOKEN or re.split(r"[.:]", name, maxsplit=1)[0] in SPOKEN


def _render(_logger: WrappedLogger | None, _name: str, event: EventDict) -> bytes:
    return _encode(event)


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _text(value: object) -> str | None:
    """Return a text on one line, cut; None for what is no text."""
    if not isinstance(value, str):
        return None
    value = value if len(value) <= LONGEST else value[:LONGEST] + "..."
    if value.isprintable():
        return value
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in value)


def _word(value: object) -> str | None:
    """Return a word, a uuid or a number as a word; None for anything with spaces, quotes or other scripts."""
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str) or len(value) > LONGEST or not _WORD_FORM.fullmatch(value):
        return None
    return value


def _number(value: object) -> int | float | None:
    if not isinstance(value, int | float) or not -1e15 < value < 1e15:
        return None
    return round(value, 3) if isinstance(value, float) else value


def _error(value: object) -> str | None:
    """Return the text of one of our own errors, the type's name of any other."""
    if isinstance(value, VaultError):
        return _text(f"{type(value).__name__}: {value}")
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, type) and issubclass(value, BaseException):
        return value.__name__
    return None


def _raised(exc_info: object) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        return cast(BaseException | None, exc_info[1])
    return sys.exc_info()[1]


_FORMS: Final[dict[str, Callable[[object], str | int | float | None]]] = {
    _TEXT: _text,
    _WORD: _word,
    _NUMBER: _number,
    _ERROR: _error,
}
