"""Publishing to a file that a program reads: dotenv, JSON or YAML, edited in place of one value.

Rule: this file knows files and outcomes; how a format is read and edited stands in *_text.py.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from adapters import files
from adapters.stores import dotenv_text, json_text
from adapters.stores.shelf import check_names, check_value
from adapters.stores.text_edit import CannotCarry
from engine.adapter import StoreAdapter, StoreContext
from engine.errors import PortError, Rejected
from engine.ports import Finding, Holdings, SecretStore, Severity, StoreCapabilities
from engine.values import CURRENT, CredentialValue, Instant, Secret

FormatName: TypeAlias = Literal["dotenv", "json", "yaml"]

_CAPABILITIES = StoreCapabilities(versioned=False, compare_and_set=False, label_switch=False, readable=True)
_SUFFIXES: dict[str, FormatName] = {".json": "json", ".yaml": "yaml", ".yml": "yaml"}
_LINKS_MAX = 40
"""As many as Linux follows (path_resolution(7))."""
_BYTE_ORDER_MARK = "\ufeff"


class Options(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Which file, and how it is written. Raises ValueError where the two do not fit."""

    path: str
    """The file; relative to the folder of the configuration. Its folder must be there."""
    format: FormatName | None = None
    """By default told by the suffix: .json, .yaml, .yml, and everything else is dotenv."""
    quotes: Literal["auto", "never"] = "auto"
    """For dotenv: `never` writes bare values, for readers that take quotes as they are (docker run --env-file)."""

    def __post_init__(self) -> None:
        if not self.path:
            raise ValueError("`path` is empty")
        if self.quotes == "never" and _format(self) != "dotenv":
            raise ValueError("`quotes: never` is for the format dotenv")


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How a value is found in a text, and how the text is edited; both raise `CannotCarry`."""

    read: Callable[[str, str], str | None]
    write: Callable[[str, str, str], str]


class EnvFileStore:
    """A file with current values only; a path is the key of a value in it."""

    def __init__(self, path: Path, text_format: TextFormat) -> None:
        self._path = path
        self._format = text_format

    @property
    def capabilities(self) -> StoreCapabilities:
        """Readable, and nothing else: no versions, no compare-and-set."""
        return _CAPABILITIES

    def stage(self, path: str, version: str, value: CredentialValue, *, deadline: Instant | None = None) -> None:
        """Do nothing: a file has only a current value."""

    def promote(
        self,
        path: str,
        version: str,
        value: CredentialValue,
        *,
        expected: str | None,
        deadline: Instant | None = None,
    ) -> None:
        """Put the secret of `value` at the key `path`, durably; where it stands there already, nothing is written.

        `expected` means nothing to a file. Raises `Rejected` where the format cannot carry the value.
        """
        check_names(path, version)
        check_value(version, value)
        what = f"publishing {path} to {self._path}"
        file = _followed(self._path, what=what)
        with files.locked(file, what=what):
            opened = files.read(file, what=what)
            text = _text(opened, what=what)
            mark = _BYTE_ORDER_MARK if text.startswith(_BYTE_ORDER_MARK) else ""
            edited = self._edited(text.removeprefix(mark), path, value.revealed(), what=what)
            if opened is not None and edited is None:
                files.confirm(file, what=what)
            elif edited is not None:
                content, like = (mark + edited).encode(), opened.status if opened else None
                files.replace(file, content, what=what, like=like, deadline=deadline)

    def read(self, path: str, version: str) -> CredentialValue | None:
        """Return the current value, without a username; None for every other version, and where it is no text."""
        if version != CURRENT:
            return None
        what = f"reading {path} from {self._path}"
        opened = files.read(_followed(self._path, what=what), what=what)
        try:
            value = self._format.read(_text(opened, what=what).removeprefix(_BYTE_ORDER_MARK), path)
        except CannotCarry as error:
            raise Rejected(what=what, why=error.reason) from None
        return None if value is None else CredentialValue("", Secret(value))

    def versions(self, path: str) -> Holdings:
        """Return nothing: a file has a value, but does not know which version it is."""
        return Holdings()

    def discard(self, path: str, version: str, *, destroy: bool) -> None:
        """Do nothing: the next promotion takes the value's place."""

    def check(self) -> Sequence[Finding]:
        """Tell whether the file can be read and replaced as it is; changes nothing."""
        try:
            file = _followed(self._path, what=f"opening {self._path}")
            opened = files.read(file, what=f"opening {file}")
            # A key that nobody has: the whole text is parsed to find out that it is not there.
            self.read("KEYTURN_CHECK", CURRENT)
        except PortError as error:
            return [Finding("file", Severity.FAIL, error.message, error.advice)]
        return [_check_folder(file.parent), _check_file(file, opened)]

    def _edited(self, text: str, key: str, value: str, *, what: str) -> str | None:
        """Return the new text; None where the value stands there already."""
        try:
            if self._format.read(text, key) == value:
                return None
            return self._format.write(text, key, value)
        except CannotCarry as error:
            advice = "Publish it in the format json or yaml, or rotate to a value without such characters."
            raise Rejected(what=what, why=error.reason, advice=advice) from None


