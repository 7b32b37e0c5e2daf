"""The client and the real service: records, receipts, refusals, and a service that dies in between."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from reasonvault_client import AsyncClient, Backoff, Client, Conflict, Denied, Misconfigured, Refused, Unavailable
from reasonvault_client.encoding import encode

from tests.support.client_server import until
from tests.support.decisions import decision
from tests.support.serving import Service, serving
from tests.support.vault import Installation
from vault import producers
from vault.core import receipt
from vault.core.note import VerifierKey
from vault.verdict import Depth, worst

QUICK: dict[str, Any] = {"backoff": Backoff(0.01, 0.2), "deadline": 60.0}
CARD = "4111 1111 1111 1111"


@pytest.fixture
def service(installation: Installation) -> Iterator[Service]:
    with serving(installation) as started:
        yield started


def unnumbered(number: int, **changes: Any) -> dict[str, Any]:
    return decision(number, producer_seq=None, **changes)


def client_of(service: Service, folder: Path, **options: Any) -> Client:
    key = service.producer(folder.name.replace("_", "-"), "cn")
    return Client(service.url, "cn", key, spool=folder / "spool", **{**QUICK, **options})


def held(installation: Installation, folder: Path, *sent: dict[str, Any]) -> list[int]:
    """Check the vault, and every receipt of a spool with the vault's own code; return the numbers in the leaves."""
    assert worst(installation.audit(Depth.OPEN)) is None
    documents = {document["id"]: document for document in sent}
    lines = [json.loads(line) for line in (folder / "spool.receipts.jsonl").read_bytes().splitlines()]
    verifier = VerifierKey.parse(pin(folder))
    numbers = {}
    for line in lines:
        number = json.loads(line["receipt"]["leaf"])["producer_seq"]
        record = encode(documents[line["id"]], number=True).numbered(number)
        text = json.dumps(line["receipt"]).encode()
        receipt.verify(text, record, [verifier], verifier.name)
        numbers[line["id"]] = number
    assert numbers.keys() == documents.keys()
    return sorted(numbers.values())


def pin(folder: Path) -> str:
    return (folder / "spool.verifier").read_text().strip()


def test_sync(service: Service, tmp_path: Path) -> None:
    with client_of(service, tmp_path) as client:
        first = client.log(unnumbered(9001))
        again = client.log(unnumbered(9001))
        assert first.seq == again.seq
        with pytest.raises(Conflict):
            client.log(unnumbered(9001, prompt="another"))
        with pytest.raises(Refused) as caught:
            client.log(unnumbered(9002, prompt=f"charge {CARD}"))
        assert (caught.value.code, caught.value.path) == ("card_number", "$.prompt")
        assert CARD not in str(caught.value) + caught.value.reason
        redacted = {"source": {"adapter": "native", "fidelity": "redacted"}}
        client.log(
            unnumbered(9002, prompt="charge [card]", redactions=[{"type": "card_number", "count": 1}], **redacted)
        )
    with Client(service.url, "cn", "rvk_aaaaaaaaaa_" + "A" * 43, **QUICK) as stranger, pytest.raises(Denied):
        stranger.log(unnumbered(9003), mode="sync")


def test_another_ledger_is_denied_or_unknown(service: Service, tmp_path: Path) -> None:
    key = service.producer("only-cn", "cn")
    for ledger in ("sg", "nowhere"):
        with Client(service.url, ledger, key, **QUICK) as client, pytest.raises((Denied, Misconfigured)):
            client.log(unnumbered(9001))


def test_spool(service: Service, tmp_path: Path) -> None:
    """Hundreds of records with bad ones among them; every receipt verifies with the vault's own code."""
    with client_of(service, tmp_path, deliver=False) as client:

        def work(worker: int) -> None:
            for number in range(200):
                client.log(unnumbered(10_000 + worker * 200 + number), mode="spool")

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        client.log(unnumbered(20_000, prompt=f"charge {CARD}"), mode="spool")
        client.log(b'{"not": "a record"}', mode="spool")
        client.drain()
        assert client.counters()[:5] == (800, 0, 2, 0, 0)
    sent = [unnumbered(10_000 + number) for number in range(800)]
    assert held(service.installation, tmp_path, *sent) == list(range(1, 801))


def test_bytes_with_line_breaks_are_sealed_as_they_are(service: Service, tmp_path: Path) -> None:
    raw = json.dumps(decision(9001), indent=1).encode()
    with client_of(service, tmp_path, deliver=False) as client:
        client.log(raw, mode="spool")
        client.drain()
        assert client.log(raw).seq
        assert client.counters()[:3] == (2, 0, 0)


def test_asyncio(service: Service, tmp_path: Path) -> None:
    key = service.producer("async-shop", "cn")

    async def run() -> None:
        async with AsyncClient(service.url, "cn", key, spool=tmp_path / "spool", **QUICK) as client:
            receipts = await asyncio.gather(*(client.log(unnumbered(9100 + number)) for number in range(40)))
            assert len({one.seq for one in receipts}) == 40
            await client.log(unnumbered(9200), mode="best_effort")
            await client.log(unnumbered(9201), mode="spool")
            await client.drain()
            await asyncio.to_thread(until, lambda: client.counters().pending == 0)
            assert client.counters()[3:] == (0, 0, 0)

    asyncio.run(run())


def test_the_service_is_killed_and_comes_back(service: Service, tmp_path: Path) -> None:
    """What was spooled before, while and after it was away is in the vault once; so is every sync record."""
    with client_of(service, tmp_path) as client:
        client.log(unnumbered(9000))
        done = threading.Event()

        def spool() -> None:
            for number in range(300):
                client.log(unnumbered(11_000 + number), mode="spool")
            done.set()

        writer = threading.Thread(target=spool)
        writer.start()
        until(lambda: client.counters().sent > 20)
        service.kill()
        writer.join()
        until(lambda: isinstance(client.trouble, Unavailable))
        port = int(service.url.rpartition(":")[2])
        with serving(service.installation, port=port):
            assert client.log(unnumbered(9001)).seq
            client.drain(60)
            counters = client.counters()
            assert (counters.pending, counters.parked, counters.lost, counters.bad_receipts) == (0, 0, 0, 0)
    sent = [unnumbered(11_000 + number) for number in range(300)]
    numbers = held(service.installation, tmp_path, *sent)
    assert len(set(numbers)) == 300
    assert max(numbers) <= 302  # the two sync records have the others


def test_a_revoked_key_stops_delivery_and_loses_nothing(service: Service, tmp_path: Path) -> None:
    key = service.producer("revoked", "cn")
    options = {**QUICK, "denied_pause": 0.1}
    with Client(service.url, "cn", key, spool=tmp_path / "spool", **options) as client:
        client.log(unnumbered(9001))
        with service.installation.opened() as vault:
            producers.revoke(vault, key.split("_")[1])
        client.log(unnumbered(9002), mode="spool")
        until(lambda: isinstance(client.trouble, Denied))
        assert client.counters()[1:4] == (1, 0, 0)
