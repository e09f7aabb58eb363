"""Publishing replaces one value in a file that others read, and leaves the file theirs."""

from __future__ import annotations

import json
import os
import stat
from functools import partial
from pathlib import Path

import msgspec
import pytest
import yaml

from adapters.stores.env_file import ADAPTER, Options
from engine.adapter import StoreContext
from engine.errors import Rejected, Unavailable
from engine.ports import Checkable, SecretStore, Severity
from engine.values import CURRENT, CredentialValue, Secret
from tests.unit.stores.processes import all_ended_well, file_size_limit, forked

NOBODY = 65_534


def build(folder: Path, path: str = "app.env", **options: object) -> SecretStore:
    """Return the store as the configuration would build it."""
    context = StoreContext("dotenv", folder, folder, lambda _: Secret(""))
    return ADAPTER.build(msgspec.convert({"path": path, **options}, Options), context)


def publish(store: SecretStore, secret: str, *, key: str = "KEY") -> None:
    """Make a value current."""
    store.promote(key, "v1", CredentialValue("app", Secret(secret)), expected=None)


@pytest.mark.parametrize(
    ("path", "given", "text"),
    [
        ("app.env", None, "KEY='canary 1'\n"),
        (".env", None, "KEY='canary 1'\n"),
        ("app.json", None, '{\n  "KEY": "canary 1"\n}\n'),
        ("app.yaml", None, 'KEY: "canary 1"\n'),
        ("app.YML", None, 'KEY: "canary 1"\n'),
        ("settings", "json", '{\n  "KEY": "canary 1"\n}\n'),
    ],
)
def test_the_suffix_tells_the_format(tmp_path: Path, path: str, given: str | None, text: str) -> None:
    """Or the option does; a new file is private."""
    publish(build(tmp_path, path, format=given), "canary 1")
    assert (tmp_path / path).read_text() == text
    assert stat.S_IMODE((tmp_path / path).stat().st_mode) == 0o600


def test_keys_with_dots_lead_into_maps(tmp_path: Path) -> None:
    """In JSON and YAML; a dotenv variable has no dots."""
    for path, load in (("a.json", json.loads), ("a.yaml", yaml.safe_load)):
        publish(build(tmp_path, path), "canary-1", key="database.primary.password")
        publish(build(tmp_path, path), "canary-2", key="database.replica.password")
        content = load((tmp_path / path).read_text())
        assert content == {"database": {"primary": {"password": "canary-1"}, "replica": {"password": "canary-2"}}}
    with pytest.raises(Rejected):
        publish(build(tmp_path), "canary-1", key="database.password")


def test_mode_and_owner_stay(tmp_path: Path) -> None:
    """Whoever could read the file can read it afterwards, and nobody else."""
    file = tmp_path / "app.env"
    file.write_text("KEY=old\n")
    file.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(file, NOBODY, NOBODY)
    before = file.stat()
    publish(build(tmp_path), "canary-1")
    after = file.stat()
    assert (after.st_mode, after.st_uid, after.st_gid) == (before.st_mode, before.st_uid, before.st_gid)
    assert after.st_ino != before.st_ino


def test_the_access_list_stays(tmp_path: Path) -> None:
    """A reader who was let in by name is let in afterwards."""
    file = tmp_path / "app.env"
    file.write_text("KEY=old\n")
    # Version 2; entries (tag, permissions, id): owner rw, user 65534 r, group none, mask r, others none.
    entries = (
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 4, NOBODY),
        (0x04, 0, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF),
        (0x20, 0, 0xFFFFFFFF),
    )
    access = (2).to_bytes(4, "little") + b"".join(
        tag.to_bytes(2, "little") + bits.to_bytes(2, "little") + who.to_bytes(4, "little") for tag, bits, who in entries
    )
    try:
        os.setxattr(file, "system.posix_acl_access", access)
    except (OSError, AttributeError):
        pytest.skip("this file system has no access lists")
    publish(build(tmp_path), "canary-1")
    assert os.getxattr(file, "system.posix_acl_access") == access


def test_the_same_value_is_not_written_again(tmp_path: Path) -> None:
    """A program that watches the file sees nothing, however often the promotion is repeated."""
    file = tmp_path / "app.env"
    file.write_text('export KEY="canary-1"   # ours\n')
    os.utime(file, ns=(1, 1))
    before = file.stat()
    publish(build(tmp_path), "canary-1")
    after = file.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    """A folder that keyturn made would hide a mistake in the path."""
    with pytest.raises(Rejected) as refused:
        publish(build(tmp_path, "none/app.env"), "canary-1")
    assert refused.value.advice == "Create the folder first."
    assert not (tmp_path / "none").exists()


def test_a_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    store = build(tmp_path)
    publish(store, "canary-1")
    with file_size_limit(4096), pytest.raises(Unavailable):
        publish(store, "canary" * 10_000)
    assert (tmp_path / "app.env").read_text() == "KEY=canary-1\n"
    assert {file.name for file in tmp_path.iterdir()} == {"app.env", ".app.env.lock"}


