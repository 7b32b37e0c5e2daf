"""Delivery on bad days: what is refused is parked alone, what is unknown is sent again, and nothing is lost."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reasonvault_client import (
    Backoff,
    BadReceipt,
    Client,
    Denied,
    Limits,
    Misconfigured,
    SpoolBroken,
    Unavailable,
    files,
)

from tests.support.client_server import (
    KEY,
    SECRET,
    Exchange,
    FakeLedger,
    FakeVault,
    drop_after,
    drop_before,
    half_answer,
    problem,
    record,
    refuse,
    running,
    unavailable,
    until,
)

QUICK: dict[str, Any] = {
    "backoff": Backoff(0.001, 0.01),
    "deadline": 5.0,
    "flush_timeout": 2.0,
    "deliver": False,
}


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with running() as started:
        yield started


@pytest.fixture
def client(vault: FakeVault, tmp_path: Path) -> Iterator[Client]:
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **QUICK) as made:
        yield made


def spooled(client: Client, *names: int | str) -> None:
    for name in names:
        client.log(record(name), mode="spool")


def ids(vault: FakeVault) -> list[str]:
    return [json.loads(text)["id"].removeprefix("dec-") for text in vault.ledger.records]


def reasons(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_bytes()) for path in sorted((folder / "spool" / "parked").glob("*.reason"))]


def refusing(*names: str, status: int = 422) -> Any:
    def refuse_some(text: bytes) -> dict[str, Any] | None:
        if any(f'"dec-{name}"'.encode() in text for name in names):
            return problem("record-refused", status, code="card_number", path="$.prompt")
        return None

    return refuse_some


@pytest.mark.parametrize("status", [400, 413, 422])
def test_a_batch_refused_as_a_whole_is_halved_until_the_bad_record_is_alone(
    vault: FakeVault, client: Client, tmp_path: Path, status: int
) -> None:
    """Seven good records arrive, in as few requests as halving needs."""

    def whole(exchange: Exchange) -> None:
        if any(b'"dec-5"' in line for line in exchange.request_made.lines):
            exchange.complain("malformed-request", status)
        else:
            exchange.serve()

    vault.always = whole
    spooled(client, *range(8))
    client.drain()
    assert sorted(ids(vault)) == sorted(str(number) for number in range(8) if number != 5)
    assert client.counters()[:3] == (7, 0, 1)
    assert [reason["status"] for reason in reasons(tmp_path)] == [status]
    assert len(vault.posts) <= 8


def test_a_proxy_that_refuses_everything_parks_nothing(vault: FakeVault, client: Client) -> None:
    vault.always = lambda exchange: exchange.answer(400, b"<html>no</html>", "text/html")
    spooled(client, 1, 2)
    with pytest.raises(Unavailable):
        client.drain(0.05)
    assert client.counters()[1:3] == (2, 0)


def test_a_refused_line_is_parked_and_the_others_go_on(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    vault.ledger.refuse = refusing("1")
    spooled(client, 0, 1, 2)
    client.drain()
    assert ids(vault) == ["0", "2"]
    (reason,) = reasons(tmp_path)
    assert (reason["why"], reason["code"], reason["path"]) == ("refused", "card_number", "$.prompt")
    assert SECRET not in json.dumps(reason)


def test_a_conflict_is_parked(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    vault.ledger.take(b'{"id":"dec-1"}')
    spooled(client, 1, 2)
    client.drain()
    assert [reason["why"] for reason in reasons(tmp_path)] == ["conflict"]
    assert ids(vault) == ["1", "2"]


def test_a_single_record_with_line_breaks_is_parked_too(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    vault.ledger.refuse = refusing("1")
    client.log(b'{"id":\n"dec-1"}', mode="spool")
    client.log(b'{\n"id":"dec-2"}', mode="spool")
    client.drain()
    assert [post.path.rpartition("/")[2] for post in vault.posts] == ["records", "records"]
    assert client.counters()[:3] == (1, 0, 1)


@pytest.mark.parametrize(
    "steps",
    [
        [drop_before],
        [drop_after],
        [half_answer(0)],
        [half_answer(2)],
        [unavailable(), unavailable("0")],
        [refuse("unknown-outcome", 503), refuse("internal", 500), refuse("too-many-requests", 429)],
        [lambda exchange: exchange.answer(200, b"no json\n", "application/x-ndjson")],
        [lambda exchange: exchange.answer(200, b"", "application/x-ndjson")],
        [lambda exchange: exchange.answer(200, b'{"line":2,"status":201}\n', "application/x-ndjson")],
        [lambda exchange: exchange.answer(302, b"", "text/html", Location="http://127.0.0.1:1/")],
    ],
    ids=["dropped before", "dropped after", "half a line", "two lines", "503", "5xx, 429", "garbage", "empty",
         "another line", "redirect"],
)  # fmt: skip
def test_an_unknown_outcome_is_settled_by_sending_the_same_bytes(
    vault: FakeVault, client: Client, tmp_path: Path, steps: list[Any]
) -> None:
    vault.script = list(steps)
    spooled(client, *range(4))
    client.drain(10)
    assert ids(vault) == ["0", "1", "2", "3"]
    assert client.counters()[:3] == (4, 0, 0)
    kept = [json.loads(line)["id"] for line in (tmp_path / "spool.receipts.jsonl").read_bytes().splitlines()]
    assert kept == [f"dec-{number}" for number in range(4)]


def test_a_line_that_says_unavailable_ends_the_batch(vault: FakeVault, client: Client) -> None:
    def half(exchange: Exchange) -> None:
        lines = list(exchange.answer_lines())[:2]
        last = {"line": 3, "status": 503, "problem": problem("unavailable", 503)}
        body = b"".join(lines) + json.dumps(last).encode() + b"\n"
        exchange.answer(200, body, "application/x-ndjson")

    vault.script = [half]
    spooled(client, *range(5))
    client.drain(10)
    assert ids(vault) == [str(number) for number in range(5)]
    assert [len(post.lines) for post in vault.posts] == [5, 3], "what was answered is not sent again"


def test_a_refusal_that_ends_the_answer_early_parks_nothing(vault: FakeVault, client: Client) -> None:
    """It is about the stream: a body that was cut off on its way, for example."""

    def cut(exchange: Exchange) -> None:
        lines = list(exchange.answer_lines())[:2]
        last = {"line": 3, "status": 422, "problem": problem("record-refused", 422)}
        exchange.answer(200, b"".join(lines) + json.dumps(last).encode() + b"\n", "application/x-ndjson")

    vault.script = [cut]
    spooled(client, *range(5))
    client.drain(10)
    assert client.counters()[:3] == (5, 0, 0)


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_honoured(vault: FakeVault, tmp_path: Path, form: str) -> None:
    """The background waits; a try by hand says how long."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    vault.always = unavailable("100" if form == "seconds" else later)
    options = {**QUICK, "deliver": True, "flush_timeout": 0.0}
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **options) as client:
        spooled(client, 1)
        until(lambda: isinstance(client.trouble, Unavailable))
        spooled(client, *range(2, 20))
        trouble = client.trouble
        assert isinstance(trouble, Unavailable)
        assert trouble.retry_after is not None
        assert 90 < trouble.retry_after <= 100
        assert len(vault.posts) == 1
        vault.always = None
        client.drain()
        assert client.counters().pending == 0


