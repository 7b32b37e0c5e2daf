"""The client's three modes over real sockets: what each returns, raises, keeps, and shows."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import stat
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from reasonvault_client import (
    AsyncClient,
    Backoff,
    BadReceipt,
    Client,
    Conflict,
    Denied,
    Gone,
    Limits,
    Misconfigured,
    NotARecord,
    Refused,
    SpoolFull,
    Unavailable,
    VerifierChanged,
    courier,
)

from tests.support.client_server import (
    KEY,
    SECRET,
    FakeLedger,
    FakeVault,
    drop_after,
    drop_before,
    record,
    refuse,
    running,
    unavailable,
    until,
)

QUICK: dict[str, Any] = {"backoff": Backoff(0.001, 0.01), "deadline": 5.0, "flush_timeout": 2.0}


@pytest.fixture
def vault() -> Iterator[FakeVault]:
    with running() as started:
        yield started


def client_of(vault: FakeVault, **options: Any) -> Client:
    return Client(vault.url, "payments", KEY, **{**QUICK, **options})


def test_sync_returns_a_checked_receipt(vault: FakeVault) -> None:
    with client_of(vault, verifier=vault.ledger.verifier, producer="shop-1") as client:
        receipt = client.log(record(1))
        again = client.log(record(1))
        assert (receipt.seq, again.seq, receipt.producer) == (1, 1, "shop-1")
        assert client.counters().sent == 2
    assert json.loads(receipt.data)["receipt"] == "reasonvault-receipt/1"


def test_bytes_are_sent_exactly_as_given(vault: FakeVault, tmp_path: Path) -> None:
    """White space, line breaks and order included; in every mode, and never numbered."""
    texts = [b'{ "id":"a",\r\n "z": 1.50 }\n', b'{"id":"b","z":1.50}', b' {"id": "c"}']
    with client_of(vault, spool=tmp_path / "spool") as client:
        client.log(texts[0])
        client.log(texts[1], mode="spool")
        client.log(texts[2], mode="spool")
        client.drain()
    assert sorted(vault.ledger.records) == sorted(texts)


class Decision(msgspec.Struct):
    id: str
    producer_seq: int | None = None


def test_structs_and_dicts_are_numbered_without_gaps(vault: FakeVault, tmp_path: Path) -> None:
    with client_of(vault, spool=tmp_path / "spool") as client:
        client.log(record(1))
        client.log(Decision("struct"), mode="spool")
        client.log(record("own", producer_seq=77), mode="spool")
        client.log({"id": "null", "producer_seq": None}, mode="spool")
        client.log(record(2), mode="best_effort")
        client.drain()
    assert {json.loads(text)["id"]: json.loads(text)["producer_seq"] for text in vault.ledger.records} == {
        "dec-1": 1,
        "struct": 2,
        "dec-own": 77,
        "null": 3,
        "dec-2": 4,
    }


def test_the_same_id_keeps_its_number(vault: FakeVault, tmp_path: Path) -> None:
    """So a retry after an unknown outcome is the same bytes, and a repetition is no conflict."""
    vault.script = [drop_after, drop_after]
    with client_of(vault, spool=tmp_path / "spool", deadline=0.0001) as client:
        with pytest.raises(Unavailable) as caught:
            client.log(record(1))
        assert caught.value.unknown
        client.log(record(1), mode="spool")
        client.log(record(2), mode="spool")
        client.drain(10)
        assert client.counters().parked == 0
    assert [json.loads(text)["producer_seq"] for text in vault.ledger.records] == [1, 2]


def test_numbers_go_on_after_a_restart(vault: FakeVault, tmp_path: Path) -> None:
    for number in range(3):
        with client_of(vault, spool=tmp_path / "spool") as client:
            client.log(record(number), mode="spool")
    assert [json.loads(text)["producer_seq"] for text in vault.ledger.records] == [1, 2, 3]


def test_a_counter_file_numbers_sync_records_without_a_spool(vault: FakeVault, tmp_path: Path) -> None:
    for number in range(2):
        with client_of(vault, counter=tmp_path / "counter") as client:
            client.log(record(number))
    assert [json.loads(text)["producer_seq"] for text in vault.ledger.records] == [1, 2]


@pytest.mark.parametrize(
    ("step", "error"),
    [
        (refuse("record-refused", 422, code="card_number", path="$.prompt"), Refused),
        (refuse("too-large", 413), Refused),
        (refuse("record-conflict", 409), Conflict),
        (refuse("record-gone", 410), Gone),
        (refuse("unauthenticated", 401), Denied),
        (refuse("denied", 403), Denied),
        (refuse("not-found", 404), Misconfigured),
    ],
)
def test_sync_raises_what_must_be_acted_on_at_once(vault: FakeVault, step: Any, error: type[Exception]) -> None:
    vault.script = [step]
    with client_of(vault) as client, pytest.raises(error) as caught:
        client.log(record(1))
    assert len(vault.posts) == 1
    assert SECRET not in str(caught.value)
    if isinstance(caught.value, Refused) and caught.value.status == 422:
        assert (caught.value.code, caught.value.path, caught.value.reason) == ("card_number", "$.prompt", "told")


def test_sync_tries_again_while_the_vault_is_away(vault: FakeVault) -> None:
    vault.script = [unavailable(), unavailable("0"), drop_before, drop_after, refuse("too-many-requests", 429)]
    with client_of(vault) as client:
        assert client.log(record(1)).seq == 1
        assert client.counters().retried == 5
    assert len({request.body for request in vault.posts}) == 1
    assert len(vault.ledger.records) == 1


def test_sync_gives_up_when_the_vault_asks_for_more_time_than_there_is(vault: FakeVault) -> None:
    vault.script = [unavailable("120")]
    with client_of(vault) as client, pytest.raises(Unavailable) as caught:
        client.log(record(1))
    assert caught.value.retry_after == 120
    assert len(vault.posts) == 1


def test_sync_keeps_its_deadline_though_the_vault_is_silent(vault: FakeVault, tmp_path: Path) -> None:
    """In both clients, and also before the vault's key is known."""
    released = threading.Event()

    def silent(exchange: Any) -> None:
        released.wait(30)
        exchange.close_connection = True

    vault.always = silent
    options = {**QUICK, "deadline": 0.3, "timeout": 60.0, "flush_timeout": 0.1}
    with client_of(vault, **options) as client, pytest.raises(Unavailable):
        client.log(record(1))

    async def run() -> None:
        async with AsyncClient(vault.url, "payments", KEY, **options) as client:
            with pytest.raises(Unavailable) as caught:
                await client.log(record(1))
            assert caught.value.unknown

    asyncio.run(run())
    released.set()


