"""A secret of the configuration is read where it is, when it is needed, and is never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from adapters.config.build import Wiring
from adapters.config.references import BYTES_MAX, ReferenceReader
from engine.adapter import Reference
from engine.errors import Rejected
from engine.ports import SecretStore
from engine.values import CredentialValue, Form, Secret
from tests.unit.config.reading import reads


@pytest.fixture
def store(tmp_path: Path) -> SecretStore:
    """A store in memory with nothing in it."""
    return Wiring(reads("version: 1\nsecretStores: {held: {type: memory}}"), tmp_path).store("held")


@pytest.fixture
def reader(tmp_path: Path, store: SecretStore) -> ReferenceReader:
    """Reads with the store `held`, the variable CANARY, and files from a folder of the test."""
    keys = {Reference.parse("env://MISSING"): "services.app.token"}
    return ReferenceReader(tmp_path, {"held": store}.__getitem__, keys, {"CANARY": "canary-env", "EMPTY": ""})


def hold(store: SecretStore, value: CredentialValue) -> None:
    """Make a value current at admin/db."""
    store.stage("admin/db", "v1", value)
    store.promote("admin/db", "v1", value, expected=None)


def refusal(reader: ReferenceReader, reference: str) -> str:
    """Return what is said where a reference leads nowhere."""
    with pytest.raises(Rejected) as raised:
        reader(Reference.parse(reference))
    assert "canary" not in str(raised.value)
    assert raised.value.__cause__ is None
    return raised.value.why


def test_a_variable_is_read(reader: ReferenceReader) -> None:
    assert reader(Reference.parse("env://CANARY")) == Secret("canary-env")


@pytest.mark.parametrize("name", ["MISSING", "EMPTY"])
def test_a_variable_without_a_value_is_told(reader: ReferenceReader, name: str) -> None:
    assert refusal(reader, f"env://{name}") == "the environment variable is not set, or empty"


def test_an_error_names_the_key_and_the_reference(reader: ReferenceReader) -> None:
    with pytest.raises(Rejected, match=r"reading env://MISSING \(services\.app\.token\)"):
        reader(Reference.parse("env://MISSING"))


def test_the_current_value_of_a_store_is_read(reader: ReferenceReader, store: SecretStore) -> None:
    """Its secret, or its login."""
    hold(store, CredentialValue("keyturn", Secret("canary-admin")))
    assert reader(Reference.parse("store://held/admin/db")) == Secret("canary-admin")
    assert reader(Reference.parse({"from": {"store": "held", "key": "admin/db"}})) == Secret("canary-admin")
    assert reader(Reference.parse("store://held/admin/db#username")) == Secret("keyturn")


def test_a_field_of_a_secret_that_is_json_is_read(reader: ReferenceReader, store: SecretStore) -> None:
    hold(store, CredentialValue("x", Secret('{"hook": "canary-hook", "number": 5}')))
    assert reader(Reference.parse("store://held/admin/db#hook")) == Secret("canary-hook")
    assert "with a text of that name" in refusal(reader, "store://held/admin/db#number")
    assert "with a text of that name" in refusal(reader, "store://held/admin/db#nothing")


@pytest.mark.parametrize("text", ["canary-plain", "[" * 100_000, '"canary"', "[1]"])
def test_a_secret_that_is_no_json_object_has_no_fields(reader: ReferenceReader, store: SecretStore, text: str) -> None:
    hold(store, CredentialValue("x", Secret(text)))
    assert "not a JSON object" in refusal(reader, "store://held/admin/db#hook")


def test_a_store_that_holds_nothing_usable_is_told(reader: ReferenceReader, store: SecretStore) -> None:
    """Nothing at all, or a verifier, with which nobody can log in."""
    assert refusal(reader, "store://held/admin/db") == "the store holds nothing there"
    hold(store, CredentialValue("x", Secret("SCRAM-canary"), Form.VERIFIER))
    assert "could be used to log in" in refusal(reader, "store://held/admin/db")


def write(path: Path, raw: bytes, mode: int = 0o600) -> str:
    """Write a file with these permissions, and return the reference to it."""
    path.write_bytes(raw)
    path.chmod(mode)
    return f"file://{path}"


@pytest.mark.parametrize(
    ("raw", "secret"),
    [
        (b"canary-file", "canary-file"),
        (b"canary-file\n", "canary-file"),
        (b"canary-file\r\n", "canary-file"),
        (b"canary-file\n\n", "canary-file\n"),
        (b" canary file ", " canary file "),
    ],
)
def test_a_file_loses_one_newline_at_its_end(tmp_path: Path, reader: ReferenceReader, raw: bytes, secret: str) -> None:
    assert reader(Reference.parse(write(tmp_path / "secret", raw))) == Secret(secret)


def test_a_relative_path_starts_at_the_folder_of_the_configuration(tmp_path: Path, reader: ReferenceReader) -> None:
    write(tmp_path / "secret", b"canary-file")
    assert reader(Reference.parse("file://./secret")) == Secret("canary-file")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "the file is empty"),
        (b"\n", "the file is empty"),
        (b"canary\xff", "the file is not UTF-8"),
        (b"canary" * BYTES_MAX, "the file is larger than 64 KiB"),
    ],
    ids=["empty", "newline", "not UTF-8", "too large"],
)
def test_a_file_that_cannot_be_a_secret_is_refused(
    tmp_path: Path, reader: ReferenceReader, raw: bytes, why: str
) -> None:
    assert refusal(reader, write(tmp_path / "secret", raw)) == why


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o644, 0o666])
def test_our_own_file_must_be_ours_alone(tmp_path: Path, reader: ReferenceReader, mode: int) -> None:
    why = refusal(reader, write(tmp_path / "secret", b"canary", mode))
    assert why == f"other users may read or write the file (mode {mode:04o})"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
@pytest.mark.parametrize(("mode", "is_read"), [(0o444, True), (0o644, True), (0o664, False), (0o646, False)])
def test_a_file_of_another_owner_may_be_readable_but_not_writable(
    tmp_path: Path, reader: ReferenceReader, mode: int, *, is_read: bool
) -> None:
    """So containers are handed their secrets."""
    reference = write(tmp_path / "secret", b"canary-mounted", mode)
    os.chown(tmp_path / "secret", 65534, 65534)
    if is_read:
        assert reader(Reference.parse(reference)) == Secret("canary-mounted")
    else:
        assert "other users" in refusal(reader, reference)


def test_a_link_is_followed_to_what_is_judged(tmp_path: Path, reader: ReferenceReader) -> None:
    """Kubernetes mounts secrets behind links; the file at the end must be closed."""
    write(tmp_path / "secret", b"canary-linked")
    (tmp_path / "link").symlink_to(tmp_path / "secret")
    assert reader(Reference.parse(f"file://{tmp_path}/link")) == Secret("canary-linked")
    (tmp_path / "secret").chmod(0o644)
    assert "other users" in refusal(reader, f"file://{tmp_path}/link")


def test_what_is_no_file_is_refused(tmp_path: Path, reader: ReferenceReader) -> None:
    """A pipe is not waited for, a device is not read for ever."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    assert refusal(reader, f"file://{tmp_path}/pipe") == "this is not a plain file"
    assert refusal(reader, "file:///dev/zero") == "this is not a plain file"
    assert refusal(reader, f"file://{tmp_path}") == "there is no such file"
    assert refusal(reader, f"file://{tmp_path}/missing") == "there is no such file"
    assert refusal(reader, f"file://{tmp_path}/pipe/inside") == "there is no such file"
    assert refusal(reader, "file:///a\0b") == "there is no such file"
