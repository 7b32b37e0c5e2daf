"""How long disposals cool off, as a home says."""

from __future__ import annotations

from pathlib import Path

import pytest

from retention.disposal import CoolingOff
from service.retention_settings import read_disposal
from vault.core.errors import UsageError


def test_without_a_file_it_is_three_days(tmp_path: Path) -> None:
    assert read_disposal(tmp_path) == CoolingOff() == CoolingOff(72 * 3600, 72 * 3600)
    assert (CoolingOff(1, 2).of("expiry"), CoolingOff(1, 2).of("early")) == (1, 2)


def test_hours_are_read(tmp_path: Path) -> None:
    (tmp_path / "retention.toml").write_text("[disposal]\ncooling_off_hours = 96\nearly_cooling_off_hours = 0.5\n")
    assert read_disposal(tmp_path) == CoolingOff(96 * 3600, 1800)


@pytest.mark.parametrize(
    "text",
    [
        "[disposals]",
        "[disposal]\nhours = 2",
        "[disposal]\ncooling_off_hours = -1",
        "[disposal]\ncooling_off_hours = 'x'",
        "[disposal]\ncooling_off_hours = 99999",
        "nonsense",
        "[disposal]\ncooling_off_hours = nan",
    ],
    ids=["section", "setting", "negative", "word", "for ever", "no toml", "no number"],
)
def test_a_mistake_never_means_the_default(tmp_path: Path, text: str) -> None:
    (tmp_path / "retention.toml").write_text(text)
    with pytest.raises(UsageError, match=r"retention\.toml"):
        read_disposal(tmp_path)
