"""Intake: every line gets the fate it deserves, and only that line."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
import zstandard

from tests.support.decisions import as_file, decision, decisions, spelled
from tests.support.vault import Installation
from vault import intake, ledgers, lines
from vault.core import canonical, receipt
from vault.core.errors import RefusedInput
from vault.core.parse import MAX_RECORD
from vault.intake import Line
from vault.settling import Result, Status
from vault.verdict import Depth, worst

CARD = "4111 1111 1111 1111"


def _with(**changes: Any) -> bytes:
    return spelled(decision(1, id="bad", **changes))


def _decided(**changes: Any) -> bytes:
    return _with(decision={**decision(1)["decision"], **changes})


def _spelled_as(old: bytes, new: bytes) -> bytes:
    raw = _with()
    assert raw.count(old) == 1
    return raw.replace(old, new)


def _of_size(size: int) -> bytes:
    raw = _with(prompt="x")
    return raw.replace(b'"prompt":"x"', b'"prompt":"' + b"x" * (size - len(raw) + 1) + b'"')


def _nested(depth: int) -> bytes:
    return _with(extra={}).replace(b'"extra":{}', b'"extra":{"deep":' + b"[" * depth + b"]" * depth + b"}")


BAD_LINES: dict[str, tuple[bytes, str, str]] = {
    "not JSON": (b"hello", "$", "malformed"),
    "cut off": (_with()[:-1], "$.timing", "truncated"),
    "two documents": (_with() + _with(), "$", "trailing_data"),
    "not UTF-8": (_spelled_as(b"Flight", b"\xff"), "$.prompt", "invalid_utf8"),
    "wrong type": (_with(step="3"), "$.step", "wrong_type"),
    "a list": (b"[]", "$", "wrong_type"),
    "unknown field": (_with(colour="red"), "$.colour", "unknown_field"),
    "unknown field inside": (_decided(amount="1"), "$.decision.amount", "unknown_field"),
    "missing field": (_with(conversation_id=None), "$.conversation_id", "missing_field"),
    "missing prompt": (_with(prompt=None), "$.prompt", "missing_field"),
    "NaN confidence": (_spelled_as(b'"score":0.51', b'"score":NaN'), "$.confidence.score", "not_a_number"),
    "infinite confidence": (
        _spelled_as(b'"score":0.51', b'"score":1e999'),
        "$.confidence.score",
        "number_out_of_range",
    ),
    "threshold off its scale": (
        _with(confidence={"score": 0.9, "threshold": 75}),
        "$.confidence.threshold",
        "bad_scale",
    ),
    "negative amount": (
        _decided(executed={"amount": "-1", "currency": "CNY"}),
        "$.decision.executed.amount",
        "bad_form",
    ),
    "malformed amount": (
        _decided(executed={"amount": "1,000.00", "currency": "CNY"}),
        "$.decision.executed.amount",
        "bad_form",
    ),
    "amount as number": (
        _decided(executed={"amount": 1.5, "currency": "CNY"}),
        "$.decision.executed.amount",
        "wrong_type",
    ),
    "unknown currency": (
        _decided(executed={"amount": "1", "currency": "XYZ"}),
        "$.decision.executed.currency",
        "unknown_currency",
    ),
    "unknown jurisdiction": (_with(jurisdictions=["CN", "QX"]), "$.jurisdictions[1]", "unknown_jurisdiction"),
    "no jurisdiction": (_with(jurisdictions=[]), "$.jurisdictions", "bad_length"),
    "time without offset": (_with(occurred_at="2026-01-05T08:01:12"), "$.occurred_at", "bad_time"),
    "time far in the future": (_with(occurred_at="2999-01-05T08:01:12Z"), "$.occurred_at", "clock_ahead"),
    "1 MiB + 1": (_of_size(MAX_RECORD + 1), "$", "too_large"),
    "far beyond 1 MiB": (_of_size(3 * MAX_RECORD), "$", "too_large"),
    "10,000 levels": (_nested(10_000), "$.extra.deep" + "[0]" * 18 + "...", "too_deep"),
    "17 levels in extra": (_nested(16), "$.extra", "too_deep"),
    "lone surrogate": (_spelled_as(b"Flight", b"\\ud800"), "$.prompt", "lone_surrogate"),
    "raw surrogate": (_spelled_as(b"Flight", b"\xed\xa0\x80"), "$.prompt", "lone_surrogate"),
    "NUL": (_spelled_as(b"Flight", b"\\u0000"), "$.prompt", "nul"),
    "raw NUL": (_spelled_as(b"Flight", b"\x00"), "$.prompt", "nul"),
    "duplicate key": (
        _spelled_as(b'"money_moved":true', b'"money_moved":false,"money_moved":true'),
        "$.decision.money_moved",
        "duplicate_key",
    ),
    "duplicate key by escape": (
        _spelled_as(b'"prompt":', b'"\\u0070rompt":"x","prompt":'),
        "$.prompt",
        "duplicate_key",
    ),
    "duplicate key in extra": (
        _with(extra={}).replace(b'"extra":{}', b'"extra":{"a":{"b":1,"b":2}}'),
        "$.extra.a.b",
        "duplicate_key",
    ),
    "card number": (_with(prompt=f"charge {CARD}"), "$.prompt", "card_number"),
    "byte order mark": (b"\xef\xbb\xbf" + _with(), "$", "bom"),
}


@pytest.fixture
def take(installation: Installation) -> Callable[..., list[Result]]:
    """Return what takes lines into the ledger "cn"."""
    return lambda lines, **more: installation.ingest("cn", lines, **more)


def test_every_bad_line_is_refused_and_every_good_line_kept(installation: Installation) -> None:
    """Good and bad lines alternate, so that whatever spills over shows."""
    content = b""
    for at, (bad, _, _) in enumerate(BAD_LINES.values()):
        content += spelled(decision(500 + at)) + b"\n" + bad + b"\n"
    results = installation.ingest("cn", list(lines.numbered(io.BytesIO(content))))
    told = {one.line: (one.status, one.path, one.code) for one in results}
    expected: dict[int, tuple[Status, str, str]] = {}
    for at, (_, path, code) in enumerate(BAD_LINES.values()):
        expected[2 * at + 1] = (Status.ACCEPTED, "", "")
        expected[2 * at + 2] = (Status.REFUSED, path, code)
    assert told == expected
    assert all(one.reason for one in results if one.status is Status.REFUSED)
    assert worst(installation.audit(Depth.OPEN)) is None


def test_refused_lines_are_events_without_their_content(installation: Installation) -> None:
    bad = spelled(decision(700, prompt=f"charge {CARD}"))
    (result,) = installation.ingest("cn", [(41, bad)])
    event = _last_event(installation)
    assert event["event"] == "record.refused"
    facts = {"ledger": str(installation.ledger("cn")), "producer": "psp-1", "line": 41, "code": "card_number"}
    assert result.id_tag is not None
    assert event["facts"] == {**facts, "id_tag": canonical.b64(result.id_tag), "break_glass": 1}
    for secret in (CARD, CARD.replace(" ", "")):
        for spelling in (secret, secret.encode().hex()):
            assert spelling not in installation.everything_stored()


def test_a_refused_record_may_be_sent_again_redacted(take: Callable[..., list[Result]]) -> None:
    (refused,) = take([(1, spelled(decision(700, prompt=f"charge {CARD}")))])
    redacted = decision(700, prompt="charge [card]", redactions=[{"type": "card_number", "count": 1}])
    (accepted,) = take([(1, spelled(redacted))])
    assert (refused.status, accepted.status) == (Status.REFUSED, Status.ACCEPTED)
    assert refused.id_tag == accepted.id_tag


def test_the_same_bytes_again_are_a_duplicate(installation: Installation, take: Callable[..., list[Result]]) -> None:
    before = installation.size("cn")
    results = take(decisions(10))
    assert [(one.status, one.seq) for one in results] == [(Status.DUPLICATE, seq) for seq in range(1, 11)]
    assert installation.size("cn") == before


@pytest.mark.parametrize(
    "other",
    [spelled(decision(5, language="en")), spelled(decision(5)) + b" ", json.dumps(decision(5)).encode()],
    ids=["another field", "a space", "spelled otherwise"],
)
def test_other_bytes_under_a_known_id_conflict(
    installation: Installation, take: Callable[..., list[Result]], other: bytes
) -> None:
    (result,) = take([(7, other)])
    assert (result.status, result.seq, result.code, result.path) == (Status.CONFLICTING, 5, "conflict", "$.id")
    event = _last_event(installation)
    assert (event["event"], event["facts"]["seq"], event["facts"]["line"]) == ("record.conflict", 5, 7)


def test_an_id_that_stands_several_times_in_one_batch(take: Callable[..., list[Result]]) -> None:
    new, other = spelled(decision(600)), spelled(decision(600, language="en"))
    results = take([(1, new), (2, new), (3, other), (4, spelled(decision(601))), (5, new)])
    assert [(one.status.value, one.seq) for one in results] == [
        ("accepted", 182),
        ("duplicate", 182),
        ("conflicting", 182),
        ("accepted", 183),
        ("duplicate", 182),
    ]


def test_an_id_is_taken_in_its_own_ledger_only(installation: Installation) -> None:
    assert [one.status for one in installation.ingest("sg", decisions(3, first=100))] == [Status.ACCEPTED] * 3


def test_parallel_and_serial_sealing_give_the_same(installation: Installation) -> None:
    """2,100 lines: three batches, with refusals, duplicates and conflicts across and within them."""
    given: list[Line] = decisions(2_100, first=100)  # up to 181 they are there already
    given[1_500] = (1_600, spelled(decision(150, language="en")))
    given[1_700] = (1_800, spelled(decision(1_000)))
    for at, (bad, _, _) in enumerate(BAD_LINES.values()):
        if len(bad) < MAX_RECORD:
            given[400 + 40 * at] = (500 + 40 * at, bad)
    with installation.opened() as vault:
        serial, parallel = (ledgers.create(vault, name, ("CN",), ()) for name in ("serial", "parallel"))
        told = []
        for ledger, processes in ((serial, 1), (parallel, 2)):
            for part in (given[:50], given):  # the second run meets the first one's records again
                batches = intake.ingest(vault, ledger, part, "psp-1", processes=processes)
                results = [one for batch in batches for one in batch.results]
                told.append([(one.line, one.status, one.seq, one.code, one.path, one.reason) for one in results])
    assert told[:2] == told[2:]
    assert {one[1] for one in told[1]} == set(Status)
    columns = "seq, " + ", ".join(name for name in _columns(installation) if name not in _RANDOM)
    assert _table(installation, "serial", columns) == _table(installation, "parallel", columns)
    assert worst(installation.audit(Depth.OPEN)) is None


def test_receipts_verify_and_a_retry_gets_the_same_opening(installation: Installation, tmp_path: Any) -> None:
    file, first, second = tmp_path / "in.jsonl", tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    given = decisions(20, first=500)
    file.write_bytes(as_file(given))
    for target in (first, second):
        command = ("ingest", str(file), "--ledger", "cn", "--receipts", str(target))
        assert installation.run(*command).exit_code == 0
    with installation.opened() as vault:
        cn = installation.ledger("cn")
        keys, origin = [vault.checkpoints.verifier(cn)], vault.checkpoints.origin(cn)
    pairs = list(zip(_receipts(first), _receipts(second), given, strict=True))
    for (number, original), (again, repeated), (_, raw) in pairs:
        assert number == again
        for data in (original, repeated):
            assert receipt.verify(json.dumps(data).encode(), raw, keys, origin).size == 202
        assert (original["leaf"], original["opening"]) == (repeated["leaf"], repeated["opening"])
    with pytest.raises(Exception, match="not the bytes that were sealed"):
        receipt.verify(json.dumps(pairs[0][0][1]).encode(), b"{}", keys, origin)


def _zstd(data: bytes) -> bytes:
    """Compress as a producer that appends to a log does: flushed now and then, in two frames."""
    packed = b""
    for half in (data[: len(data) // 2], data[len(data) // 2 :]):
        stream = zstandard.ZstdCompressor().compressobj()
        for at in range(0, len(half), 5_000):
            packed += stream.compress(half[at : at + 5_000]) + stream.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
        packed += stream.flush()
    return packed


@pytest.mark.parametrize("pack", [gzip.compress, _zstd], ids=["gzip", "zstd"])
@pytest.mark.parametrize("count", [150, 1_300])
def test_good_lines_before_a_damaged_end_are_kept(
    installation: Installation, tmp_path: Any, pack: Callable[[bytes], bytes], count: int
) -> None:
    packed = pack(as_file(decisions(count, first=500)))
    file = tmp_path / "in.jsonl.packed"
    file.write_bytes(packed[: len(packed) * 9 // 10])
    result = installation.run("ingest", str(file), "--ledger", "cn", "--json")
    assert result.exit_code == RefusedInput.exit_code
    assert "damaged or cut off" in result.stderr
    kept = installation.size("cn") - 182
    assert 0 < kept < count
    assert json.loads(result.stderr.splitlines()[0])["accepted"] == kept
    file.write_bytes(packed)
    assert installation.run("ingest", str(file), "--ledger", "cn").exit_code == 0
    assert installation.size("cn") == 182 + count


def test_the_command_lists_refused_lines_and_ends_with_3(installation: Installation, tmp_path: Any) -> None:
    file = tmp_path / "in.jsonl"
    bad = spelled(decision(501, prompt=f"charge {CARD}"))
    file.write_bytes(b"\n".join([spelled(decision(500)), bad, b"", spelled(decision(5, step=9)), b"{}"]))
    result = installation.run("ingest", str(file), "--ledger", "cn", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == {"accepted": 1, "duplicate": 0, "conflicting": 1, "refused": 2}
    told = [json.loads(line) for line in (tmp_path / "in.jsonl.refused.jsonl").read_text().splitlines()]
    assert [(one["line"], one["path"], one["code"]) for one in told] == [
        (2, "$.prompt", "card_number"),
        (4, "$.id", "conflict"),
        (5, "$.schema", "missing_field"),
    ]
    assert "4111" not in json.dumps(told) + result.output


_RANDOM = {
    "ledger_id",
    "seq",
    "epoch_id",
    "salt",
    "wrapped_key",
    "envelope",
    *("conversation_tag", "transaction_tag", "customer_tag"),
}


def _columns(installation: Installation) -> list[str]:
    query = "SELECT attname FROM pg_attribute WHERE attrelid = 'vault.sealed'::regclass AND attnum > 0 ORDER BY attnum"
    with installation.tampering() as connection:
        return [row[0] for row in connection.execute(query)]


def _table(installation: Installation, ledger: str, columns: str) -> list[tuple[Any, ...]]:
    with installation.tampering() as connection:
        query = f"SELECT {columns} FROM vault.sealed WHERE ledger_id = '{installation.ledger(ledger)}' ORDER BY seq"
        return connection.execute(query).fetchall()


def _last_event(installation: Installation) -> dict[str, Any]:
    with installation.opened() as vault:
        (*_, last) = ledgers.history(vault, "record.refused", "record.conflict")
    return {"event": last.event, "facts": last.facts}


def _receipts(path: Any) -> list[tuple[int, dict[str, Any]]]:
    told = [json.loads(line) for line in path.read_text().splitlines()]
    return [(one["line"], one["receipt"]) for one in told]
