"""What answers mean, how long to wait, what configuration is refused, and what errors say."""

from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reasonvault_client import answers, errors
from reasonvault_client.answers import Problem, error_of, read_problem
from reasonvault_client.backoff import MAX_RETRY_AFTER, Backoff, parse_retry_after
from reasonvault_client.config import Settings
from reasonvault_client.errors import ClientError, Misconfigured, Refused, Unavailable, VerifierChanged
from reasonvault_client.note import parse_verifier
from reasonvault_client.transport import split_lines
from reasonvault_client.trust import Trust

NOW = datetime(2026, 11, 25, tzinfo=UTC)
VAULTS = Problem(type="urn:reasonvault:problem:record-refused", code="card_number", path="$.prompt[0].content")


@pytest.mark.parametrize(
    ("status", "problem", "error"),
    [
        (400, VAULTS, errors.Refused),
        (413, Problem(), errors.Refused),
        (415, VAULTS, errors.Refused),
        (422, VAULTS, errors.Refused),
        (400, Problem(), errors.Unavailable),
        (422, Problem(), errors.Unavailable),
        (401, Problem(), errors.Denied),
        (403, VAULTS, errors.Denied),
        (404, Problem(), errors.Misconfigured),
        (405, Problem(), errors.Misconfigured),
        (409, VAULTS, errors.Conflict),
        (409, Problem(), errors.Unavailable),
        (410, VAULTS, errors.Gone),
        (429, Problem(), errors.Unavailable),
        (500, Problem(), errors.Unavailable),
        (503, Problem(type="urn:reasonvault:problem:evidence"), errors.Unavailable),
        (302, Problem(), errors.Unavailable),
        (204, Problem(), errors.Unavailable),
    ],
)
def test_every_status_has_a_meaning(status: int, problem: Problem, error: type[ClientError]) -> None:
    assert type(error_of(status, problem)) is error


def test_a_refusal_tells_code_and_path() -> None:
    error = error_of(422, VAULTS)
    assert isinstance(error, Refused)
    assert (error.code, error.path, error.status) == ("card_number", "$.prompt[0].content", 422)
    assert "card_number at $.prompt[0].content" in str(error)


@given(st.integers(200, 599), st.text(max_size=400), st.text(max_size=400))
def test_no_word_of_an_answer_reaches_a_message_unless_it_is_a_code(status: int, detail: str, code: str) -> None:
    problem = Problem(type="urn:reasonvault:problem:x", detail=detail, code=code, path=code)
    told = str(error_of(status, problem))
    assert error_of(status, Problem(type="urn:reasonvault:problem:x", code=code, path=code)).args == (told,)
    assert len(told) < 800
    assert told.isprintable()


def test_digits_of_a_card_do_not_pass_as_a_path() -> None:
    error = error_of(422, Problem(type="x", code="4111111111111111", path="$.extra.c4111111111111111"))
    assert "4111" not in str(error)
    assert isinstance(error, Refused)
    assert (error.code, error.path) == ("refused", "$.extra.c#")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"type":1}', b'{"detail":' + b"[" * 5000])
def test_what_is_no_problem(body: bytes) -> None:
    assert read_problem("application/problem+json; charset=utf-8", body) == Problem()
    assert read_problem("text/html", b'{"type":"x"}') == Problem()


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"line":1,"status":"201"}', b'{"line":1,"status":201', b"\xff"])
def test_what_is_no_answer_line(line: bytes) -> None:
    with pytest.raises(Unavailable):
        answers.read_line(line)


@given(st.lists(st.binary(min_size=1).filter(lambda line: b"\n" not in line and line.strip()), max_size=5), st.data())
def test_lines_are_found_however_they_come(lines: list[bytes], data: st.DataObject) -> None:
    whole = b"\n".join(lines) + (b"\n" if lines and data.draw(st.booleans()) else b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=4)))
    chunks = [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]
    assert list(split_lines(iter(chunks))) == lines


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("0", 0.0),
        (" 17 ", 17.0),
        ("99999999", MAX_RETRY_AFTER),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(seconds=90), usegmt=True), 0.0),
        (format_datetime(NOW + timedelta(days=90)), MAX_RETRY_AFTER),
        ("-5", None),
        ("1.5", None),
        ("soon", None),
        ("٣", None),
        (None, None),
    ],
)
def test_retry_after_in_both_forms(value: str | None, seconds: float | None) -> None:
    assert parse_retry_after(value, NOW) == seconds


@given(st.text(max_size=40))
def test_retry_after_never_breaks(value: str) -> None:
    found = parse_retry_after(value, NOW)
    assert found is None or 0 <= found <= MAX_RETRY_AFTER


@given(st.integers(1, 10_000), st.floats(0, 1), st.none() | st.floats(0, 100))
def test_pauses_grow_up_to_a_cap_and_never_undercut_the_vault(
    attempt: int, chance: float, retry_after: float | None
) -> None:
    pause = Backoff(0.5, 20.0).delay(attempt, chance, retry_after)
    least = retry_after or 0.0
    assert least <= pause <= least + min(20.0, 0.5 * 2 ** min(attempt - 1, 32))


