"""``witness.toml``: what it may hold, and that what nothing knows is refused with its line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from service import witness_settings
from tests.support.tsa import Authority
from vault.core.cosignature import CosignerKey
from vault.core.errors import UsageError
from vault.core.note import VerifierKey
from vault.policy import NOBODY

PUBLIC = [Ed25519PrivateKey.from_private_bytes(bytes([at]) * 32).public_key().public_bytes_raw() for at in range(3)]
KEYS = [CosignerKey(f"witness.example/w{at}", public) for at, public in enumerate(PUBLIC)]


def witness(at: int, more: str = 'url = "https://w.example/x"\n') -> str:
    return f'[[witness]]\nkey = "{KEYS[at]}"\n{more}'


def read(home: Path, text: str) -> object:
    (home / "witness.toml").write_text(text)
    return witness_settings.read(home)


def test_no_file_asks_nobody(tmp_path: Path) -> None:
    assert witness_settings.read(tmp_path) is NOBODY
    assert not NOBODY.active


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    with Authority.opened(tmp_path_factory.mktemp("tsa")) as authority:
        return authority.root


def test_everything_at_once(tmp_path: Path, root: bytes) -> None:
    (tmp_path / "root.pem").write_bytes(root)
    (tmp_path / "witness.toml").write_text(
        'quorum = 1\nfail = "closed"\nalarm_after = 30\nstamp_every = 10\n'
        + witness(0)
        + witness(1, 'url = "http://10.0.0.7:8080"\nown = true\n')
        + witness(2, "")
        + '[[authority]]\nname = "tsa-1"\nurl = "http://tsa.example/tsr"\nroots = "root.pem"\n'
        + f'[[authority]]\nname = "old"\nroots = "{tmp_path}/root.pem"\nown = true\n'
    )
    found = witness_settings.read(tmp_path)
    assert [(one.key, one.url, one.own) for one in found.witnesses] == [
        (KEYS[0], "https://w.example/x", False),
        (KEYS[1], "http://10.0.0.7:8080", True),
        (KEYS[2], "", False),
    ]
    assert [one.name for one in found.asked] == [KEYS[0].name, KEYS[1].name]
    assert [(one.name, len(one.roots), one.own) for one in found.authorities] == [
        ("tsa-1", 1, False),
        ("old", 1, True),
    ]
    assert [one.name for one in found.stamping] == ["tsa-1"]
    assert (found.quorum, found.closed, found.active) == (1, True, True)
    assert (found.alarm_after, found.stamp_every) == (timedelta(minutes=30), timedelta(minutes=10))


def test_the_quorum_is_all_of_them_unless_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "witness.toml").write_text(witness(0) + witness(1) + witness(2, ""))
    found = witness_settings.read(tmp_path)
    assert (found.quorum, found.closed) == (2, False)


def test_a_witness_that_has_another_key_now_keeps_its_name(tmp_path: Path) -> None:
    new = CosignerKey(KEYS[0].name, PUBLIC[1])
    entry = f'[[witness]]\nkey = "{new}"\nurl = "https://w.example/x"\n'
    (tmp_path / "witness.toml").write_text(witness(0, "") + entry)
    found = witness_settings.read(tmp_path)
    assert [one.key for one in found.witnesses] == [KEYS[0], new]
    assert [one.key for one in found.asked] == [new]
    with pytest.raises(UsageError, match=r"twice: witness\.example/w0"):
        read(tmp_path, witness(0) + entry)


REFUSED = {
    "unknown word": ("quorom = 1\n" + witness(0), "line 1: .*quorom"),
    "unknown table": (witness(0) + "[[witnes]]\n", "line 4: .*witnes"),
    "unknown word of the second witness": (witness(0) + witness(1, 'urll = "x"\n'), "line 6: .*urll"),
    "a word of another table": (witness(0) + witness(1, 'name = "x"\n'), "line 6: .*name"),
    "wrong type": ("alarm_after = 60\nquorum = 'two'\n", "line 2: .*int"),
    "wrong type of a witness": (witness(0) + witness(1, "own = 1\n"), "line 6: .*bool"),
    "no key": ('[[witness]]\nurl = "https://x"\n', "line 1: .*key"),
    "another word for fail": ('fail = "shut"\n', "line 1: .*shut"),
    "no TOML": ("quorum = \n", "line 1"),
    "a log's key": (f'[[witness]]\nkey = "{VerifierKey("w.example", PUBLIC[0])}"\n', "a witness's is 4"),
    "the same witness twice": (witness(0) * 2, "twice"),
    "one key under two names": (
        witness(0) + f'[[witness]]\nkey = "{CosignerKey("other.example", PUBLIC[0])}"\n',
        "twice",
    ),
    "quorum without witnesses": ("quorum = 1\n", "0 witnesses are asked"),
    "quorum of none": ("quorum = 0\n" + witness(0), "quorum is 0"),
    "quorum of more than there are": ("quorum = 2\n" + witness(0), "quorum is 2, and 1"),
    "an alarm before anything can be had": ("alarm_after = 0.5\n" + witness(0), "alarm_after"),
    "stamps too rare for the alarm": ("alarm_after = 20\nstamp_every = 15\n", "stamp_every"),
    "no such scheme": (witness(0, 'url = "ftp://w.example"\n'), "https://HOST"),
    "a user in the address": (witness(0, 'url = "https://me:secret@w.example"\n'), "without a user"),
    "no roots": ('[[authority]]\nname = "a"\nroots = "none.pem"\n', "cannot read the roots of a"),
    "roots that are none": ('[[authority]]\nname = "a"\nroots = "witness.toml"\n', "no PEM"),
    "a name of two words": ('[[authority]]\nname = "a b"\nroots = "x"\n', "is a word"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    text, words = REFUSED[case]
    with pytest.raises(UsageError, match=f"(?s)witness.toml.*{words}") as raised:
        read(tmp_path, text)
    assert "secret" not in str(raised.value)
    assert len(str(raised.value).splitlines()) == 1
