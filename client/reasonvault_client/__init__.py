"""Hands reasoning logs of AI-assisted payments to a Reasonvault, and loses none on the way.

from reasonvault_client import Client

with Client("https://vault.example", "payments", key, spool="/var/lib/shop/reasoning") as client:
    client.log(record, mode="spool")
"""

from reasonvault_client.aio import AsyncClient
from reasonvault_client.backoff import Backoff
from reasonvault_client.client import Client
from reasonvault_client.counters import Counters
from reasonvault_client.errors import (
    BadReceipt,
    ClientError,
    Conflict,
    Denied,
    Gone,
    Misconfigured,
    NotARecord,
    Refused,
    SpoolBroken,
    SpoolFull,
    Unavailable,
    VerifierChanged,
)
from reasonvault_client.receipts import Receipt
from reasonvault_client.spool import Limits

__all__ = [
    "AsyncClient",
    "Backoff",
    "BadReceipt",
    "Client",
    "ClientError",
    "Conflict",
    "Counters",
    "Denied",
    "Gone",
    "Limits",
    "Misconfigured",
    "NotARecord",
    "Receipt",
    "Refused",
    "SpoolBroken",
    "SpoolFull",
    "Unavailable",
    "VerifierChanged",
]