@pytest.mark.parametrize("status", [401, 403])
def test_a_denied_key_stops_delivery_and_loses_nothing(vault: FakeVault, tmp_path: Path, status: int) -> None:
    vault.always = refuse("denied", status)
    options = {**QUICK, "deliver": True, "denied_pause": 0.2}
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **options) as client:
        spooled(client, 1, 2)
        until(lambda: isinstance(client.trouble, Denied))
        with pytest.raises(Denied):
            client.drain()
        assert client.counters()[1:4] == (2, 0, 0)
        vault.always = None
        until(lambda: client.trouble is None)
        assert client.counters().sent == 2


def test_an_unknown_ledger_stops_delivery(vault: FakeVault, tmp_path: Path) -> None:
    with Client(vault.url, "unknown", KEY, spool=tmp_path / "spool", **QUICK) as client:
        spooled(client, 1)
        with pytest.raises(Misconfigured, match="ledger"):
            client.drain()
        assert client.counters().pending == 1


def test_a_spool_is_for_one_ledger(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    """Records of one jurisdiction must not end up in another's ledger by a typing error."""
    spooled(client, 1)
    with pytest.raises(Misconfigured, match="ledger"):
        Client(vault.url, "payments-sg", KEY, spool=tmp_path / "spool", **QUICK)


def test_background_delivery_goes_on_once_somebody_has_delivered(vault: FakeVault, tmp_path: Path) -> None:
    vault.script = [refuse("denied", 403)]
    options = {**QUICK, "deliver": True}
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **options) as client:
        spooled(client, 1)
        until(lambda: isinstance(client.trouble, Denied))
        client.drain()
        assert client.trouble is None
        spooled(client, 2)
        until(lambda: client.counters().sent == 2)


