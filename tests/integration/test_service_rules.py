"""A service that runs while a rule book is adopted: every worker dates new records by it, without a restart."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from itertools import count

import httpx
import pytest

from retention import adoption
from service import wiring
from tests.support.acting import hire
from tests.support.books import book
from tests.support.decisions import decision, decisions, spelled
from tests.support.serving import Service, bearer, serving
from tests.support.vault import Installation
from vault import ledgers
from vault.core import canonical, leaf, packing
from vault.core.leaf import RecordLeaf
from vault.db import store

LONGER = book("2027-01", {"PROD-3Y": {"minimum": "P7Y"}})
NUMBERS = count(2000)
PLAIN = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Nothing here speaks TLS; without this every client would load all certificates of the system."""


@pytest.fixture
def service(installation: Installation) -> Iterator[Service]:
    with serving(installation, workers=2) as started:
        yield started


def test_it_takes_a_new_book_without_being_restarted(service: Service) -> None:
    key = service.producer("psp-1", "cn")
    headers = {**bearer(key), "Content-Type": "application/json"}

    def send() -> None:
        """Over a new connection, so that any worker may get it."""
        with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN) as client:
            raw = spelled(decision(next(NUMBERS), producer_seq=None))
            assert client.post("/v1/ledgers/cn/records", content=raw, headers=headers).status_code == 201

    def send_batch() -> None:
        lines = b"".join(raw + b"\n" for _, raw in decisions(40, 5000 + next(NUMBERS) * 40))
        sent = {**bearer(key), "Content-Type": "application/x-ndjson"}
        with httpx.Client(base_url=service.url, trust_env=False, verify=PLAIN, timeout=60) as client:
            assert client.post("/v1/ledgers/cn/records/batch", content=lines, headers=sent).status_code == 200

    def books(first: int) -> set[str]:
        with service.installation.opened() as vault, vault.engine.connect() as connection:
            found = [leaf.parse(packing.unpack(data)) for _, data in store.stream_leaves(connection, cn, first, None)]
        return {one.rulebook for one in found if isinstance(one, RecordLeaf)}

    with service.installation.opened() as vault:
        cn = ledgers.get(vault, "cn").id
        old = canonical.b64(wiring.rule_book(vault).digest)
        size = service.installation.size("cn")
        for _ in range(6):
            send()
        send_batch()
        assert books(size) == {old}
        adoption.propose(vault.acting(hire(vault, "olga", "officer")), LONGER)
        step = adoption.adopt(vault.acting(hire(vault, "olaf", "officer")), LONGER)
    size = service.installation.size("cn")
    for _ in range(12):
        send()
    send_batch()
    assert books(size) == {canonical.b64(step.book.digest)}
