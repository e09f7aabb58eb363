"""The target in the simulated world: where its accounts are, and several nodes that are written one after another.

Rule: what an operation means stands in adapters/targets/memory.py; nodes only have it done on each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import TracebackType

import msgspec

from adapters.targets.memory import MemoryTarget
from adapters.targets.memory_accounts import Accounts, Held
from engine.ports import Probe, Sighting, TargetCapabilities, Verification
from engine.values import CredentialValue, Instant, Secret


class SimulatedAccounts:
    """Accounts of which copies can be made, for backups. One process at a time runs, so nothing is locked."""

    def __init__(self) -> None:
        self.accounts = Accounts()

    def opened(self) -> SimulatedAccounts:
        """Give the accounts to one operation."""
        return self

    def __enter__(self) -> Accounts:
        return self.accounts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def image(self) -> Accounts:
        """Return a copy."""
        return msgspec.msgpack.decode(msgspec.msgpack.encode(self.accounts), type=Accounts)


class SameSalt:
    """Salt for targets of several nodes: all keep the same of the same value, as Redis does."""

    def draw(self, count: int) -> bytes:
        """Return the same bytes again."""
        return bytes(count)


class Nodes:
    """A target of several nodes, each asked in turn; nodes that disagree show nothing clear."""

    def __init__(self, nodes: Sequence[MemoryTarget]) -> None:
        self._nodes = nodes
        self.reach = len(nodes)
        """How many of them a change reaches."""

    @property
    def capabilities(self) -> TargetCapabilities:
        """What each of them can do."""
        return self._nodes[0].capabilities

    def apply(self, value: CredentialValue, *, tag: str, deadline: Instant) -> CredentialValue:
        """Have every node within reach accept the value."""
        for node in self._nodes[: self.reach]:
            node.apply(value, tag=tag, deadline=deadline)
        return value

    def retire(self, old: CredentialValue | None, *, keep: CredentialValue | None, tag: str, deadline: Instant) -> None:
        """Make the old value unusable on every node within reach."""
        for node in self._nodes[: self.reach]:
            node.retire(old, keep=keep, tag=tag, deadline=deadline)

    def restore(
        self, previous: CredentialValue | None, *, candidate: CredentialValue | None, tag: str, deadline: Instant
    ) -> None:
        """Go back on every node within reach."""
        for node in self._nodes[: self.reach]:
            node.restore(previous, candidate=candidate, tag=tag, deadline=deadline)

    def verify(self, value: CredentialValue, *, control: Secret) -> Verification:
        """Return what all nodes say with one voice."""
        seen = [node.verify(value, control=control) for node in self._nodes]
        candidate, wrong = _together([s.candidate for s in seen]), _together([s.control for s in seen])
        return Verification(candidate, wrong, query=all(s.query for s in seen))

    def probe(self, value: CredentialValue) -> Sighting:
        """Return what all nodes say with one voice; without a secret, what the login holds on any of them."""
        seen = [node.probe(value) for node in self._nodes]
        shown = seen[0].restorable
        same = all(s.restorable is not None and shown is not None and s.restorable.secret == shown.secret for s in seen)
        probe = _together([s.probe for s in seen])
        looked = all(s.restorable is not None or s.probe is not Probe.UNKNOWN for s in seen)
        if value.secret is None and looked and not same and probe is not Probe.REFUSED:
            return Sighting(Probe.ACCEPTED, "the login holds values, and not one that is the same on every node")
        return Sighting(probe, "the nodes disagree", shown if same else None)

    def accepts(self, value: CredentialValue) -> bool:
        """Tell whether some node accepts the value."""
        return any(node.accepts(value) for node in self._nodes)

    def accepts_everywhere(self, value: CredentialValue) -> bool:
        """Tell whether every node accepts the value."""
        return all(node.accepts(value) for node in self._nodes)

    def strangers(self, known: Iterable[CredentialValue]) -> Sequence[tuple[str, Held]]:
        """Return everything in force on some node that is none of `known`."""
        values = tuple(known)
        return [stranger for node in self._nodes for stranger in node.strangers(values)]

    def wrong_logins(self, username: str) -> int:
        """Return the most wrong logins that a node counts."""
        return max(node.wrong_logins(username) for node in self._nodes)


def _together(probes: Sequence[Probe]) -> Probe:
    return probes[0] if len(set(probes)) == 1 else Probe.UNKNOWN
