"""What is written to a dotenv file is read alike by python-dotenv and by a shell; the rest of the file stays."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import dotenv
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.stores import dotenv_text
from adapters.stores.text_edit import CannotCarry
from tests.contract.awkward import AWKWARD

TRICKY = st.text(alphabet=st.sampled_from("ab'\"\\$`{}()#=!~ \t\n\r%&;|é🔑n"), max_size=12)
AROUND = "# top\nFIRST='a b'\n\nexport SECOND=\"x # y\" # note\n  THIRD = three # comment\nLAST=\n"


def python_dotenv(text: str) -> dict[str, str | None]:
    """Return what python-dotenv reads, with its variables replaced as it does by default."""
    return dict(dotenv.dotenv_values(stream=io.StringIO(text, newline=None), interpolate=True))


def shell(text: str, names: list[str], folder: Path) -> list[str]:
    """Return what a POSIX shell has in the variables after reading the file."""
    (folder / "shell.env").write_text(text, encoding="utf-8", newline="")
    program = ". ./shell.env\n" + "\n".join(f'printf "%s\\0" "${name}"' for name in names)
    done = subprocess.run(
        ["sh", "-c", program], cwd=folder, capture_output=True, check=True, timeout=30, env={"HOME": "/"}
    )
    return done.stdout.decode().split("\0")[:-1]


@given(TRICKY)
def test_what_is_written_is_read_back(value: str) -> None:
    """python-dotenv and keyturn itself read the value; the lines around it stay byte for byte."""
    try:
        edited = dotenv_text.write(AROUND, "KEY", value)
    except CannotCarry:
        return
    assert edited.startswith(AROUND)
    assert dotenv_text.read(edited, "KEY") == value
    assert python_dotenv(edited) == {**python_dotenv(AROUND), "KEY": value}


@given(TRICKY, TRICKY)
def test_a_value_is_replaced_where_it_stands(first: str, second: str) -> None:
    """Writing a value over another gives the same file as writing it first."""
    try:
        before = dotenv_text.write("A=1\n", "KEY", first) + "B='2' # two\n"
        expected = dotenv_text.write("A=1\n", "KEY", second) + "B='2' # two\n"
    except CannotCarry:
        return
    assert dotenv_text.write(before, "KEY", second) == expected


@pytest.mark.slow
def test_a_shell_reads_the_same(tmp_path: Path) -> None:
    """Each awkward value, and every pair of tricky characters within text, is the same for the shell or refused."""
    tricky = "'\"\\$`{}()#=!~ \t\n%&;|*?[]<>é"
    values = [*AWKWARD.values(), *(f"a{one}{other}b" for one in tricky for other in tricky), *(f"{c}" for c in tricky)]
    text, kept = "", {}
    for number, value in enumerate(values):
        try:
            text += dotenv_text.write("", f"KEY_{number}", value)
        except CannotCarry:
            continue
        kept[f"KEY_{number}"] = value
    assert shell(text, list(kept), tmp_path) == list(kept.values())
    assert python_dotenv(text) == kept
    assert len(kept) > 0.9 * len(values)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", "KEY="),
        ("simple-1_2.3:/@%+,=", "KEY=simple-1_2.3:/@%+,="),
        ("two words", "KEY='two words'"),
        ("cash$money", "KEY='cash$money'"),
        ("postgresql://u:p@h/d?a=1&b=2", "KEY='postgresql://u:p@h/d?a=1&b=2'"),
        ("it's", 'KEY="it\'s"'),
        ("two\nlines", "KEY='two\nlines'"),
        ("~root", "KEY='~root'"),
    ],
)
def test_a_value_has_the_quotes_that_it_needs_and_no_more(value: str, written: str) -> None:
    assert dotenv_text.write("", "KEY", value) == f"{written}\n"


@pytest.mark.parametrize(
    "value", ["a\0b", "a\rb", "it's $5", "it's `id`", "${HOME}", "ends with\\", "it's\\", 'it\'s "x"']
)
def test_what_readers_read_differently_is_refused(value: str) -> None:
    """The reason does not tell the value."""
    with pytest.raises(CannotCarry) as refused:
        dotenv_text.write("", "KEY", value)
    assert value not in refused.value.reason


@pytest.mark.parametrize("key", ["", "1A", "A-B", "A.B", "A B", "A=B", "É", "A\n"])
def test_a_key_is_the_name_of_a_variable(key: str) -> None:
    with pytest.raises(CannotCarry):
        dotenv_text.write("", key, "value")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("KEY=old\n", "KEY=new\n"),
        ("KEY=old", "KEY=new"),
        ("KEY='old one' # note\n", "KEY=new # note\n"),
        ("export KEY=old # note\n", "export KEY=new # note\n"),
        ("  KEY  =  old\n", "  KEY  =  new\n"),
        ("KEY=old#not a comment\n", "KEY=new\n"),
        ("KEY= # note\n", "KEY= new # note\n"),
        ('KEY="old\nKEY=inside"\nB=1\n', "KEY=new\nB=1\n"),
        ("A='\nKEY=inside\n'\nKEY=old\n", "A='\nKEY=inside\n'\nKEY=new\n"),
        ("KEY=1\nB=2\nKEY=3\n", "KEY=new\nB=2\nKEY=new\n"),
        ("# KEY=old\n", "# KEY=old\nKEY=new\n"),
        ("A=1", "A=1\nKEY=new\n"),
        ("A=1\r\nKEY=old\r\nB=2\r\n", "A=1\r\nKEY=new\r\nB=2\r\n"),
        ("A=1\r\n", "A=1\r\nKEY=new\r\n"),
        ("KEYS=old\nMY_KEY=old\n", "KEYS=old\nMY_KEY=old\nKEY=new\n"),
        ("A=don't\nKEY=old\n", "A=don't\nKEY=new\n"),
        ("A='broken\nKEY=old\n", "A='broken\nKEY=new\n"),
        ("KEY=old\nnot a line\n\n\n", "KEY=new\nnot a line\n\n\n"),
    ],
)
def test_nothing_but_the_value_changes(before: str, after: str) -> None:
    """Comments, order, blank lines, line ends, spaces and other values stay."""
    assert dotenv_text.write(before, "KEY", "new") == after
    assert dotenv_text.read(after, "KEY") == "new"


def test_a_value_that_cannot_be_told_apart_is_refused() -> None:
    """A quote that does not end could take other lines with it."""
    with pytest.raises(CannotCarry, match="line 2"):
        dotenv_text.write("A=1\nKEY='old\n", "KEY", "new")


def test_a_new_value_never_closes_the_quote_of_another_line() -> None:
    """An open quote above, and quotes in the new value: together they would make one long value."""
    with pytest.raises(CannotCarry):
        dotenv_text.write("A='open\nB=1\n", "KEY", "two words")


def test_literal_values_have_no_quotes() -> None:
    """For readers that take all behind = as it is; a line break cannot be written so."""
    text = dotenv_text.write("A='1'\nKEY=old # one\n", "KEY", 'it\'s "$5" #x', literal=True)
    assert text == "A='1'\nKEY=it's \"$5\" #x\n"
    assert dotenv_text.read(text, "A", literal=True) == "'1'"
    with pytest.raises(CannotCarry):
        dotenv_text.write(text, "KEY", "two\nlines", literal=True)