@pytest.mark.parametrize(
    "changed",
    [
        {"url": "ftp://vault.example"},
        {"url": "vault.example"},
        {"url": "https://user@vault.example"},
        {"url": "https://vault.example/?x=1"},
        {"url": "http://vault.example"},
        {"ledger": ""},
        {"ledger": ".."},
        {"key": ""},
        {"key": "rvk_a b"},
        {"key": "rvk_a\r\nX-Other: 1"},
        {"timeout": 0},
        {"deadline": -1.0},
        {"batch_records": 0},
    ],
)
def test_settings_that_cannot_work(changed: dict[str, Any]) -> None:
    with pytest.raises(Misconfigured):
        Settings(**{"url": "https://vault.example", "ledger": "payments", "key": "rvk_a", **changed})


def test_addresses() -> None:
    made = Settings(url="https://vault.example/base/", ledger="a/b", key="rvk_secret")
    assert made.records_url == "https://vault.example/base/v1/ledgers/a%2Fb/records"
    assert made.batch_url == f"{made.records_url}/batch"
    assert "rvk_secret" not in repr(made)
    for url in ("http://127.0.0.1:8420", "http://localhost", "http://[::1]:1"):
        Settings(url=url, ledger="payments", key="rvk_a")
    Settings(url="http://vault.example", ledger="payments", key="rvk_a", insecure=True)


EVERY = [
    errors.NotARecord("x"),
    errors.Refused("card_number", "$", "told", 422),
    errors.Conflict(),
    errors.Gone(),
    errors.Denied(401),
    errors.Unavailable("x", retry_after=3.0, unknown=True, status=503),
    errors.BadReceipt("x"),
    errors.VerifierChanged("x"),
    errors.SpoolFull("x"),
    errors.SpoolBroken("x"),
    errors.Misconfigured("x"),
]


@pytest.mark.parametrize("error", EVERY, ids=lambda error: type(error).__name__)
def test_errors_travel_between_processes(error: ClientError) -> None:
    for other in (pickle.loads(pickle.dumps(error)), copy.copy(error)):  # noqa: S301 - our own
        assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


UUID = "3f6c2b1a-94d7-4c0e-8b15-7ad2e9f0c634"


def verifier(seed: int, origin: str = f"vault.example/{UUID}") -> str:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from reasonvault_client.note import Verifier

    public = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
    return str(Verifier(origin, public))


def description(key: str, ledger: str = UUID, origin: str | None = None) -> bytes:
    import json

    made = {"ledger": ledger, "name": "payments", "origin": origin or parse_verifier(key).name, "verifier": key}
    return json.dumps(made).encode()


def test_first_use_is_remembered_and_a_change_is_told(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    first = Trust(None, None, pin, None)
    assert not first.known
    first.adopt(description(verifier(1)))
    first.adopt(description(verifier(2)))  # trusted already; the vault is not asked again
    second = Trust(None, None, pin, None)
    assert second.known
    second.compare(description(verifier(1)))
    with pytest.raises(VerifierChanged):
        second.compare(description(verifier(2)))


def test_a_second_key_in_the_pin_file_while_the_vault_changes_its_key(tmp_path: Path) -> None:
    pin = tmp_path / "pin"
    pin.write_text(f"{verifier(1)}\n{verifier(2)}\n")
    trust = Trust(None, None, pin, None)
    for shown in (1, 2):
        trust.compare(description(verifier(shown)))
    with pytest.raises(VerifierChanged):
        trust.compare(description(verifier(3)))


def test_two_processes_that_trust_different_keys_first(tmp_path: Path) -> None:
    one, two = (Trust(None, None, tmp_path / "pin", None) for _ in range(2))
    one.adopt(description(verifier(1)))
    with pytest.raises(VerifierChanged):
        two.adopt(description(verifier(2)))
    assert not two.known


def test_a_given_key_is_never_compared_with_what_the_vault_says() -> None:
    trust = Trust([verifier(1), verifier(2)], None, None, None)
    trust.compare(description(verifier(3)))
    assert trust.known


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        description("x+00000000+AAAA", origin="x"),
        description(verifier(1), ledger="00000000-0000-0000-0000-000000000000"),
        description(verifier(1), origin="other/" + UUID),
    ],
)
def test_descriptions_that_make_no_sense(said: bytes) -> None:
    with pytest.raises(Misconfigured):
        Trust(None, None, None, None).adopt(said)


def test_keys_must_belong_to_the_expected_origin(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured):
        Trust(verifier(1), "vault.example/other", None, None)
    with pytest.raises(Misconfigured):
        Trust([verifier(1), verifier(1, "other/" + UUID)], None, None, None)
    with pytest.raises(VerifierChanged):
        Trust(None, "vault.example/other", None, None).adopt(description(verifier(1)))