def test_a_receipt_that_does_not_hold_is_no_delivery(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    """The record stays, the others go on, and the right receipt takes it out of the spool."""

    def wrong(exchange: Exchange) -> None:
        lines = list(exchange.answer_lines())
        first, second = (json.loads(line) for line in lines[:2])
        first["receipt"], second["receipt"] = second["receipt"], first["receipt"]
        lines[:2] = [json.dumps(line).encode() + b"\n" for line in (first, second)]
        exchange.answer(200, b"".join(lines), "application/x-ndjson")

    vault.script = [wrong]
    spooled(client, *range(3))
    with pytest.raises(BadReceipt):
        client.drain()
    counted = client.counters()
    assert (counted.sent, counted.pending, counted.bad_receipts) == (1, 2, 2)
    client.drain()
    assert client.counters()[:3] == (3, 0, 0)
    assert len((tmp_path / "spool.receipts.jsonl").read_bytes().splitlines()) == 3


def test_a_forged_vault_gets_no_record_out_of_the_spool(vault: FakeVault, tmp_path: Path) -> None:
    honest, vault.ledger = vault.ledger, FakeLedger(seed=b"x" * 32)
    options = {**QUICK, "verifier": honest.verifier}
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **options) as client:
        spooled(client, 1, 2)
        with pytest.raises(BadReceipt):
            client.drain()
        assert client.counters()[:3] == (0, 2, 0)
        vault.ledger = honest
        client.drain()
        assert client.counters()[:3] == (2, 0, 0)


def test_a_record_over_which_the_vault_stumbles_holds_up_no_other(vault: FakeVault, client: Client) -> None:
    def stumble(exchange: Exchange) -> None:
        if any(b'"dec-2"' in line for line in exchange.request_made.lines):
            exchange.complain("internal", 500)
        else:
            exchange.serve()

    vault.always = stumble
    spooled(client, *range(6))
    with pytest.raises(Unavailable):
        client.drain(1.0)
    assert sorted(ids(vault)) == ["0", "1", "3", "4", "5"]
    assert client.counters()[1:3] == (1, 0)
    vault.always = None
    client.drain()
    assert client.counters()[1:3] == (0, 0)


def test_gzip_is_given_up_where_it_is_not_understood(vault: FakeVault, client: Client) -> None:
    vault.script = [refuse("unsupported-media-type", 415)]
    spooled(client, 1, 2)
    client.drain()
    assert [post.headers.get("content-encoding") for post in vault.posts] == ["gzip", None]
    assert ids(vault) == ["1", "2"]


def test_whoever_takes_no_batches_at_all_parks_nothing(vault: FakeVault, client: Client) -> None:
    vault.always = refuse("unsupported-media-type", 415)
    spooled(client, 1, 2)
    with pytest.raises(Misconfigured, match="batches"):
        client.drain()
    assert client.counters()[1:3] == (2, 0)


