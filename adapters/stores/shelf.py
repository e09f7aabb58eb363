"""What a versioned store holds at one path: values by version, the labels, and the rules that move them.

Rule 1: this file knows no disk, no lock and no encryption; memory and file stores keep their shelves here.
Rule 2: every change may be repeated: a method tells whether anything changed, and a repeat changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from engine.errors import Rejected
from engine.ports import Holdings
from engine.values import CURRENT, LABELS, PENDING, PREVIOUS, CredentialValue

NAME_LENGTH_MAX = 1024
"""Characters that a path or a version id may have: more is a mistake, not a name."""


@dataclass(slots=True)
class Shelf:
    """The versions of one credential, oldest first, and where the labels point."""

    values: dict[str, CredentialValue] = field(default_factory=dict)
    current: str | None = None
    pending: str | None = None
    previous: str | None = None

    def stage(self, version: str, value: CredentialValue) -> bool:
        """Hold `value` under `version` and label it pending; `Rejected` where another value is held under it.

        What is current stays so: a late repeat of its staging does not make it pending again.
        """
        held = self._hold(version, value)
        if version in (self.current, self.pending):
            return held
        self.pending = version
        return True

    def promote(self, version: str, value: CredentialValue, *, expected: str | None) -> bool:
        """Make `version` current, and what it replaces previous, where current is `expected` or `version`.

        A version that was never staged is held first, so that a further place can be given its value at once.
        """
        if self.current not in (expected, version):
            raise Rejected(
                what=f"making version {version} current",
                why=f"{self.current or 'no version'} is current where {expected or 'no version'} was expected",
                advice="Somebody else changed the store; look at what it holds before going on.",
            )
        held = self._hold(version, value)
        if self.current == version:
            return held
        if self.current is not None:
            self.previous = self.current
        self.current = version
        if self.pending == version:
            self.pending = None
        return True

    def discard(self, version: str, *, destroy: bool) -> bool:
        """Take the pending label off `version`; with `destroy`, forget its value, but never current or previous."""
        if destroy and version in (self.current, self.previous):
            label = CURRENT if version == self.current else PREVIOUS
            raise Rejected(what=f"deleting version {version}", why=f"it is the {label} one")
        unlabelled = self.pending == version
        if unlabelled:
            self.pending = None
        destroyed = destroy and self.values.pop(version, None) is not None
        return unlabelled or destroyed

    def read(self, version: str) -> CredentialValue | None:
        """Return the value of a version or of a label; None where there is none."""
        if version not in LABELS:
            return self.values.get(version)
        labelled = {CURRENT: self.current, PENDING: self.pending, PREVIOUS: self.previous}[version]
        return None if labelled is None else self.values.get(labelled)

    def holdings(self) -> Holdings:
        """Return the version ids, oldest first, and the labels."""
        return Holdings(tuple(self.values), self.current, self.pending, self.previous)

    def _hold(self, version: str, value: CredentialValue) -> bool:
        held = self.values.get(version)
        if held is None:
            self.values[version] = value
            return True
        if held != value:
            raise Rejected(
                what=f"holding version {version}",
                why="another value is held under that version, and a version never changes its value",
            )
        return False


def check_names(path: str, version: str) -> None:
    """Raise `Rejected` where `path` or `version` is no name: empty, endless, or not printable.

    A path is a name and never a place in a file system, so dots and slashes mean nothing in it.
    """
    for kind, name in (("path", path), ("version", version)):
        why = _fault(name)
        if why:
            raise Rejected(what=f"using the {kind} {name[:40]!r}", why=why)
    if version in LABELS:
        raise Rejected(what=f"using the version {version!r}", why="that is the name of a label")


def check_value(version: str, value: CredentialValue) -> None:
    """Raise `Rejected` where `value` cannot be held: without a secret, or not Unicode text."""
    if value.secret is None:
        raise Rejected(what=f"holding version {version}", why="it has no secret yet")
    if not all(_is_text(text) for text in (value.username, value.secret.reveal(), value.handle)):
        raise Rejected(what=f"holding version {version}", why="it has lone surrogates, which is not Unicode text")


def _fault(name: str) -> str:
    if not name:
        return "it is empty"
    if len(name) > NAME_LENGTH_MAX:
        return f"it has more than {NAME_LENGTH_MAX} characters"
    # Control characters, lone surrogates and line separators are among what is not printable.
    return "" if name.isprintable() else "it has characters that cannot be printed"


def _is_text(text: str) -> bool:
    return text.isascii() or not any(0xD800 <= ord(character) <= 0xDFFF for character in text)
