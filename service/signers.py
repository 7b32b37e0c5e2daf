"""Who signs reports, from the settings: the vault's own certificate, a file's, or a token's.

    with report_signer(home, vault) as signer: ...

Loading this takes half a second, for pyHanko: only commands that sign or verify reports import it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from asn1crypto import keys as asn1_keys
from asn1crypto import x509 as asn1_x509
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from pyhanko.sign import signers
from pyhanko_certvalidator.registry import SimpleCertificateStore

from reports.signing import LEVELS, PdfSigner, PyHankoSigner, SignerFacts, Wishes, described
from reports.stamping import HttpStamper
from reports.trust import Trust, read_certificates, read_revocations
from service import local_signer
from service.signing_settings import Pem, Pkcs11, Pkcs12, SigningSettings, read_signing, secret
from vault import events
from vault.context import Vault
from vault.core.canonical import b64
from vault.core.errors import KeyUnavailable, UsageError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@contextmanager
def report_signer(home: Path, vault: Vault) -> Iterator[PdfSigner]:
    """Yield the signer of the settings; a token's session ends with it. A vault from before makes its certificate now.

    Raises:
        UsageError: a file or a setting cannot be used: a wrong password, a key that is not the certificate's.
        Unavailable: the token or the key provider is out of reach.
    """
    settings = read_signing(home)
    wishes = _wishes(home, settings)

    def now() -> datetime:
        return moment(vault)

    if settings.pkcs11 is not None:
        with _from_token(home, settings.pkcs11) as token:
            yield PyHankoSigner(token, wishes, now)
    elif settings.pkcs12 is not None:
        yield PyHankoSigner(_from_pkcs12(home, settings.pkcs12), wishes, now)
    elif settings.pem is not None:
        yield PyHankoSigner(_from_pem(home, settings.pem), wishes, now)
    else:
        yield PyHankoSigner(_local(home, vault), wishes, now)


def facts(home: Path) -> SignerFacts | None:
    """Say who signs, without key or passphrase; None where the vault's own certificate was not made yet.

    Raises like ``report_signer``: of a token, the certificate is read with its PIN.
    """
    settings = read_signing(home)
    level = LEVELS[2 if settings.long_term else 1 if settings.time_stamp is not None else 0]
    if settings.pkcs11 is not None:
        with _from_token(home, settings.pkcs11) as token:
            return described(token.signing_cert, level)
    if settings.pkcs12 is not None:
        return described(_from_pkcs12(home, settings.pkcs12).signing_cert, level)
    if settings.pem is not None:
        return described(read_certificates(home / settings.pem.certificate)[0], level)
    local = local_signer.current(home)
    return None if local is None else described(_asn1(local.certificate), level)


def trusted(home: Path) -> Trust:
    """Return what this vault's reports are verified against: its own certificates, and the roots in the settings.

    Without revocation lists: those of today say nothing about the day of a report.
    """
    settings = read_signing(home)
    own = tuple(_asn1(one.certificate) for one in local_signer.all_of(home))
    configured = _trust(home, settings)
    return Trust((*own, *configured.roots), configured.stamp_roots)


def renew(home: Path, vault: Vault) -> local_signer.LocalSigner:
    """Make a new certificate of the vault's own and forget the key before; the event is committed first.

    Raises:
        UsageError: the settings name another signer, so that it would sign nothing.
    """
    kind = read_signing(home).kind
    if kind != "local":
        raise UsageError(f"reports are signed by the [{kind}] of signing.toml: renew that certificate where it is made")
    key = local_signer.new_key()
    certificate = local_signer.certify(key, vault.tenant, moment(vault))
    until = certificate.not_valid_after_utc.isoformat()
    print_of_it = b64(certificate.fingerprint(hashes.SHA256()))
    events.record(vault, "signer.made", {"certificate": print_of_it, "not_after": until})
    return local_signer.keep(home, vault.provider, vault.tenant_key, key, certificate)


def moment(vault: Vault) -> datetime:
    """Return the vault's clock as an aware time."""
    return _EPOCH + timedelta(microseconds=vault.clock())


def _local(home: Path, vault: Vault) -> signers.Signer:
    known = local_signer.current(home) or renew(home, vault)
    key = local_signer.private_key(home, vault.provider, vault.tenant_key, known)
    return _in_memory(key, known.certificate, ())


