from __future__ import annotations

import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from service import logs
from vault.core.errors import RefusedInput, UsageError

SECRET = "4111 1111 1111 1111"
NOON = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    found = io.BytesIO()
    logs.configure("info", found, now=lambda: NOON)
    yield found
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()
    root.handlers[:] = before
    root.setLevel(level)
    logging.captureWarnings(False)


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_json_with_the_time_in_utc(stream: io.BytesIO) -> None:
    structlog.get_logger().info("request", method="POST", route="/v1/ledgers/{ledger}/records", status=201, ms=3.20049)
    assert stream.getvalue() == (
        b'{"timestamp":"2026-03-01T12:00:00.123Z","level":"info","event":"request","method":"POST",'
        b'"route":"/v1/ledgers/{ledger}/records","status":201,"ms":3.2}\n'
    )


def test_a_key_that_is_not_allowed_is_dropped_and_counted(stream: io.BytesIO) -> None:
    before = logs.dropped()
    structlog.get_logger().warning("refused", body=SECRET, prompt={"content": SECRET}, status=422)
    assert logs.dropped() - before == 2
    assert lines(stream)[0].keys() == {"timestamp", "level", "event", "status"}
    assert SECRET not in stream.getvalue().decode()


@pytest.mark.parametrize(
    "values",
    [
        {"producer": SECRET},
        {"person": "Ann Example"},
        {"route": "/v1/ledgers/金/records"},
        {"status": "201"},
        {"ms": float("nan")},
        {"ledger": b"bytes"},
        {"error": "a text that somebody put together"},
        {"message": ["a", "list"]},
        {"code": "x" * 301},
    ],
)
def test_a_value_of_another_form_is_dropped(stream: io.BytesIO, values: dict[str, Any]) -> None:
    before = logs.dropped()
    structlog.get_logger().info("request", **values)
    assert logs.dropped() - before == 1
    assert lines(stream)[0].keys() == {"timestamp", "level", "event"}


def test_uuids_and_numbers_are_words(stream: io.BytesIO) -> None:
    ledger = UUID(int=7)
    structlog.get_logger().info("request", ledger=ledger, worker=2, code=17, person=None)
    line = lines(stream)[0]
    assert (line["ledger"], line["worker"], line["code"]) == (str(ledger), 2, "17")
    assert "person" not in line


def test_texts_are_cut_and_stay_on_their_line(stream: io.BytesIO) -> None:
    structlog.get_logger().info("one\ntwo\x1b[31m\u202ethree\ud800")
    structlog.get_logger().info("x" * 1000)
    first, second = lines(stream)
    assert first["event"] == "one\\u000atwo\\u001b[31m\\u202ethree\\ud800"
    assert second["event"] == "x" * logs.LONGEST + "..."


def test_our_own_errors_speak_and_others_only_say_their_name(stream: io.BytesIO) -> None:
    log = structlog.get_logger()
    log.warning("refused", error=RefusedInput("card number found", "$.prompt", "card_number"))
    log.error("broken", error=ValueError(SECRET))
    try:
        raise KeyError(SECRET)
    except KeyError:
        log.exception("caught")
    assert [line["error"] for line in lines(stream)] == [
        "RefusedInput: $.prompt: card number found",
        "ValueError",
        "KeyError",
    ]
    assert SECRET not in stream.getvalue().decode()
    assert b"Traceback" not in stream.getvalue()


def test_bound_context_obeys_the_same_rules(stream: io.BytesIO) -> None:
    structlog.contextvars.bind_contextvars(request_id="r-1", customer=SECRET)
    structlog.get_logger().info("request")
    assert lines(stream)[0]["request_id"] == "r-1"
    assert "customer" not in lines(stream)[0]


def test_libraries_are_heard_but_not_quoted(stream: io.BytesIO) -> None:
    logging.getLogger("httpx").info("GET https://idp.example/%s", SECRET)
    logging.getLogger("sqlalchemy.pool").error("lost a connection to %s", SECRET)
    (line,) = lines(stream)
    assert (line["event"], line["logger"], line["level"]) == ("library", "sqlalchemy.pool", "error")
    assert "message" not in line


def test_the_servers_own_lines_are_quoted_up_to_their_first_end(stream: io.BytesIO) -> None:
    logging.getLogger("_granian").info("Listening at: http://127.0.0.1:8420")
    logging.getLogger("_granian.asgi.http").warning("Application callable raised an exception\n%s", SECRET)
    logging.getLogger("_granianate").warning(SECRET)
    first, second, third = lines(stream)
    assert first["message"] == "Listening at: http://127.0.0.1:8420"
    assert second["message"] == "Application callable raised an exception"
    assert "message" not in third


def test_a_library_that_logs_an_exception_says_its_type(stream: io.BytesIO) -> None:
    try:
        raise OSError(SECRET)
    except OSError:
        logging.getLogger("asyncio").exception("Task exception was never retrieved: %s", SECRET)
    (line,) = lines(stream)
    assert line["error"] == "OSError"
    assert SECRET not in stream.getvalue().decode()


def test_a_record_that_cannot_be_spelled_is_not_printed_elsewhere(
    stream: io.BytesIO, capfd: pytest.CaptureFixture[str]
) -> None:
    before = logs.dropped()
    root = logging.getLogger()
    root.handlers[:] = [one for one in root.handlers if isinstance(one, logs._Bridge)]  # the test runner spells, too
    logging.getLogger("_granian").error("%d", SECRET)
    assert logs.dropped() - before == 1
    assert capfd.readouterr() == ("", "")


def test_warnings_are_lines_too(stream: io.BytesIO) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(False)
        logging.captureWarnings(True)
        warnings.warn(SECRET, UserWarning, stacklevel=1)
        logging.captureWarnings(False)
    assert lines(stream)[0]["logger"] == "py.warnings"
    assert SECRET not in stream.getvalue().decode()


def test_configured_twice_it_speaks_once(stream: io.BytesIO) -> None:
    other = io.BytesIO()
    logs.configure("debug", other, now=lambda: NOON)
    structlog.get_logger().debug("request")
    logging.getLogger("asyncio").warning("slow")
    assert stream.getvalue() == b""
    assert len(lines(other)) == 2


def test_levels_below_are_not_written(stream: io.BytesIO) -> None:
    structlog.get_logger().debug("request")
    assert stream.getvalue() == b""
    with pytest.raises(UsageError, match="debug, info"):
        logs.configure("loud", stream)


def test_crashes_are_one_line_each(stream: io.BytesIO, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, name in ((sys, "excepthook"), (threading, "excepthook"), (sys, "unraisablehook")):
        monkeypatch.setattr(module, name, getattr(module, name))
    logs.quiet_crashes()

    def fail() -> None:
        raise ValueError(SECRET)

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    sys.excepthook(UsageError, UsageError("no such option"), None)
    assert [(line["error"], line["reason"]) for line in lines(stream)] == [
        ("ValueError", "thread"),
        ("UsageError: no such option", "process"),
    ]


@given(st.dictionaries(st.text(max_size=12), st.one_of(st.text(), st.integers(), st.binary(), st.floats(), st.none())))
def test_whatever_is_logged_is_one_line_of_allowed_keys(values: dict[str, Any]) -> None:
    event = logs.Rules()(None, "", {"level": "info", **values})
    line = logs._render(None, "", event)
    assert line.count(b"\n") == 0
    assert json.loads(line).keys() <= logs.KEYS.keys()
