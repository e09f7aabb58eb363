"""Redis and Valkey as a target: passwords of an ACL user, two at once (`dual`).

Only the options and the declaration stand here, so that the command line reads them without the driver; what is
done is in `redis_target`, how a node is spoken to in `redis_node`, what `keyturn doctor` says in `redis_checks`.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

import msgspec

from engine.adapter import Duration, Reference, TargetAdapter, TargetContext
from engine.plan import Strategy
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    from adapters.targets.redis_target import RedisTarget

PORT: Final = 6379
_PASSWORD_WORDS: Final = frozenset({"nopass", "resetpass", "reset", "off"})
"""Rules of ACL SETUSER that touch passwords, or would leave a new user that cannot log in."""


class Persist(StrEnum):
    """How a node keeps its users over a restart."""

    ACL_SAVE = "acl-save"
    """In the file of the setting `aclfile`."""
    CONFIG_REWRITE = "config-rewrite"
    """In the configuration file itself."""
    NONE = "none"
    """Not at all: after a restart it has the users that its files name."""


class Tls(StrEnum):
    """How connections are protected."""

    VERIFY_FULL = "verify-full"
    """TLS, and the certificate must be trusted and name the host."""
    DISABLE = "disable"


class AdminCredentials(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Keyturn's own login; it needs `+acl|getuser +acl|setuser` and what saves, `+config|get +info` for the check."""

    password: Reference
    username: str = "default"


class LoginBudgetOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Wrong logins that something in front of the server tolerates; Redis itself counts none."""

    tries: Annotated[int, msgspec.Meta(ge=1)]
    window: Duration


class Node(msgspec.Struct, frozen=True):
    """One server of the deployment."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class RedisOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The options of a service of type `redis`."""

    admin_credentials: AdminCredentials
    nodes: tuple[str, ...] = ()
    """Every server, `host:port` each: ACL users are not replicated, nor shared within a cluster."""
    host: str = ""
    port: Annotated[int, msgspec.Meta(ge=1, le=65535)] = PORT
    """The one server, where `nodes` is not given."""
    persist: Persist = Persist.ACL_SAVE
    tls: Tls = Tls.VERIFY_FULL
    tls_root: str = ""
    """A file with the certificates to trust, relative to the configuration file; else those of the system."""
    acl: tuple[str, ...] = ()
    """Rules of ACL SETUSER for a user that does not exist yet; without them it must exist."""
    verification_command: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)] = ("PING",)
    """Runs as the new login before it counts as verified."""
    connect_timeout: Duration = Duration(3 * SECOND)
    command_timeout: Duration = Duration(3 * SECOND)
    """How long a node may take for one command, 100 ms to 4 s: an attempt may have 5 s."""
    login_budget: LoginBudgetOptions | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be meant; raises ValueError, reported with the key path."""
        if bool(self.nodes) == bool(self.host):
            raise ValueError("either `nodes` (a list of host:port) or `host` is expected")
        if not _is_written_in_one(self.host):
            raise ValueError("`host` is a name or an address, without spaces")
        for text in self.nodes:
            node(text)
        if len(set(self.servers())) != len(self.servers()):
            raise ValueError("a server stands twice in `nodes`")
        for rule in self.acl:
            if rule[:1] in (">", "<", "#", "!") or rule.lower() in _PASSWORD_WORDS or not rule.strip():
                raise ValueError("`acl` takes rules on commands, keys and channels; passwords are keyturn's to set")
        if not SECOND // 10 <= self.command_timeout.microseconds <= 4 * SECOND:
            raise ValueError("`command_timeout` is 100ms to 4s, because an attempt may have no more than 5s")

    def servers(self) -> tuple[Node, ...]:
        """Return the servers in the order given."""
        return tuple(node(text) for text in self.nodes) or (Node(self.host, self.port),)


def node(text: str) -> Node:
    """Read `host`, `host:port` or `[IPv6]:port`; raises ValueError, without repeating it, for anything else."""
    wrong = ValueError("a server is written host:port or [IPv6 address]:port, with a port from 1 to 65535")
    try:
        parts = urlsplit(f"//{text}")
        port = PORT if parts.port is None else parts.port
    except ValueError:
        raise wrong from None  # what urllib says repeats the text, which may have a password in it
    if not parts.hostname or parts.netloc != text or "@" in text or port == 0 or not _is_written_in_one(text):
        raise wrong
    return Node(parts.hostname, port)


def _is_written_in_one(text: str) -> bool:
    """Tell whether a name has no space in it, nor a sign that nobody sees; urllib lets both pass."""
    return text.isprintable() and " " not in text


def _build(options: RedisOptions, context: TargetContext) -> RedisTarget:
    """Build the target; raises ModuleNotFoundError where the driver is not installed."""
    from adapters.targets.redis_target import RedisTarget

    return RedisTarget(options, context)


ADAPTER: Final = TargetAdapter(
    name="redis",
    summary="Redis and Valkey: passwords of an ACL user, on every node",
    options=RedisOptions,
    strategies=frozenset({Strategy.DUAL}),
    build=_build,
    extra="redis",
    attempt_window_min=Microseconds(5 * SECOND),
)