@pytest.mark.slow
def test_processes_that_publish_at_once_lose_nothing(tmp_path: Path) -> None:
    """Two services may publish to one file."""

    def write(process: int) -> None:
        for number in range(15):
            publish(build(tmp_path), f"canary-{number}", key=f"KEY_{process}_{number}")

    children = [forked(partial(write, process)) for process in range(3)]
    assert all_ended_well(children)
    assert len((tmp_path / "app.env").read_text().splitlines()) == 45


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    """What it leads to is replaced, over several links and from any folder."""
    (tmp_path / "shared").mkdir()
    (tmp_path / "release").mkdir()
    (tmp_path / "shared" / "app.env").write_text("KEY=old\n")
    (tmp_path / "release" / "inner").symlink_to("../shared/app.env")
    (tmp_path / "app.env").symlink_to("release/inner")
    publish(build(tmp_path), "canary-1")
    assert (tmp_path / "app.env").is_symlink()
    assert (tmp_path / "release" / "inner").is_symlink()
    assert (tmp_path / "shared" / "app.env").read_text() == "KEY=canary-1\n"


def test_a_link_to_nothing_makes_the_file(tmp_path: Path) -> None:
    (tmp_path / "app.env").symlink_to("real.env")
    publish(build(tmp_path), "canary-1")
    assert (tmp_path / "real.env").read_text() == "KEY=canary-1\n"


def test_links_that_are_not_followed(tmp_path: Path) -> None:
    """A circle, and what the kubelet writes."""
    (tmp_path / "circle.env").symlink_to("circle.env")
    (tmp_path / "volume.env").symlink_to("..data/app.env")
    for name, why in (("circle.env", "40 symbolic links"), ("volume.env", "Kubernetes")):
        with pytest.raises(Rejected, match=why):
            publish(build(tmp_path, name), "canary-1")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link that belongs to another user")
def test_a_link_that_another_user_made_is_not_followed(tmp_path: Path) -> None:
    """It could lead to a file that only we may write."""
    (tmp_path / "real.env").write_text("KEY=old\n")
    (tmp_path / "app.env").symlink_to("real.env")
    os.chown(tmp_path / "app.env", NOBODY, NOBODY, follow_symlinks=False)
    with pytest.raises(Rejected, match="another user"):
        publish(build(tmp_path), "canary-1")
    assert (tmp_path / "real.env").read_text() == "KEY=old\n"


@pytest.mark.parametrize(
    ("path", "content"),
    [("app.env", b"KEY=canary\xff\n"), ("app.json", b'{"KEY": "canary'), ("app.yaml", b"KEY: 'canary\n")],
)
def test_a_file_that_cannot_be_read_is_left_as_it_is(tmp_path: Path, path: str, content: bytes) -> None:
    """The refusal names the file and shows none of it."""
    (tmp_path / path).write_bytes(content)
    store = build(tmp_path, path)
    with pytest.raises(Rejected, match=path) as publishing:
        publish(store, "canary-1")
    with pytest.raises(Rejected, match=path) as reading:
        store.read("KEY", CURRENT)
    assert "canary" not in str(publishing.value) + str(reading.value)
    assert (tmp_path / path).read_bytes() == content


@pytest.mark.parametrize("path", ["app.env", "app.json", "app.yaml"])
def test_a_byte_order_mark_stays(tmp_path: Path, path: str) -> None:
    """Some editors write one; it is no part of the first key."""
    text = {"app.env": "KEY=old\n", "app.json": '{"KEY": "old"}', "app.yaml": "KEY: old\n"}[path]
    (tmp_path / path).write_text("\ufeff" + text, encoding="utf-8")
    publish(build(tmp_path, path), "canary-1")
    written = (tmp_path / path).read_text(encoding="utf-8")
    assert written.startswith("\ufeff")
    assert written.count("KEY") == 1
    value = build(tmp_path, path).read("KEY", CURRENT)
    assert value is not None
    assert value.revealed() == "canary-1"


@pytest.mark.parametrize(
    "given",
    [{"path": ""}, {"path": "a", "format": "ini"}, {"path": "a.json", "quotes": "never"}, {"path": "a", "x": 1}],
    ids=str,
)
def test_wrong_options_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(given, Options)


def test_the_check_changes_nothing_and_names_what_is_wrong(tmp_path: Path) -> None:
    """Folder, mode and content are looked at."""
    store = build(tmp_path)
    assert isinstance(store, Checkable)
    assert {finding.severity for finding in store.check()} == {Severity.OK}
    assert list(tmp_path.iterdir()) == []

    file = tmp_path / "app.env"
    file.write_text("KEY=old\n")
    file.chmod(0o644)
    assert [finding.severity for finding in store.check()] == [Severity.OK, Severity.WARN]
    file.write_bytes(b"\xff")
    assert [finding.severity for finding in store.check()] == [Severity.FAIL]
    missing = build(tmp_path, "none/app.env")
    assert isinstance(missing, Checkable)
    assert missing.check()[0].severity is Severity.FAIL
