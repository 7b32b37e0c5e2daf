"""The code lists are the standards'."""

from __future__ import annotations

from importlib import resources

from vault.core.iso import COUNTRIES, CURRENCIES, CURRENCIES_WITHDRAWN


def test_countries_are_those_of_the_time_zone_database() -> None:
    table = resources.files("tzdata").joinpath("zoneinfo", "iso3166.tab").read_text(encoding="utf-8")
    assert {line[:2] for line in table.splitlines() if not line.startswith("#")} == COUNTRIES


def test_currencies() -> None:
    assert len(CURRENCIES - CURRENCIES_WITHDRAWN) == 176
    assert all(len(code) == 3 and code.isascii() and code.isupper() for code in CURRENCIES)
    assert {"CNY", "SGD", "HKD", "USD", "EUR", "GBP", "JPY", "XCG", "ZWG", "HRK"} <= CURRENCIES
    assert not {"XXX", "XTS", "CNH", "RMB", "DEM"} & CURRENCIES
