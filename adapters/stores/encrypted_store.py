"""The encrypted file as a store: many paths in one sealed file, replaced whole at every change.

Rule 1: what the bytes look like stands in envelope.py, how they reach the disk in files.py, what labels do in
shelf.py; here they are put together.
Rule 2: a change reads, changes and replaces under the lock of the file; reading needs no lock, for a file
that is there is always whole.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from adapters import files
from adapters.stores import envelope
from adapters.stores.keys import KeyRecipe, KeySource
from adapters.stores.refusals import NewerFormat, WrongKey
from adapters.stores.shelf import Shelf, check_names, check_value
from engine.errors import PortError
from engine.ports import Finding, Holdings, Severity, StoreCapabilities
from engine.values import CredentialValue, Form, Instant, Secret

_CAPABILITIES = StoreCapabilities(versioned=True, compare_and_set=True, label_switch=True, readable=True)


class _Version(msgspec.Struct, array_like=True):
    version: str
    username: str
    secret: str
    form: Form
    handle: str


class _Path(msgspec.Struct, array_like=True):
    versions: list[_Version]
    current: str | None
    pending: str | None
    previous: str | None


class EncryptedFileStore:
    """A versioned store in one encrypted file; several processes and threads may use the file at once."""

    def __init__(self, path: Path, key: KeySource) -> None:
        self._path = path
        self._key = key
        self._master: tuple[KeyRecipe, bytes] | None = None

    @property
    def capabilities(self) -> StoreCapabilities:
        """Everything."""
        return _CAPABILITIES

    def stage(self, path: str, version: str, value: CredentialValue, *, deadline: Instant | None = None) -> None:
        """Hold `value` durably under `version` and label it pending."""
        check_names(path, version)
        check_value(version, value)
        self._change(path, lambda shelf: shelf.stage(version, value), deadline=deadline)

    def promote(
        self,
        path: str,
        version: str,
        value: CredentialValue,
        *,
        expected: str | None,
        deadline: Instant | None = None,
    ) -> None:
        """Make `version` current where current is `expected` or `version` already, else `Rejected`."""
        check_names(path, version)
        check_value(version, value)
        self._change(path, lambda shelf: shelf.promote(version, value, expected=expected), deadline=deadline)

    def read(self, path: str, version: str) -> CredentialValue | None:
        """Return the value of a version or of a label; None where there is none."""
        return self._shelf(path).read(version)

    def versions(self, path: str) -> Holdings:
        """Return what is held at the path."""
        return self._shelf(path).holdings()

    def discard(self, path: str, version: str, *, destroy: bool) -> None:
        """Take the pending label off `version`; with `destroy`, leave its value out of the file."""
        if version in self._shelf(path).holdings().versions:
            self._change(path, lambda shelf: shelf.discard(version, destroy=destroy))

    def check(self) -> Sequence[Finding]:
        """Tell whether key, folder and file are fit to be used; changes nothing."""
        findings: list[Finding] = []
        for subject, look in (
            ("key", self._look_at_key),
            ("folder", self._look_at_folder),
            ("file", self._look_at_file),
        ):
            try:
                findings += look()
            except PortError as error:
                findings.append(Finding(subject, Severity.FAIL, error.message, error.advice))
        return findings

    def _shelf(self, path: str) -> Shelf:
        what = f"opening {self._path}"
        opened = files.read(self._path, what=what)
        if opened is None:
            return Shelf()
        shelves, _ = self._open(opened.content, what=what)
        return shelves.get(path, Shelf())

    def _change(self, path: str, change: Callable[[Shelf], bool], *, deadline: Instant | None = None) -> None:
        what = f"writing {self._path}"
        files.make_folder(self._path.parent, what=what)
        with files.locked(self._path, what=what):
            opened = files.read(self._path, what=what)
            shelves: dict[str, Shelf] = {}
            recipe: KeyRecipe | None = None
            if opened is not None:
                shelves, recipe = self._open(opened.content, what=what)
            if change(shelves.setdefault(path, Shelf())):
                recipe = recipe or self._key.fresh()
                content = envelope.seal(_encode(shelves), key=recipe, master=self._master_key(recipe))
                files.replace(self._path, content, what=what, deadline=deadline)
            elif opened is not None:
                files.confirm(self._path, what=what)

    def _open(self, content: bytes, *, what: str) -> tuple[dict[str, Shelf], KeyRecipe]:
        sealed = envelope.parse(content, what=what)
        master = self._master_key(sealed.header.key)
        try:
            plain = envelope.unseal(sealed, master=master, what=what)
        except WrongKey:
            # The right key may be put in place while this process lives, so the wrong one is not kept.
            self._master = None
            raise
        return _decode(plain, what=what), sealed.header.key

    def _master_key(self, recipe: KeyRecipe) -> bytes:
        """Return the master key, derived once: stretching a passphrase takes longer than all the rest."""
        held = self._master
        if held is None or held[0] != recipe:
            held = self._master = (recipe, self._key.master(recipe))
        return held[1]

    def _look_at_key(self) -> list[Finding]:
        return [Finding("key", Severity.OK, self._key.ready())]

    def _look_at_folder(self) -> list[Finding]:
        folder = self._path.parent
        there = next(candidate for candidate in (folder, *folder.parents) if candidate.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            return [Finding("folder", Severity.FAIL, f"{there} is not writable", "Give this user access to it.")]
        if there != folder:
            return [Finding("folder", Severity.OK, f"{folder} will be made at the first write")]
        if folder.stat().st_mode & 0o022:
            return [Finding("folder", Severity.WARN, f"others may write in {folder}", f"Run: chmod go-w {folder}")]
        return [Finding("folder", Severity.OK, f"{folder} is writable")]

    def _look_at_file(self) -> list[Finding]:
        what = f"opening {self._path}"
        opened = files.read(self._path, what=what)
        if opened is None:
            return [Finding("file", Severity.OK, f"{self._path} will be made at the first write")]
        shelves, _ = self._open(opened.content, what=what)
        findings = [Finding("file", Severity.OK, f"{self._path} opens with this key; paths in it: {len(shelves)}")]
        if files.is_open_to_others(opened.status):
            hint = f"Run: chmod 600 {self._path}"
            findings.append(Finding("file", Severity.WARN, f"others may use {self._path}", hint))
        return findings


def _encode(shelves: dict[str, Shelf]) -> bytes:
    stored = {path: _stored(shelf) for path, shelf in shelves.items() if shelf.values}
    return msgspec.msgpack.encode(stored)


def _stored(shelf: Shelf) -> _Path:
    versions = [
        _Version(version, value.username, value.revealed(), value.form, value.handle)
        for version, value in shelf.values.items()
    ]
    return _Path(versions, shelf.current, shelf.pending, shelf.previous)


def _decode(plain: bytes, *, what: str) -> dict[str, Shelf]:
    try:
        stored = msgspec.msgpack.decode(plain, type=dict[str, _Path])
    except msgspec.DecodeError:
        # The tag was right, so keyturn wrote this; only another version of it can have.
        raise NewerFormat(what=what, why="its content is not what this keyturn writes") from None
    return {path: _shelf(entry) for path, entry in stored.items()}


def _shelf(entry: _Path) -> Shelf:
    values = {
        row.version: CredentialValue(row.username, Secret(row.secret), row.form, row.handle) for row in entry.versions
    }
    return Shelf(values, entry.current, entry.pending, entry.previous)