def test_first_use_is_tried_again_too(vault: FakeVault) -> None:
    vault.descriptions = [unavailable(), drop_before]
    with client_of(vault) as client:
        assert client.log(record(1)).seq == 1


def test_nobody_there(tmp_path: Path) -> None:
    with (
        Client("http://127.0.0.1:1", "payments", KEY, **{**QUICK, "deadline": 0.05}) as client,
        pytest.raises(Unavailable, match="cannot reach"),
    ):
        client.log(record(1))


def test_another_vaults_receipt_is_none(vault: FakeVault) -> None:
    honest = vault.ledger.verifier
    vault.ledger = FakeLedger(seed=b"x" * 32)
    with client_of(vault, verifier=honest) as client:
        with pytest.raises(BadReceipt):
            client.log(record(1))
        assert client.counters()[:1] == (0,)
        assert client.counters().bad_receipts == 1


def test_a_receipt_for_other_bytes_is_none(vault: FakeVault) -> None:
    def swap(exchange: Any) -> None:
        _, body = vault.ledger.take(b'{"id":"other"}')
        exchange.answer(201, json.dumps(body).encode(), "application/json")

    vault.script = [swap]
    with client_of(vault) as client, pytest.raises(BadReceipt, match="other bytes"):
        client.log(record(1))


