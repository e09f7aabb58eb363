"""What the benches of all discoveries over HTTP have in common. No tests live here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from tests.contract.discovery import Trouble
from tests.sinks.vendor_server import Fault, Reply, VendorServer

ORDERS: Final[dict[Trouble, Reply | Fault]] = {
    Trouble.FAILURE: Reply(503, b"canary-right-login"),
    Trouble.CUT: Fault.LOSE_ANSWER,
    Trouble.HALF: Fault.HALF_AN_ANSWER,
    Trouble.NONSENSE: Reply(200, b"<html>come in</html>"),
    Trouble.SILENCE: Fault.SILENCE,
}


class HttpBench:
    """A fake behind a server that fails as ordered."""

    def __init__(self, server: VendorServer) -> None:
        self.server = server
        self._is_stopped = False

    @property
    def troubles(self) -> Sequence[Trouble]:
        """Whatever a server can do to an answer."""
        return tuple(ORDERS)

    def spoil(self, trouble: Trouble, *, request: int) -> None:
        """Have a request that is to come meet trouble, and those before it none."""
        self.server.order(*[Fault.PASS] * (request - 1), ORDERS[trouble])

    def requests(self) -> int:
        """Return how many requests there were."""
        return len(self.server.requests)

    def stop(self) -> None:
        """End the server, which ends again with its fixture."""
        self.server.stop()
