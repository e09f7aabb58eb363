"""SCRAM and SASLprep agree with the RFCs, and with the library that PostgreSQL's own clients use."""

from __future__ import annotations

import base64

import psycopg
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.targets.postgresql_scram import ITERATIONS_MAX, ScramClient, prepare, verifier

NONCE = "rOprNGfwEbeRWgbNEkqO"
CHALLENGE = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"


def test_the_example_of_the_rfc() -> None:
    """RFC 7677, section 3, but for the name, which PostgreSQL's clients leave out of the exchange."""
    client = ScramClient("pencil", nonce=NONCE)
    client._bare = f"n=user,r={NONCE}"
    assert client.final(CHALLENGE).endswith(b",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
    assert client.is_server(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")
    assert not client.is_server(b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=")


@pytest.mark.parametrize(
    "challenge",
    [
        b"",
        b"e=other-error",
        CHALLENGE.replace(b"rOprNG", b"XXXXXX"),
        b"r=" + NONCE.encode() + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
        CHALLENGE.replace(b"i=4096", b"i=0"),
        CHALLENGE.replace(b"i=4096", f"i={ITERATIONS_MAX + 1}".encode()),
        CHALLENGE.replace(b"i=4096", b"i=many"),
        CHALLENGE.replace(b"s=W22", b"s=!!!"),
        b"\xff\xfe",
    ],
)
def test_a_dishonest_challenge_is_not_answered(challenge: bytes) -> None:
    """Another nonce, ours unchanged, no bounds and no sense: there is no proof to be had for them."""
    with pytest.raises(ValueError):
        ScramClient("canary-password", nonce=NONCE).final(challenge)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12))
@example("canary-I\u00adX")
@example("canary-\u2168")
@example("canary\u00a0space")
@example("\u0627\u0031")
@example("\u00ad")
@example("canary\u200bspace")
@example("canary-größe-パスワード-🔑")
def test_a_verifier_is_that_of_the_clients_of_postgresql(password: str) -> None:
    """Whatever the password, a client that uses libpq computes the same keys."""
    theirs = psycopg.pq.PGconn.connect_start(b"host=127.0.0.1 port=1").encrypt_password(
        password.encode(), b"app", b"scram-sha-256"
    )
    salt = base64.b64decode(theirs.split(b"$")[1].split(b":")[1])
    assert verifier(password, salt=salt).encode() == theirs


@given(st.text(st.characters(codec="ascii", exclude_characters="\0")))
def test_ascii_stays_as_it_is(password: str) -> None:
    """Generated passwords are ASCII, and nothing is done to them."""
    assert prepare(password) == password.encode()