def test_a_key_trusted_on_first_use_must_stay(vault: FakeVault, tmp_path: Path) -> None:
    with client_of(vault, spool=tmp_path / "spool") as client:
        client.log(record(1))
    pin = tmp_path / "spool.verifier"
    assert pin.read_text() == f"{vault.ledger.verifier}\n"
    assert stat.S_IMODE(pin.stat().st_mode) == 0o600
    vault.ledger = FakeLedger(seed=b"x" * 32)
    with client_of(vault, spool=tmp_path / "spool", deliver=False) as client:
        with pytest.raises(VerifierChanged):
            client.log(record(2))
        client.log(record(3), mode="spool")
        with pytest.raises(VerifierChanged):
            client.drain(0)
        assert client.counters().pending == 1


def test_spool_keeps_while_nobody_is_there_and_delivers_later(vault: FakeVault, tmp_path: Path) -> None:
    spool = tmp_path / "spool"
    with Client("http://127.0.0.1:1", "payments", KEY, spool=spool, **QUICK) as client:
        for number in range(10):
            client.log(record(number), mode="spool")
        until(lambda: isinstance(client.trouble, Unavailable))
        assert client.counters().pending == 10
    with client_of(vault, spool=spool) as client:
        until(lambda: not client.counters().pending)
        assert client.counters().sent == 10
        assert client.trouble is None
    assert [json.loads(text)["id"] for text in vault.ledger.records] == [f"dec-{number}" for number in range(10)]
    receipts = [json.loads(line) for line in (tmp_path / "spool.receipts.jsonl").read_bytes().splitlines()]
    assert [line["id"] for line in receipts] == [f"dec-{number}" for number in range(10)]
    assert all(line["receipt"]["receipt"] == "reasonvault-receipt/1" for line in receipts)


