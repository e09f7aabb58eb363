"""The encrypted file as a store: many paths in one sealed file, replaced whole at every change.

Rule 1: what the bytes look like stands in envelope.py, how they reach the disk in files.py, what labels do in
shelf.py; here they are put together.
Rule 2: a change reads, changes and replaces under the lock of the file; reading needs no lock, for a file
that is there is always whole.
Rule 3: the file is read every time. What is kept of the last time is used where every byte is the same: opening the
versions of some thousand credentials to look at one would cost more than all the rest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
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


@dataclass(frozen=True, slots=True)
class _Opened:
    """A file as it was opened: its bytes, the recipe of its key, and each path in it, still encoded."""

    content: bytes = field(repr=False)
    recipe: KeyRecipe
    paths: dict[str, msgspec.Raw] = field(repr=False)


class EncryptedFileStore:
    """A versioned store in one encrypted file; several processes and threads may use the file at once."""

    def __init__(self, path: Path, key: KeySource) -> None:
        self._path = path
        self._key = key
        self._master: tuple[KeyRecipe, bytes] | None = None
        self._last: _Opened | None = None
        """The file as it was opened last."""

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
        found = files.read(self._path, what=what)
        if found is None:
            return Shelf()
        return _decode(self._open(found.content, what=what).paths.get(path), what=what)

    def _change(self, path: str, change: Callable[[Shelf], bool], *, deadline: Instant | None = None) -> None:
        what = f"writing {self._path}"
        files.make_folder(self._path.parent, what=what)
        with files.locked(self._path, what=what):
            found = files.read(self._path, what=what)
            opened = None if found is None else self._open(found.content, what=what)
            shelf = _decode(None if opened is None else opened.paths.get(path), what=what)
            if change(shelf):
                recipe = self._key.fresh() if opened is None else opened.recipe
                plain = _encode({} if opened is None else opened.paths, path, shelf)
                content = envelope.seal(plain, key=recipe, master=self._master_key(recipe))
                files.replace(self._path, content, what=what, deadline=deadline)
            elif opened is not None:
                files.confirm(self._path, what=what)

    def _open(self, content: bytes, *, what: str) -> _Opened:
        last = self._last
        if last is not None and last.content == content:
            return last
        sealed = envelope.parse(content, what=what)
        recipe = sealed.header.key
        try:
            plain = envelope.unseal(sealed, master=self._master_key(recipe), what=what)
        except WrongKey:
            # The right key may be put in place while this process lives, so the wrong one is not kept.
            self._master = None
            raise
        opened = self._last = _Opened(content, recipe, _paths(plain, what=what))
        return opened

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
        paths = self._open(opened.content, what=what).paths
        findings = [Finding("file", Severity.OK, f"{self._path} opens with this key; paths in it: {len(paths)}")]
        if files.is_open_to_others(opened.status):
            hint = f"Run: chmod 600 {self._path}"
            findings.append(Finding("file", Severity.WARN, f"others may use {self._path}", hint))
        return findings


def _encode(paths: Mapping[str, msgspec.Raw], path: str, shelf: Shelf) -> bytes:
    """Return the plain body with one of its paths changed, or left out where nothing is held there."""
    stored: dict[str, msgspec.Raw | _Path] = {**paths, path: _stored(shelf)}
    if not shelf.values:
        del stored[path]
    return msgspec.msgpack.encode(stored)


def _stored(shelf: Shelf) -> _Path:
    versions = [
        _Version(version, value.username, value.revealed(), value.form, value.handle)
        for version, value in shelf.values.items()
    ]
    return _Path(versions, shelf.current, shelf.pending, shelf.previous)


def _paths(plain: bytes, *, what: str) -> dict[str, msgspec.Raw]:
    with _known_form(what):
        return msgspec.msgpack.decode(plain, type=dict[str, msgspec.Raw])


def _decode(stored: msgspec.Raw | None, *, what: str) -> Shelf:
    if stored is None:
        return Shelf()
    with _known_form(what):
        entry = msgspec.msgpack.decode(stored, type=_Path)
    values = {
        row.version: CredentialValue(row.username, Secret(row.secret), row.form, row.handle) for row in entry.versions
    }
    return Shelf(values, entry.current, entry.pending, entry.previous)


@contextmanager
def _known_form(what: str) -> Iterator[None]:
    try:
        yield
    except msgspec.DecodeError:
        # The tag was right, so keyturn wrote this; only another version of it can have.
        raise NewerFormat(what=what, why="its content is not what this keyturn writes") from None
