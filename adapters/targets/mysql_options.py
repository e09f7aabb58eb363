"""What services of the types `mariadb` and `mysql` are told in the configuration; the two types add a little each.

Rule: no driver is imported here, nor anything of what is done with the options.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import msgspec

from engine.adapter import Duration, Reference
from engine.values import SECOND


class Tls(StrEnum):
    """How the connection is protected."""

    VERIFY_FULL = "verify-full"
    """TLS, and the certificate must be trusted and name the host."""
    REQUIRE = "require"
    """TLS with whoever answers: no eavesdropper, but an impostor is possible."""
    DISABLE = "disable"
    """No TLS."""


class AdminCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keyturn's own login."""

    username: str
    password: Reference


class LoginBudgetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wrong logins in a row that the server tolerates (`max_password_errors`, `FAILED_LOGIN_ATTEMPTS`)."""

    tries: Annotated[int, msgspec.Meta(ge=1)]
    window: Duration


class MysqlFamilyOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options that both types of service have."""

    host: str
    admin_credentials: AdminCredentials
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = 3306
    database: str = ""
    """What a login opens; without it, none."""
    account_host: str = "%"
    """The part of the account's name behind the @: accounts of one name on several hosts are separate ones."""
    tls: Tls = Tls.VERIFY_FULL
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else those of the system."""
    verification_query: str = "SELECT 1"
    """Runs as the new login before it counts as verified."""
    statement_timeout: Duration = Duration(3 * SECOND)
    """How long the server may take for a change, 500 ms to 4 s: an attempt may have 5 s."""
    connect_timeout: Duration = Duration(5 * SECOND)
    login_budget: LoginBudgetOptions | None = None

    def __post_init__(self) -> None:
        """Refuse times that leave nothing for sending; raises ValueError, reported with the key path."""
        if not SECOND // 2 <= self.statement_timeout.microseconds <= 4 * SECOND:
            raise ValueError("statement_timeout is 500ms to 4s, because an attempt may have no more than 5s")
        if not self.account_host:
            raise ValueError("account_host is a host as the server knows it, or % for every host")
