"""Adapters are found by name, one at a time, and a plugin's like our own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from adapters.registry import (
    SHIPPED,
    STORE_GROUP,
    TARGET_GROUP,
    BrokenAdapter,
    UnknownAdapter,
    installed,
    store_adapter,
    target_adapter,
)
from adapters.stores import memory as memory_store
from adapters.targets import memory as memory_target
from engine.errors import ExitCode
from tests.unit.config.conftest import plugin

__all__ = ["plugin"]


def test_what_ships_is_what_is_announced() -> None:
    """The table here and the entry points of the distribution are the same."""
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"] == SHIPPED


@pytest.mark.parametrize("name", SHIPPED[TARGET_GROUP])
def test_a_target_that_ships_is_called_by_its_name(name: str) -> None:
    adapter = target_adapter(name)
    assert adapter.name == name
    assert adapter.strategies
    assert adapter.summary


@pytest.mark.parametrize("name", SHIPPED[STORE_GROUP])
def test_a_store_that_ships_is_called_by_its_name(name: str) -> None:
    adapter = store_adapter(name)
    assert adapter.name == name
    assert adapter.summary


def test_an_adapter_that_ships_is_the_one_of_its_module() -> None:
    assert target_adapter("memory") is memory_target.ADAPTER
    assert store_adapter("memory") is memory_store.ADAPTER


def test_a_plugin_is_found_by_its_entry_point(plugin: Path) -> None:
    assert target_adapter("widget").summary == "a widget"
    assert store_adapter("drawer").summary == "a drawer"
    assert installed(TARGET_GROUP)["widget"] == "keyturn_widget:TARGET"
    assert set(SHIPPED[TARGET_GROUP]) < set(installed(TARGET_GROUP))


def test_a_plugin_does_not_take_the_name_of_what_ships(plugin: Path) -> None:
    points = plugin / "keyturn_widget-1.0.dist-info" / "entry_points.txt"
    points.write_text("[keyturn.targets]\nmemory = keyturn_widget:TARGET\n")
    assert target_adapter("memory") is memory_target.ADAPTER
    assert installed(TARGET_GROUP)["memory"] == SHIPPED[TARGET_GROUP]["memory"]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [("memry", "Did you mean 'memory'?"), ("postgres", "Did you mean 'postgresql'?"), ("widgett", "'widget'")],
)
def test_an_unknown_type_is_told_with_the_one_that_was_meant(plugin: Path, name: str, suggestion: str) -> None:
    with pytest.raises(UnknownAdapter) as raised:
        target_adapter(name)
    assert suggestion in raised.value.message
    assert raised.value.exit_code is ExitCode.USAGE


def test_a_type_that_resembles_nothing_gets_no_suggestion() -> None:
    with pytest.raises(UnknownAdapter) as raised:
        store_adapter("xyzzy")
    assert raised.value.message == "There is no store of type 'xyzzy'."
    assert raised.value.advice


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("broken", "No module named 'keyturn_widget_that_is_gone'"),
        ("nameless", "has no attribute 'NOTHING'"),
        ("mistaken", "it is not a TargetAdapter"),
    ],
)
def test_an_adapter_that_cannot_be_loaded_says_why(plugin: Path, name: str, why: str) -> None:
    with pytest.raises(BrokenAdapter) as raised:
        target_adapter(name)
    assert why in raised.value.message
    assert "keyturn_widget" in raised.value.message
    assert raised.value.exit_code is ExitCode.USAGE


@pytest.mark.slow
def test_loading_one_adapter_loads_no_other() -> None:
    """Nor its driver, nor the scanner of installed packages."""
    probe = (
        "import sys; from adapters.registry import SHIPPED, target_adapter; target_adapter('memory');"
        "print(*sorted({'psycopg', 'redis', 'importlib.metadata', 'adapters.targets.redis',"
        "'adapters.targets.postgresql', 'adapters.stores.env_file'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", probe], check=True, capture_output=True, text=True)
    assert found.stdout.split() == []