def _from_pkcs12(home: Path, settings: Pkcs12) -> signers.Signer:
    path = home / settings.file
    password = secret(home / settings.password_file).rstrip(b"\r\n") if settings.password_file else None
    try:
        found = pkcs12.load_pkcs12(secret(path), password)
    except ValueError:
        raise UsageError(f"cannot open {path}: the password is wrong, or it is no PKCS#12 file") from None
    if found.key is None or found.cert is None:
        raise UsageError(f"{path} holds no key with its certificate")
    chain = tuple(one.certificate for one in found.additional_certs)
    return _checked(path, found.key, found.cert.certificate, tuple(map(_asn1, chain)))


def _from_pem(home: Path, settings: Pem) -> signers.Signer:
    path = home / settings.key
    password = secret(home / settings.password_file).rstrip(b"\r\n") if settings.password_file else None
    try:
        key = serialization.load_pem_private_key(secret(path), password)
    except (ValueError, TypeError):
        raise UsageError(f"cannot open {path}: the password is wrong or missing, or it is no PEM key") from None
    certificate, *rest = read_certificates(home / settings.certificate)
    chain = [one for name in settings.chain for one in read_certificates(home / name)]
    return _checked(path, key, x509.load_der_x509_certificate(certificate.dump()), (*rest, *chain))


def _checked(path: Path, key: Any, certificate: x509.Certificate, chain: tuple[Any, ...]) -> signers.Signer:
    if not isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
        raise UsageError(f"{path}: reports are signed with RSA or ECDSA, which every reader verifies")
    if key.public_key() != certificate.public_key():
        raise UsageError(f"{path} is not the key of the certificate")
    return _in_memory(key, certificate, chain)


def _in_memory(
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, certificate: x509.Certificate, chain: tuple[Any, ...]
) -> signers.Signer:
    clear = key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return signers.SimpleSigner(
        signing_cert=_asn1(certificate),
        signing_key=asn1_keys.PrivateKeyInfo.load(clear),
        cert_registry=_store(chain),
    )


@contextmanager
def _from_token(home: Path, settings: Pkcs11) -> Iterator[signers.Signer]:
    try:
        import pkcs11  # here: an optional extra
        from pyhanko.config.pkcs11 import TokenCriteria
        from pyhanko.sign.pkcs11 import PKCS11Signer, open_pkcs11_session
    except ImportError:
        raise UsageError("signing with a token needs the extra: pip install 'reasonvault[pkcs11]'") from None
    pin = secret(home / settings.pin_file).decode("utf-8", "replace").strip()
    certificate = read_certificates(home / settings.certificate_file)[0] if settings.certificate_file else None
    chain = [one for name in settings.chain for one in read_certificates(home / name)]
    try:
        with open_pkcs11_session(
            str(home / settings.module), token_criteria=TokenCriteria(label=settings.token), user_pin=pin
        ) as session:
            signer = PKCS11Signer(
                session,
                key_label=settings.key,
                cert_label=settings.certificate or None,
                signing_cert=certificate,
                ca_chain=chain,
                # Tokens that hash themselves would be sent the whole of what is signed, and many cannot for ECDSA.
                use_raw_mechanism=True,
            )
            if signer.signing_cert is None:
                raise UsageError(f"the token {settings.token} has no certificate {settings.certificate}")
            yield signer
    except pkcs11.PKCS11Error as error:
        why = " ".join(str(error).split()) or type(error).__name__
        raise KeyUnavailable(f"the token {settings.token} cannot be used: {why}") from None


def _wishes(home: Path, settings: SigningSettings) -> Wishes:
    stamp = settings.time_stamp
    stamper = None if stamp is None else HttpStamper(stamp.url, timeout=stamp.timeout_seconds)
    return Wishes(stamper, _trust(home, settings), settings.long_term)


def _trust(home: Path, settings: SigningSettings) -> Trust:
    stamp_roots = settings.time_stamp.roots if settings.time_stamp is not None else []
    return Trust(
        roots=tuple(one for name in settings.trust.roots for one in read_certificates(home / name)),
        stamp_roots=tuple(one for name in stamp_roots for one in read_certificates(home / name)),
        crls=tuple(one for name in settings.trust.revocation for one in read_revocations(home / name)),
        fetch=settings.trust.fetch,
    )


def _store(chain: tuple[Any, ...]) -> SimpleCertificateStore:
    store = SimpleCertificateStore()  # type: ignore[no-untyped-call]
    store.register_multiple(chain)
    return store


def _asn1(certificate: x509.Certificate) -> asn1_x509.Certificate:
    return asn1_x509.Certificate.load(certificate.public_bytes(serialization.Encoding.DER))
