"""MySQL 8 as a target: a password of an account (`single`), two at once (`dual`), accounts in turn (`alternating`).

Only the options and the declaration stand here, so that the command line reads them without the driver; what is
done is in `mysql_target`, which MariaDB shares.
"""

from __future__ import annotations

from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Final

from adapters.targets.mysql_options import MysqlFamilyOptions
from engine.adapter import TargetAdapter, TargetContext
from engine.plan import Strategy
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    from adapters.targets.mysql_target import MysqlTarget


class Authentication(StrEnum):
    """How MySQL keeps a password."""

    CACHING_SHA2 = "caching_sha2_password"
    NATIVE = "mysql_native_password"


class MysqlOptions(MysqlFamilyOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a service of type `mysql`."""

    authentication: Authentication | None = None
    """How new passwords are kept; without it as the account keeps the one that it has."""


def _build(options: MysqlOptions, context: TargetContext) -> MysqlTarget:
    """Build the target; raises ModuleNotFoundError where the driver is not installed."""
    from adapters.targets.mysql_dialects import Mysql
    from adapters.targets.mysql_target import MysqlTarget, Ways

    import_module("pymysql")
    wanted = options.authentication.value if options.authentication else None
    return MysqlTarget(options, context, Mysql(), Ways(wanted))


ADAPTER: Final = TargetAdapter(
    name="mysql",
    summary="The password of a MySQL account, or of two accounts that take turns.",
    options=MysqlOptions,
    strategies=frozenset({Strategy.SINGLE, Strategy.DUAL, Strategy.ALTERNATING}),
    build=_build,
    extra="mysql",
    attempt_window_min=Microseconds(5 * SECOND),
)
