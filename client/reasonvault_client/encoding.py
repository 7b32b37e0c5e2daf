"""What is sent: the bytes of a record, made once.

Bytes are sent exactly as they are given. A dict or a msgspec Struct is encoded once, and those bytes are what is kept,
encrypted, numbered, sent, and proved by the receipt.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from reasonvault_client.errors import NotARecord

_encoder = msgspec.json.Encoder()


class Body(NamedTuple):
    """A record's bytes. ``wants_number``: a producer_seq may be spliced in at its end; ``record_id`` is then known."""

    data: bytes
    wants_number: bool = False
    record_id: str | None = None

    def numbered(self, producer_seq: int) -> bytes:
        """Return the bytes with this number as last member. The rest is not encoded again."""
        comma = b"," if len(self.data) > 2 else b""
        return b'%b%b"producer_seq":%d}' % (self.data[:-1], comma, producer_seq)

    def __repr__(self) -> str:
        return f"Body({len(self.data)} bytes)"


def encode(record: object, *, number: bool) -> Body:
    """Return a record's bytes.

    Args:
        record: bytes, a dict or a msgspec Struct. Floats that are no number become null, as JSON has no word for them.
        number: whether to leave room for a producer_seq where an object has none. Bytes are never touched.

    Raises:
        NotARecord: neither bytes nor an object that JSON can write.
    """
    if isinstance(record, (bytes, bytearray, memoryview)):
        return Body(bytes(record))
    members = _members(record)
    wanted = number and members.get("producer_seq") is None
    if wanted and "producer_seq" in members:
        members = {name: value for name, value in members.items() if name != "producer_seq"}
    try:
        data = _encoder.encode(members)
    except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
        # The library's own message may quote a value.
        raise NotARecord("the record holds something that JSON cannot write") from None
    record_id = members.get("id")
    return Body(data, wanted, record_id if isinstance(record_id, str) else None)


def _members(record: object) -> dict[str, Any]:
    if isinstance(record, msgspec.Struct):
        try:
            record = msgspec.to_builtins(record)
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError):
            raise NotARecord("the record holds something that JSON cannot write") from None
    if not isinstance(record, dict):
        raise NotARecord(f"a record is a dict, a msgspec Struct or bytes, not {type(record).__name__}")
    return record
