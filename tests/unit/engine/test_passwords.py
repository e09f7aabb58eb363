"""Generated passwords: as long, as varied and as unpredictable as their rule says."""

from __future__ import annotations

import random
import string
from math import isclose, log2

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.passwords import ALPHABETS, BITS_MIN, PasswordRule, alphabet_fault, entropy_bits, generate, length_min

PRINTABLE = "".join(chr(code) for code in range(0x21, 0x7F))
NO_LETTERS = "".join(character for character in PRINTABLE if character not in string.ascii_letters)
ALPHABET = st.lists(st.sampled_from(PRINTABLE), min_size=2, unique=True).map("".join)


class Seeded:
    """Random bytes that a test can repeat, as `engine.ports.Entropy`."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def draw(self, count: int) -> bytes:
        """Return `count` bytes."""
        return self.random.randbytes(count)


class Counting:
    """Every byte in turn, so that each stands in 256 draws exactly once."""

    def __init__(self) -> None:
        self.next = 0

    def draw(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        drawn = bytes((self.next + index) % 256 for index in range(count))
        self.next += count
        return drawn


@given(length=st.integers(1, 200), characters=ALPHABET, seed=st.integers(0, 2**32))
def test_a_password_follows_its_rule(length: int, characters: str, seed: int) -> None:
    """Its length, its alphabet, and a letter first where there is one."""
    text = generate(PasswordRule(length, characters), Seeded(seed)).reveal()
    assert len(text) == length
    assert set(text) <= set(characters)
    assert text[0] in string.ascii_letters or not set(characters) & set(string.ascii_letters)


@given(characters=st.lists(st.sampled_from(NO_LETTERS), min_size=2, unique=True).map("".join))
def test_every_character_is_as_likely_as_the_others(characters: str) -> None:
    """Of 256 bytes, each once, every character takes the same number; the rest is thrown away."""
    each = 256 // len(characters)
    text = generate(PasswordRule(each * len(characters), characters), Counting()).reveal()
    assert {text.count(character) for character in characters} == {each}


@pytest.mark.parametrize("name", ALPHABETS)
def test_the_named_alphabets_are_even_in_every_place(name: str) -> None:
    """Chi squared over 4,000 passwords with a fixed seed, per place: 5 standard deviations at most."""
    characters = ALPHABETS[name]
    drawn = Seeded(20)
    passwords = [generate(PasswordRule(4, characters), drawn).reveal() for _ in range(4_000)]
    assert len({*passwords}) > 3_000 or name == "hex"
    for place in range(1, 4):
        expected = len(passwords) / len(characters)
        squared = sum((sum(p[place] == c for p in passwords) - expected) ** 2 / expected for c in characters)
        degrees = len(characters) - 1
        assert abs(squared - degrees) < 5 * (2 * degrees) ** 0.5


@given(length=st.integers(1, 3), characters=ALPHABET)
def test_entropy_counts_the_passwords_that_there_are(length: int, characters: str) -> None:
    first = sum(character in string.ascii_letters for character in characters) or len(characters)
    assert isclose(entropy_bits(PasswordRule(length, characters)), log2(first * len(characters) ** (length - 1)))


@given(characters=ALPHABET)
def test_the_shortest_strong_length_is_strong_and_the_shortest(characters: str) -> None:
    length = length_min(characters)
    assert entropy_bits(PasswordRule(length, characters)) >= BITS_MIN
    assert entropy_bits(PasswordRule(length - 1, characters)) < BITS_MIN


def test_the_default_is_as_strong_as_promised() -> None:
    """32 characters of 64: 192 bits, less what the first being a letter costs."""
    assert 191 < entropy_bits(PasswordRule()) < 192


def test_an_empty_password_has_no_entropy() -> None:
    assert entropy_bits(PasswordRule(0, "ab")) == 0


def test_the_named_alphabets_are_what_their_names_say() -> None:
    assert {name: len(characters) for name, characters in ALPHABETS.items()} == {
        "url-safe": 64,
        "alphanumeric": 62,
        "hex": 16,
        "ascii-printable": 90,
    }
    assert not set(ALPHABETS["ascii-printable"]) & set("'\"`\\ ")
    assert set(ALPHABETS["url-safe"]) == set(string.ascii_letters + string.digits + "-_")
    assert all(not alphabet_fault(characters) for characters in ALPHABETS.values())


@pytest.mark.parametrize("characters", ["", "a", "aa", "a b", "aé", "a\n", "a\x00"])
def test_an_alphabet_that_cannot_be_used_is_told(characters: str) -> None:
    assert alphabet_fault(characters)


def test_a_password_is_not_shown() -> None:
    assert generate(PasswordRule(), Seeded(1)).reveal() not in repr(generate(PasswordRule(), Seeded(1)))
