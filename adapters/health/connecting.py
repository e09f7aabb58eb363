"""What is looked at below HTTP: whether a port takes connections, and how long its certificate is valid.

Rule: nothing is said over the connection but what TLS says.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Final

import msgspec

from adapters.health.http_session import why
from adapters.health.looking import FAIL, PASS, WARN, Found, OutOfReach, See, declared, in_milliseconds, seconds
from engine.adapter import CheckContext
from engine.health import Subject

_DAY: Final = 86_400

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
"""A port of TCP."""


class TcpOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Opening a connection."""

    host: str
    port: Port


class TlsExpiryOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The days until the certificate of a server ends; one that is not trusted, or not the host's, fails."""

    host: str
    port: Port = 443
    warn_days: Annotated[float, msgspec.Meta(ge=0)] = 14.0
    """It warns with fewer days."""
    fail_days: Annotated[float, msgspec.Meta(ge=0)] = 3.0
    """It fails with fewer days."""
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else those of the system."""


@contextmanager
def _connected(options: TcpOptions | TlsExpiryOptions, limit: float) -> Iterator[socket.socket]:
    where = f"{options.host}:{options.port}"
    try:
        with socket.create_connection((options.host, options.port), timeout=limit) as line:
            yield line
    except (OSError, UnicodeError) as error:
        raise OutOfReach(f"{where}: {why(error)}") from None


def _tcp(options: TcpOptions, context: CheckContext) -> See:
    def see(_: Subject) -> Found:
        began = time.monotonic()
        with _connected(options, seconds(context.timeout)):
            took = time.monotonic() - began
        return Found(PASS, f"{options.host}:{options.port}: connected in {in_milliseconds(took)}", took)

    return see


def _tls_expiry(options: TlsExpiryOptions, context: CheckContext) -> See:
    root = context.base / options.tls_root if options.tls_root else None

    def see(_: Subject) -> Found:
        try:
            trusted = ssl.create_default_context(cafile=root)
        except OSError:
            raise OutOfReach(f"the certificates of {root} cannot be read") from None
        with (
            _connected(options, seconds(context.timeout)) as line,
            trusted.wrap_socket(line, server_hostname=options.host) as protected,
        ):
            shown = protected.getpeercert()
        assert shown, "a certificate that was verified is shown"
        left = ssl.cert_time_to_seconds(str(shown["notAfter"])) - time.time()
        days = left / _DAY
        result = FAIL if days < options.fail_days else WARN if days < options.warn_days else PASS
        return Found(result, f"{options.host}:{options.port}: the certificate ends in {days:.1f} days", left)

    return see


TCP: Final = declared("tcp", "opens a connection to a port", TcpOptions, _tcp, unit="s")
TLS_EXPIRY: Final = declared(
    "tls_expiry",
    "looks how long the certificate of a server is valid",
    TlsExpiryOptions,
    _tls_expiry,
    unit="s",
)
