"""One fresh session at each Redis of a service, logged in as its consumers are.

Rule: redis-py is used here and in no other file of the checks; its texts stay here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from adapters.health.cutting import cut_off
from adapters.health.looking import NotSeen, OutOfReach, seconds, usable
from engine.adapter import CheckContext
from engine.health import Subject

KIND: Final = "redis"
EXTRA: Final = "redis"

Result = TypeVar("Result")


class Session:
    """Asks one node, before a limit; raises `OutOfReach` where it fails, `NotSeen` where this login may not ask."""

    def __init__(self, node: str, connection: Any, until: float) -> None:
        self.node = node
        self._connection = connection
        self._until = until

    def ask(self, *words: str) -> Any:
        """Return the answer to a command, as bytes."""
        from redis import exceptions

        if time.monotonic() >= self._until:
            raise OutOfReach(f"{self.node}: no answer in time")
        try:
            self._connection.send_command(*words)
            return self._connection.read_response()
        except exceptions.NoPermissionError:
            raise NotSeen(f"{self.node}: the login may not {' '.join(words[:2])}") from None
        except exceptions.AuthenticationError:
            raise OutOfReach(f"{self.node}: the login is refused") from None
        except exceptions.BusyLoadingError:
            raise OutOfReach(f"{self.node}: it is still loading its data") from None
        except exceptions.ResponseError as error:
            raise NotSeen(f"{self.node}: {words[0]} was answered with {type(error).__name__}") from None
        except (exceptions.RedisError, OSError):
            is_late = time.monotonic() >= self._until
            why = "no answer in time" if is_late else "the connection was lost before the answer"
            raise OutOfReach(f"{self.node}: {why}") from None

    def info(self, section: str) -> dict[str, str]:
        """Return a section of INFO."""
        lines = self.ask("INFO", section).decode(errors="replace").splitlines()
        return {key: value for key, sign, value in (line.partition(":") for line in lines) if sign}

    def numbers(self, section: str) -> Callable[[str], float]:
        """Return what reads the numbers of a section of INFO; it raises `NotSeen` for one that is not told."""
        told = self.info(section)

        def number(key: str) -> float:
            try:
                return float(told[key])
            except (KeyError, ValueError):
                raise NotSeen(f"{self.node}: INFO does not tell {key}") from None

        return number


@contextmanager
def session(context: CheckContext, subject: Subject, node: Any, *, until: float) -> Iterator[Session]:
    """Log in afresh at a node with the new version; raises as `Session.ask` does."""
    import redis
    from redis import exceptions
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    server: Any = context.service_options
    value = usable(subject)
    left = min(until - time.monotonic(), seconds(server.connect_timeout.microseconds))
    options: dict[str, Any] = {
        "host": node.host,
        "port": node.port,
        "socket_connect_timeout": max(left, 0.001),
        "socket_timeout": max(until - time.monotonic(), 0.001),
        "protocol": 2,
        # The driver's own retries would try a refused password four times, seconds apart.
        "retry": Retry(NoBackoff(), 0),
        **_nameless(),
    }
    if server.tls != "disable":
        options["ssl_cert_reqs"] = "required"
        options["ssl_check_hostname"] = True
        options["ssl_ca_certs"] = str(context.base / server.tls_root) if server.tls_root else None
    connection: Any = (redis.SSLConnection if server.tls != "disable" else redis.Connection)(**options)
    try:
        try:
            connection.connect()
        except (exceptions.RedisError, OSError):
            raise OutOfReach(f"{node}: no connection") from None
        # The driver has no other way to the descriptor.
        descriptor = connection._sock.fileno()  # noqa: SLF001
        with cut_off(descriptor, max(until - time.monotonic(), 0.0)):
            opened = Session(str(node), connection, until)
            # Sent by hand: a client that goes on after a refused AUTH is the `default` user.
            opened.ask("AUTH", value.username, value.revealed())
            yield opened
    finally:
        connection.disconnect()


def each_node(context: CheckContext, subject: Subject, see: Callable[[Session], Result]) -> list[Result]:
    """Return what is seen at every node, in turn, all within the timeout of the check; raises as `Session.ask` does."""
    server: Any = context.service_options
    until = time.monotonic() + seconds(context.timeout)
    seen = []
    for node in server.servers():
        with session(context, subject, node, until=until) as opened:
            seen.append(see(opened))
    return seen


def _nameless() -> dict[str, None]:
    """Keep the driver from naming itself before AUTH; redis-py 7.2 renamed the arguments."""
    import inspect

    from redis.connection import AbstractConnection

    known = inspect.signature(AbstractConnection.__init__).parameters
    return {"driver_info": None} if "driver_info" in known else {"lib_name": None, "lib_version": None}
