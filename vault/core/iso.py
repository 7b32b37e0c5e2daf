"""The ISO codes a record may name: countries (ISO 3166-1 alpha-2) and currencies (ISO 4217 alphabetic).

Plain sets, because a record is checked against them in the hot path and because what was refused in one year
must be explainable in another: a code list that changes under a running vault would change which records are
kept.

Countries: the 249 officially assigned codes, as in ``iso3166.tab`` of the IANA time zone database 2026
(public domain); a test compares the two. Reserved and user-assigned codes (EU, UK, XK) are no ISO 3166-1
codes and are not listed.

Currencies: ISO 4217 list one (maintained by SIX) of January 2026, checked against pycountry 26.2.16, without
XTS (for tests) and XXX (no currency), since an amount in those is no amount. Added are the codes that list
one dropped from 2020 on: an import may bring decisions from the years in which they were money.
"""

from __future__ import annotations

from typing import Final

_ISO_3166_1 = """
AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW
BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI
FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN
IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME
MF MG MH MK ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF
PG PH PK PL PM PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV
SX SY SZ TC TD TF TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE
YT ZA ZM ZW
"""

_ISO_4217 = """
AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF
CHE CHF CHW CLF CLP CNY COP COU CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP
GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT
LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR
NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN
SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD USN UYI UYU UYW UZS VED VES VND VUV WST XAD
XAF XAG XAU XBA XBB XBC XBD XCD XCG XDR XOF XPD XPF XPT XSU XUA YER ZAR ZMW ZWG
"""

COUNTRIES: Final = frozenset(_ISO_3166_1.split())

CURRENCIES_WITHDRAWN: Final = frozenset(
    {
        "ANG",  # 2025, XCG follows
        "BGN",  # 2026, EUR follows
        "CUC",  # 2021, CUP remains
        "HRK",  # 2023, EUR follows
        "SLL",  # 2023, SLE follows
        "ZWL",  # 2024, ZWG follows
    }
)

CURRENCIES: Final = CURRENCIES_WITHDRAWN | frozenset(_ISO_4217.split())