def test_damage_is_parked_and_the_rest_is_delivered(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    """A flipped bit in a record, in a header, and a file cut short; never silently removed."""
    spooled(client, *range(4))
    parcels = sorted((tmp_path / "spool").glob("*.parcel"))
    for path, place in ((parcels[0], 100), (parcels[1], 5)):
        data = bytearray(path.read_bytes())
        data[place] ^= 1
        path.write_bytes(data)
    parcels[2].write_bytes(parcels[2].read_bytes()[:60])
    client.drain()
    assert ids(vault) == ["3"]
    assert client.counters()[:3] == (1, 0, 3)
    assert [reason["why"] for reason in reasons(tmp_path)] == ["damaged"] * 3
    client.log(record(5), mode="spool")
    client.drain()
    assert json.loads(vault.ledger.records[-1])["producer_seq"] == 5


def test_one_damaged_record_of_a_parcel_does_not_take_the_others_with_it(
    vault: FakeVault, client: Client, tmp_path: Path
) -> None:
    together(client, 3)
    (path,) = (tmp_path / "spool").glob("*.parcel")
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    client.drain()
    assert len(ids(vault)) == 2
    assert [reason["damaged"] for reason in reasons(tmp_path)] == [1]


def together(client: Client, count: int) -> None:
    """Spool records in one parcel, as threads do that come while another one writes."""
    from reasonvault_client.encoding import encode
    from reasonvault_client.spool import Entry

    spool = client._core.spool
    assert spool is not None
    entries = [Entry(encode(record(number), number=True)) for number in range(count)]
    for entry in entries:
        spool.queue(entry)
    spool.write(entries[0])


def test_another_spool_key_parks_nothing(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    spooled(client, 1)
    (tmp_path / "spool.key").rename(tmp_path / "old.key")
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **QUICK) as other:
        with pytest.raises(Misconfigured, match="spool key"):
            other.drain()
        assert other.counters()[1:3] == (1, 0)
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", spool_key=tmp_path / "old.key", **QUICK) as right:
        right.drain()
    assert ids(vault) == ["1"]


def test_receipts_that_cannot_be_kept_keep_the_records(vault: FakeVault, client: Client, tmp_path: Path) -> None:
    (tmp_path / "spool.receipts.jsonl").mkdir()
    spooled(client, 1)
    with pytest.raises(SpoolBroken, match="receipts"):
        client.drain()
    assert client.counters()[:2] == (0, 1)
    (tmp_path / "spool.receipts.jsonl").rmdir()
    client.drain()
    assert client.counters()[:2] == (1, 0)
    assert len((tmp_path / "spool.receipts.jsonl").read_bytes().splitlines()) == 1


def test_a_full_disk_is_a_full_spool(
    vault: FakeVault, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(descriptor: int, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    from reasonvault_client import SpoolFull

    with monkeypatch.context() as patch:
        patch.setattr(files, "write_all", no_space)
        with pytest.raises(SpoolFull, match="disk"):
            spooled(client, 1)
    spooled(client, 2)
    client.drain()
    assert [json.loads(text)["producer_seq"] for text in vault.ledger.records] == [1]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.integers(0, 30), unique=True, min_size=1, max_size=14),
    bad=st.sets(st.integers(0, 30), max_size=4),
    troubles=st.lists(
        st.sampled_from([drop_before, drop_after, half_answer(0), unavailable(), refuse("internal", 500)]), max_size=5
    ),
    size=st.integers(1, 6),
)
def test_whatever_happens_each_record_is_at_the_vault_once_or_parked(
    tmp_path_factory: pytest.TempPathFactory, names: list[int], bad: set[int], troubles: list[Any], size: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    with running() as vault:
        vault.ledger.refuse = refusing(*map(str, bad))
        vault.script = list(troubles)
        options = {**QUICK, "batch_records": size}
        with Client(vault.url, "payments", KEY, spool=folder / "spool", **options) as client:
            spooled(client, *names)
            client.drain(20)
            assert sorted(ids(vault)) == sorted(str(name) for name in names if name not in bad)
            assert client.counters()[1:3] == (0, len(set(names) & bad))


def test_many_threads_share_parcels_and_nothing_is_mixed_up(vault: FakeVault, tmp_path: Path) -> None:
    options = {**QUICK, "limits": Limits(records=1000)}
    with Client(vault.url, "payments", KEY, spool=tmp_path / "spool", **options) as client:

        def work(worker: int) -> None:
            spooled(client, *(f"{worker}-{number}" for number in range(25)))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert client.counters().pending == 200
        client.drain()
    assert sorted(json.loads(text)["producer_seq"] for text in vault.ledger.records) == list(range(1, 201))
    assert len(set(ids(vault))) == 200


def test_what_is_logged_holds_no_content(vault: FakeVault, client: Client, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "reasonvault_client")
    vault.ledger.refuse = refusing("1")
    spooled(client, 0, 1)
    client.drain()
    assert "parked" in caplog.text
    assert SECRET not in caplog.text