def test_what_is_on_disk_is_private_and_encrypted(vault: FakeVault, tmp_path: Path) -> None:
    vault.always = refuse("record-refused", 422, code="card_number", path="$.prompt")
    with client_of(vault, spool=tmp_path / "spool", deliver=False) as client:
        client.log(record(1), mode="spool")
        client.drain()
        client.log(record(2), mode="spool")
    found = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(found) >= 6
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert SECRET.encode() not in path.read_bytes()
        assert b"dec-1" not in path.read_bytes()
    for folder in (tmp_path / "spool", tmp_path / "spool" / "parked"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_full_spool_raises_and_drops_nothing(vault: FakeVault, tmp_path: Path) -> None:
    with client_of(vault, spool=tmp_path / "spool", limits=Limits(records=2), deliver=False) as client:
        client.log(record(1), mode="spool")
        client.log(record(2), mode="spool")
        with pytest.raises(SpoolFull):
            client.log(record(3), mode="spool")
        client.drain()
        client.log(record(3), mode="spool")
        client.drain()
    assert [json.loads(text)["producer_seq"] for text in vault.ledger.records] == [1, 2, 3]


def test_best_effort_without_a_spool(vault: FakeVault) -> None:
    with client_of(vault) as client:
        client.log(record(1), mode="best_effort")
        until(lambda: client.counters().sent == 1)
        vault.script = [refuse("record-refused", 422)]
        client.log(record(2), mode="best_effort")
        until(lambda: client.counters().lost == 1)
        assert client.counters().pending == 0


def test_best_effort_never_raises_and_counts_what_is_lost(tmp_path: Path) -> None:
    options = {**QUICK, "memory_records": 3, "flush_timeout": 0.1}
    with Client("http://127.0.0.1:1", "payments", KEY, **options) as client:
        for number in range(5):
            client.log(record(number), mode="best_effort")
        client.log({"id": object()}, mode="best_effort")
        assert (client.counters().lost, client.counters().pending) == (3, 3)
    assert client.counters().lost == 6
    client.log(record(9), mode="best_effort")
    assert client.counters().lost == 7


def test_best_effort_uses_the_spool_while_it_has_room(vault: FakeVault, tmp_path: Path) -> None:
    vault.always = unavailable()
    with client_of(vault, spool=tmp_path / "spool", limits=Limits(records=1)) as client:
        client.log(record(1), mode="best_effort")
        until(lambda: len(list((tmp_path / "spool").glob("*.parcel"))) == 1)
        client.log(record(2), mode="best_effort")
        until(lambda: client.counters().pending == 2)
        vault.always = None
        until(lambda: client.counters().pending == 0)
        assert client.counters().lost == 0
    assert len(vault.ledger.records) == 2


def test_a_burst_of_best_effort_shares_parcels(vault: FakeVault, tmp_path: Path) -> None:
    options: dict[str, Any] = {"deliver": False, "patience": 0.0, "memory_records": 400}
    with client_of(vault, spool=tmp_path / "spool", **options) as client:
        for number in range(400):
            client.log(record(number), mode="best_effort")
        until(lambda: not len(client._core.memory))
        assert client.counters()[1:4] == (400, 0, 0)
        assert len(list((tmp_path / "spool").glob("*.parcel"))) < 200


def test_an_idle_client_asks_nobody(tmp_path: Path) -> None:
    with Client("http://127.0.0.1:1", "payments", KEY, spool=tmp_path / "spool", **QUICK) as client:
        assert client._core.courier._try_to_deliver() == courier.POLL
        assert client.trouble is None


def test_modes_that_cannot_be(vault: FakeVault) -> None:
    with client_of(vault) as client:
        with pytest.raises(Misconfigured, match="spool"):
            client.log(record(1), mode="spool")
        with pytest.raises(Misconfigured, match="mode"):
            client.log(record(1), mode="later")  # type: ignore[call-overload]
        with pytest.raises(NotARecord):
            client.log({"id": object()})
        with pytest.raises(NotARecord):
            client.log(["id"])  # type: ignore[call-overload]


def test_asyncio(vault: FakeVault, tmp_path: Path) -> None:
    vault.script = [unavailable(), drop_after]

    async def run() -> None:
        async with AsyncClient(vault.url, "payments", KEY, spool=tmp_path / "spool", **QUICK) as client:
            assert (await client.log(record(1))).seq == 1
            await asyncio.gather(*(client.log(record(number), mode="spool") for number in range(2, 40)))
            await client.log(record(40), mode="best_effort")
            await client.drain()
            await asyncio.to_thread(until, lambda: not client.counters().pending)
            vault.script = [refuse("denied", 403)]
            with pytest.raises(Denied):
                await client.log(record(41))
            assert client.counters().sent == 40
            assert client.trouble is None

    asyncio.run(run())
    numbers = [json.loads(text)["producer_seq"] for text in vault.ledger.records]
    assert sorted(numbers) == list(range(1, 41))


def test_one_async_client_in_two_event_loops(vault: FakeVault) -> None:
    client = AsyncClient(vault.url, "payments", KEY, **QUICK)
    asyncio.run(client.log(record(1)))
    asyncio.run(client.log(record(2)))
    asyncio.run(client.aclose())
    assert len(vault.ledger.records) == 2
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the first loop ended with its connections open
        gc.collect()


def test_nothing_secret_is_logged_or_shown(vault: FakeVault, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Even where the answer repeats the record: its words are not the client's."""
    caplog.set_level(logging.DEBUG)
    openings = []

    def echo(exchange: Any) -> None:
        exchange.complain("record-refused", 422, code=SECRET, path=SECRET, detail=exchange.request_made.body.decode())

    def lie(exchange: Any) -> None:
        status, body = vault.ledger.take(b'{"id":"lie"}')
        openings.append(body["opening"])
        exchange.answer(status, json.dumps(body).encode(), "application/json")

    vault.script = [echo, lie]
    shown = []
    with client_of(vault, spool=tmp_path / "spool", deliver=False) as client:
        for _ in range(2):
            with pytest.raises((Refused, BadReceipt)) as caught:
                client.log(record(1))
            shown += [str(caught.value), repr(caught.value)]
        receipt = client.log(record(2))
        openings.append(json.loads(receipt.data)["opening"])
        client.log(record(3), mode="spool")
        vault.script = [refuse("record-refused", 422)]
        client.drain()
        shown += [repr(client), repr(receipt), repr(client._core.settings), caplog.text]
    whole = "\n".join(shown)
    assert "parked" in whole
    for secret in (SECRET, SECRET.replace(" ", "?"), KEY, *openings):
        assert secret not in whole
