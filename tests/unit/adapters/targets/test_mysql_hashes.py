"""What servers keep of a password, held against values that servers and other programs made."""

from __future__ import annotations

import subprocess

import pytest

from adapters.targets.mysql_hashes import CACHING_SHA2, ED25519, NATIVE, PLUGINS, Entry, _sha_crypt

FROM_MYSQL = (
    "$A$005$" + bytes.fromhex("F9CC98CE08892924F50A213B6BC571A2C11778C5").decode("latin-1"),
    bytes.fromhex("625479393559393965414D45316477456B484F41316E64484742577A2E3162785353526B7554584647562F").decode(),
)
"""Salt and digest of the password `hashcat`: the example of hashcat's mode 7401, in the form of mysql.user."""


def test_mysql_fits_what_a_mysql_kept() -> None:
    stored = "".join(FROM_MYSQL)
    assert PLUGINS[CACHING_SHA2].is_password(stored)
    assert PLUGINS[CACHING_SHA2].fits(stored, b"hashcat")
    assert not PLUGINS[CACHING_SHA2].fits(stored, b"hashcat ")


@pytest.mark.parametrize(
    ("password", "salt"), [("Hello world!", "saltstring"), ("x" * 200, "abc"), ("ü$ '", "0123456789abcdef")]
)
def test_the_digest_is_that_of_openssl(password: str, salt: str) -> None:
    """For salts as short as crypt(3) has them it is SHA-crypt."""
    command = ["openssl", "passwd", "-5", "-salt", salt, "-stdin"]
    made = subprocess.run(command, input=f"{password}\n", capture_output=True, text=True, check=True).stdout.strip()
    assert made.rpartition("$")[2] == _sha_crypt(password.encode(), salt.encode(), 5000)


@pytest.mark.parametrize(
    ("plugin", "password", "stored"),
    [
        # MySQL Reference Manual, PASSWORD('mypass'); and MariaDB's documentation of the ed25519 plugin.
        (NATIVE, "mypass", "*6C8989366EAF75BB670AD8EA7A7FC1176A95CEF4"),
        (ED25519, "secret", "ZIgUREUg5PVgQ6LskhXmO+eZLS0nC8be6HPjYWR4YJY"),
    ],
)
def test_mariadb_keeps_the_same(plugin: str, password: str, stored: str) -> None:
    assert PLUGINS[plugin].stored(password.encode()) == stored


@pytest.mark.parametrize("plugin", PLUGINS)
def test_a_password_fits_what_is_kept_of_it_and_nothing_else(plugin: str) -> None:
    how = PLUGINS[plugin]
    stored = how.stored("canary-größe".encode())
    assert how.is_password(stored)
    assert how.fits(stored, "canary-größe".encode())
    for wrong in (b"", b"canary", stored.encode()):
        assert not how.fits(stored, wrong)
    for kept in (how.nothing, "", "x", "invalid"):
        assert not how.fits(kept, b"")
    assert not how.is_password(how.nothing)
    assert "canary" not in repr(Entry(plugin, stored))
    assert stored not in repr(Entry(plugin, stored))


def test_what_mysql_cannot_take_is_said() -> None:
    with pytest.raises(ValueError, match="256 bytes"):
        PLUGINS[CACHING_SHA2].stored(b"x" * 257)
    assert len(PLUGINS[CACHING_SHA2].stored(b"x" * 256)) == 70
