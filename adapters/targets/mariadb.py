"""MariaDB as a target: a password of an account (`single`), two at once (`dual`), accounts in turn (`alternating`).

Only the options and the declaration stand here, so that the command line reads them without the driver; what is
done is in `mysql_target`, which MySQL shares.
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
    """How MariaDB keeps a password."""

    NATIVE = "mysql_native_password"
    ED25519 = "ed25519"


class MariadbOptions(MysqlFamilyOptions, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a service of type `mariadb`."""

    authentication: Authentication | None = None
    """How new passwords are kept; without it as the account keeps the one that it has."""
    clients_switch_twice: bool = False
    """All clients of the account can be asked twice to log in another way, so that it may have two `ed25519`."""


def _build(options: MariadbOptions, context: TargetContext) -> MysqlTarget:
    """Build the target; raises ModuleNotFoundError where the driver is not installed."""
    from adapters.targets.mysql_dialects import Mariadb
    from adapters.targets.mysql_target import MysqlTarget, Ways

    for module in ("pymysql", "nacl"):
        import_module(module)
    wanted = options.authentication.value if options.authentication else None
    return MysqlTarget(options, context, Mariadb(), Ways(wanted, may_switch_twice=options.clients_switch_twice))


ADAPTER: Final = TargetAdapter(
    name="mariadb",
    summary="The password of a MariaDB account, or of two accounts that take turns.",
    options=MariadbOptions,
    strategies=frozenset({Strategy.SINGLE, Strategy.DUAL, Strategy.ALTERNATING}),
    build=_build,
    extra="mysql",
    attempt_window_min=Microseconds(5 * SECOND),
)
