"""Time-stamps: an authority's signed word that some bytes existed at a time (RFC 3161).

    asked = ask(data)                                     # DER, to be sent as application/timestamp-query
    stamp = verify(answer, data, roots, asked.nonce)      # when it comes
    stamp = verify(kept, data, roots)                     # years later

Verified are, in this order: that the authority granted it; its CMS signature, made by a certificate that leads to one
of the given roots and was valid at the time that the stamp names, so that one that expired since does no harm; the
nonce; that the certificate is for time-stamping and nothing else (critical); SHA-256 of the data.

NOT checked: whether a certificate was revoked. Whoever must know asks the authority.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final, NamedTuple

from asn1crypto import cms, tsp
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import Certificate, ObjectIdentifier, load_der_x509_certificate
from rfc3161_client import (
    TimestampRequestBuilder,
    TimeStampResponse,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)
from rfc3161_client.base import HashAlgorithm

from vault.core.errors import Modified

MAX_RESPONSE_BYTES: Final = 256 * 1024
_SHA256: Final = ObjectIdentifier("2.16.840.1.101.3.4.2.1")
_GRANTED: Final = 0
_CODES: Final = {"Nonce mismatch": "nonce", "Mismatch between messages": "digest"}


class BadStamp(Modified):
    """A response that proves nothing. ``code``: unreadable, refused, nonce, digest or certificate."""

    def __init__(self, code: str, what: str) -> None:
        super().__init__(what)
        self.code = code

    def __reduce__(self) -> tuple[type[BadStamp], tuple[str, str]]:
        return type(self), (self.code, str(self))


class Asked(NamedTuple):
    """A request: DER, and the nonce that its answer must repeat."""

    der: bytes
    nonce: int


class Stamp(NamedTuple):
    """What a response proves.

    Attributes:
        at: the time that the authority vouches for.
        authority: the subject of its certificate (RFC 4514).
        certificate: SHA-256 of that certificate.
    """

    at: datetime
    authority: str
    certificate: bytes


def ask(data: bytes) -> Asked:
    """Return a request for a time-stamp over SHA-256 of some bytes, with a random nonce; certificates are asked for."""
    made = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
    assert made.nonce is not None
    return Asked(made.as_bytes(), made.nonce)


def verify(response: bytes, data: bytes, roots: Sequence[Certificate], nonce: int | None = None) -> Stamp:
    """Return what a response (DER) proves about some bytes.

    Args:
        roots: certificates to trust.
        nonce: of the request; None where that is long over.

    Raises:
        BadStamp: nothing.
    """
    read = _read(response)
    if read.status != _GRANTED:
        said = _plain("; ".join(read.status_string)[:200])
        raise BadStamp("refused", f"the authority refused (status {read.status}){': ' + said if said else ''}")
    try:
        if read.tst_info.message_imprint.hash_algorithm != _SHA256:
            raise BadStamp("digest", "the time-stamp is over another kind of digest")
        VerifierBuilder(roots=list(roots), nonce=nonce).build().verify(read, sha256(data).digest())
        certificate = _signer(read)
        return Stamp(
            read.tst_info.gen_time,
            _plain(certificate.subject.rfc4514_string()),
            sha256(certificate.public_bytes(Encoding.DER)).digest(),
        )
    except VerificationError as error:
        code = _CODES.get(str(error), "certificate")
        raise BadStamp(code, _WORDS[code] + (f": {_reason(error)}" if code == "certificate" else "")) from None
    except BadStamp:
        raise
    except Exception as error:  # the libraries' parsers are lazy, and each has errors of its own
        raise BadStamp("unreadable", f"the time-stamp cannot be read: {str(error)[:120]}") from None


_WORDS: Final = {
    "nonce": "the time-stamp answers another request: its nonce is not ours",
    "digest": "the time-stamp is over other bytes",
    "certificate": "the time-stamp's certificate or signature does not hold",
}


def _plain(text: str) -> str:
    """Return a stranger's text as terminals and reports may show it, in one line."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _reason(error: VerificationError) -> str:
    """OpenSSL's own words where there are some: the rest of what the library says is for programmers."""
    said = str(error)
    _, found, rest = said.partition('data: "Verify error: ')
    return (rest.partition('"')[0] if found else said)[:120]


def _read(response: bytes) -> TimeStampResponse:
    if len(response) > MAX_RESPONSE_BYTES:
        raise BadStamp("unreadable", f"the answer is longer than {MAX_RESPONSE_BYTES} bytes")
    try:
        return decode_timestamp_response(response)
    except ValueError:
        pass
    try:
        return decode_timestamp_response(_in_order(response))
    except Exception as error:  # of whatever kind: a stranger wrote these bytes
        raise BadStamp("unreadable", f"the answer is no time-stamp response: {str(error)[:120]}") from None


def _in_order(response: bytes) -> bytes:
    """Return a response with its certificates in DER's order.

    OpenSSL's authority leaves them in its own, which strict readers refuse. No signature covers the order.
    """
    found = tsp.TimeStampResp.load(response)
    signed = found["time_stamp_token"]["content"]
    signed["certificates"] = cms.CertificateSet(sorted(signed["certificates"], key=lambda one: bytes(one.dump())))
    return bytes(found.dump())


def _signer(read: TimeStampResponse) -> Certificate:
    """Return the certificate that signed; the verifier has found it already."""
    (signer,) = read.signed_data.signer_infos
    for der in read.signed_data.certificates:
        found = load_der_x509_certificate(der)
        if (found.issuer, found.serial_number) == (signer.issuer, signer.serial_number):
            return found
    raise BadStamp("certificate", "the time-stamp does not carry its certificate")
