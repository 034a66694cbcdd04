"""TLS and logins towards upstream, and what to tell a technician when they are not right."""

from __future__ import annotations

import ssl
from pathlib import Path

from gateway.upstream.sinks import SinkUnavailable

SECRET_BYTES_MAX = 16 << 10
_OTHERS = 0o077

_EXPIRED, _NOT_YET, _OWN, _UNKNOWN = 10, 9, 18, frozenset({2, 19, 20, 21})
_WRONG_HOST = frozenset({62, 64})
"""Numbers of X509_V_ERR_… in openssl/x509_vfy.h."""


def explain_certificate(error: Exception, host: str) -> str:
    """Return what is wrong with the certificate of `host`, and what to do about it."""
    code = error.verify_code if isinstance(error, ssl.SSLCertVerificationError) else 0
    whose = f"the certificate of {host}"
    if code == _EXPIRED:
        return f"{whose} has expired; have it renewed there, and look whether the clock is right here"
    if code == _NOT_YET:
        return f"{whose} does not count yet; look whether the clock is right here"
    if code == _OWN:
        return f"{whose} is signed by itself; if it is the right one, name its authority's file in `ca_file`"
    if code in _UNKNOWN:
        return f"nobody here knows who signed {whose}; name that authority's file in `ca_file`"
    if code in _WRONG_HOST:
        return f"{whose} is for another host; write the name that stands in it into `url`, or have it made anew"
    return f"{whose} cannot be trusted ({error})"


def explain_connecting(error: Exception, host: str) -> str:
    """Return why no connection to `host` came about, and what to do about it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return explain_certificate(error, host)
    if isinstance(error, ssl.SSLError):
        return f"TLS with {host} failed ({error.reason or error}); is this the TLS port, and is our certificate wanted?"
    if isinstance(error, TimeoutError):
        return f"{host} does not answer in time"
    if isinstance(error, OSError):
        return f"{host} cannot be reached ({error.strerror or error}); check the network"
    return f"{host}: {error}"


def tls_context(
    ca_file: str | None, certificate_file: str | None = None, key_file: str | None = None
) -> ssl.SSLContext:
    """Return what checks the other side, and shows our own certificate where there is one. Raises SinkUnavailable."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as error:
        raise SinkUnavailable(f"{ca_file} cannot be used as `ca_file` ({error})") from error
    if certificate_file is not None:
        if key_file is not None:
            check_private(key_file)
        try:
            # A key with a passphrase would ask for it at a terminal.
            context.load_cert_chain(certificate_file, key_file, password=b"")
        except (OSError, ssl.SSLError) as error:
            files = f"{certificate_file} and {key_file or 'the key in it'}"
            raise SinkUnavailable(f"{files} cannot be used as `certificate_file` and `key_file` ({error})") from error
    return context


def check_private(file: str) -> None:
    """Raise SinkUnavailable when others can read a file, or nobody can."""
    try:
        if Path(file).stat().st_mode & _OTHERS:
            raise SinkUnavailable(f"{file} can be read by others; run: chmod 600 {file}")
    except OSError as error:
        raise SinkUnavailable(f"{file} cannot be read ({error.strerror}); put upstream's login there") from error


def read_secret(file: str | None, what: str) -> str:
    """Read a token or a password; nothing of it is ever shown (I12). Raises SinkUnavailable."""
    if file is None:
        return ""
    check_private(file)
    try:
        with Path(file).open("rb") as lines:
            secret = lines.read(SECRET_BYTES_MAX).decode("utf-8").strip()
    except OSError as error:
        raise SinkUnavailable(f"{file} cannot be read ({error.strerror}); write upstream's {what} into it") from error
    except UnicodeDecodeError:
        raise SinkUnavailable(f"{file} holds no {what}; write upstream's {what} into it") from None
    if not secret or not secret.isprintable() or (what == "token" and (" " in secret or not secret.isascii())):
        raise SinkUnavailable(f"{file} holds no {what}; write upstream's {what} into it, and nothing else")
    return secret