def _check_folder(folder: Path) -> Finding:
    if not folder.is_dir():
        return Finding("folder", Severity.FAIL, f"there is no folder {folder}", "Create the folder first.")
    if not os.access(folder, os.W_OK | os.X_OK):
        hint = "The file is replaced, so its folder must be writable."
        return Finding("folder", Severity.FAIL, f"{folder} is not writable", hint)
    return Finding("folder", Severity.OK, f"{folder} is writable")


def _check_file(file: Path, opened: files.Opened | None) -> Finding:
    if opened is None:
        return Finding("file", Severity.OK, f"{file} will be made, with mode 0600")
    if os.geteuid() not in (0, opened.status.st_uid):
        hint = "Run keyturn as the owner of the file: replacing it as somebody else would change its owner."
        return Finding("file", Severity.FAIL, f"{file} belongs to another user", hint)
    if stat.S_IMODE(opened.status.st_mode) & stat.S_IROTH:
        hint = f"Run: chmod o-rwx {file}; keyturn keeps the mode that it finds."
        return Finding("file", Severity.WARN, f"everybody may read {file}", hint)
    return Finding("file", Severity.OK, f"{file} is readable")


def _followed(path: Path, *, what: str) -> Path:
    """Return the file that `path` leads to, so that a link stays a link and what it names is replaced.

    A link is followed only where this user or root made it: anybody else could point it anywhere. Links that
    Kubernetes makes for a mounted volume are `Rejected`, because the kubelet replaces what is behind them.
    """
    for _ in range(_LINKS_MAX):
        with files.translated(what):
            try:
                status = path.lstat()
            except FileNotFoundError:
                return path
            if not stat.S_ISLNK(status.st_mode):
                return path
            target = path.readlink()
        if status.st_uid not in (0, os.geteuid()):
            raise Rejected(what=what, why=f"{path} is a symbolic link that another user made")
        if "..data" in target.parts:
            raise Rejected(what=what, why=f"{path} is in a volume that Kubernetes writes")
        path = path.parent / target
    raise Rejected(what=what, why=f"more than {_LINKS_MAX} symbolic links lead from it")


def _text(opened: files.Opened | None, *, what: str) -> str:
    if opened is None:
        return ""
    try:
        return opened.content.decode()
    except UnicodeDecodeError:
        # The error itself carries the bytes, so it is not passed on.
        raise Rejected(what=what, why="the file is not UTF-8 text") from None


def _format(options: Options) -> FormatName:
    return options.format or _SUFFIXES.get(Path(options.path).suffix.lower(), "dotenv")


def _text_format(options: Options) -> TextFormat:
    name = _format(options)
    if name == "json":
        return TextFormat(json_text.read, json_text.write)
    if name == "yaml":
        from adapters.stores import yaml_text

        return TextFormat(yaml_text.read, yaml_text.write)
    literal = options.quotes == "never"
    return TextFormat(partial(dotenv_text.read, literal=literal), partial(dotenv_text.write, literal=literal))


def _build(options: Options, context: StoreContext) -> SecretStore:
    return EnvFileStore(context.base / options.path, _text_format(options))


ADAPTER = StoreAdapter(
    name="env-file",
    summary="Publishes the current value to a dotenv, JSON or YAML file.",
    options=Options,
    build=_build,
    holds_versions=False,
)
