"""Time, randomness and ids come in from outside, so that a simulation owns them; secrets leave in few places."""

from __future__ import annotations

import ast
import re
import sys

import pytest

from tests.architecture.source import PRODUCT, ROOT, Source, dotted, imported, project_files, sources

IMPURE_CALLS = re.compile(
    r"""(^|\.)(
        (datetime|date)\.(now|utcnow|today) | now | utcnow
      | time\.(time|time_ns|monotonic|monotonic_ns|perf_counter|sleep)
      | uuid[14678] | os\.\w+ | random\.\w+ | secrets\.\w+ | token_(hex|bytes|urlsafe)
      | open | print | input | breakpoint | eval | exec | __import__
      | read_(text|bytes) | write_(text|bytes)
    )$""",
    re.VERBOSE,
)
ON_A_PORT = re.compile(r"(^|\.)_?clock\.now$")
"""`clock.now()` is the port Clock: time that comes in from outside."""

ENGINE_STANDS_ON = {"msgspec", "transitions"}
"""The libraries that the domain is written with; all others are for adapters."""


def _calls(source: Source) -> list[tuple[str, str]]:
    return [
        (source.at(node), dotted(node.func))
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call) and dotted(node.func)
    ]


@pytest.mark.parametrize("source", sources("engine", "projections"), ids=str)
def test_the_engine_and_the_projections_take_nothing_from_the_outside(source: Source) -> None:
    """No time, no random number, no fresh id, no file is had but through an argument."""
    found = [
        f"{where} {name}" for where, name in _calls(source) if IMPURE_CALLS.search(name) and not ON_A_PORT.search(name)
    ]
    assert not found


@pytest.mark.parametrize(
    "call", ["datetime.now", "time.time", "uuid4", "uuid.uuid4", "os.urandom", "random.random", "open"]
)
def test_the_pattern_of_impure_calls_sees_what_it_is_for(call: str) -> None:
    assert IMPURE_CALLS.search(call)


@pytest.mark.parametrize("source", sources("engine"), ids=str)
def test_the_engine_stands_on_two_libraries(source: Source) -> None:
    """Anything else that it imports is the standard library, or itself."""
    roots = {name.split(".")[0] for name in imported(source.tree)}
    assert roots <= {*sys.stdlib_module_names, *ENGINE_STANDS_ON, "engine"}


def test_the_public_names_import_the_engine_alone() -> None:
    """So `import keyturn` starts fast, and drags no driver into a plugin."""
    (source,) = sources("keyturn.py")
    assert {name.split(".")[0] for name in imported(source.tree)} <= {"engine", "typing"}


@pytest.mark.parametrize("source", sources(*PRODUCT), ids=str)
def test_no_shell_and_no_unsafe_loader(source: Source) -> None:
    """Nothing builds a command line for a shell, unpickles, or loads YAML that could make objects."""
    text = source.text
    assert not re.search(r"shell\s*=\s*True", text)
    assert not {name.split(".")[0] for name in imported(source.tree)} & {"pickle", "marshal", "shelve", "dill"}
    assert not [
        name for _, name in _calls(source) if name in {"os.system", "os.popen", "yaml.load", "yaml.unsafe_load"}
    ]


def test_no_file_names_a_place_of_the_machine_it_was_written_on() -> None:
    """Every path is relative to the project, or belongs to the operating system."""
    checkout = re.escape(f"{ROOT}/")
    homes = re.compile(rf"(?<![\w.])(?:/(?:home/\w+|Users/\w+|root)/|{checkout})")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in project_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if homes.search(line)
    ]
    assert not found
