"""The options of Redis say what is wrong with them before anything is connected to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from adapters.targets import redis
from adapters.targets.redis import Node, RedisOptions
from engine.adapter import Duration, Reference
from engine.plan import LoginBudget
from engine.values import SECOND, Microseconds, Secret
from tests.contract.test_targets_redis import redis_context, redis_options


@pytest.mark.parametrize(
    ("text", "node"),
    [
        ("cache.internal:6380", Node("cache.internal", 6380)),
        ("cache.internal", Node("cache.internal", 6379)),
        ("10.0.0.5:7000", Node("10.0.0.5", 7000)),
        ("[2001:db8::1]:6379", Node("2001:db8::1", 6379)),
    ],
)
def test_a_server_is_written_host_and_port(text: str, node: Node) -> None:
    """The port may be left out."""
    assert redis_options(text).servers() == (node,)
    assert redis_options(str(node)).servers() == (node,)


@pytest.mark.parametrize(
    "given",
    [
        {"nodes": []},
        {"nodes": ["a:6379"], "host": "b"},
        {"nodes": ["a:6379", "a"]},
        {"nodes": ["a:99999"]},
        {"nodes": ["a:port"]},
        {"nodes": ["redis://a:6379"]},
        {"nodes": ["user:canary@a:6379"]},
        {"nodes": ["a:6379/0"]},
        {"persist": "aof"},
        {"tls": "require"},
        {"command_timeout": "5s"},
        {"command_timeout": "1ms"},
        {"command_timeout": "3"},
        {"verification_command": []},
        {"acl": [">canary"]},
        {"acl": ["#" + "0" * 64]},
        {"acl": ["!" + "0" * 64]},
        {"acl": ["<canary"]},
        {"acl": ["NoPass"]},
        {"acl": ["resetpass"]},
        {"acl": ["reset"]},
        {"acl": ["off"]},
        {"acl": [""]},
        {"admin_credentials": {"password": "canary"}},
        {"login_budget": {"tries": 0, "window": "1m"}},
        {"sentinel": True},
    ],
)
def test_a_wrong_option_is_refused_without_repeating_a_secret(given: dict[str, object]) -> None:
    """What cannot be meant is refused when it is read, and the error shows no password."""
    with pytest.raises(msgspec.ValidationError) as caught:
        redis_options("a:6379", **given)
    assert "canary@" not in str(caught.value)
    assert ">canary" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "a:canary",
        "a:99999",
        "a:0",
        "[canary:1",
        "[canary]:1",
        "canary\n:1",
        "\u2100canary:1",
        "u:canary@a:x",
        "a:1/canary",
        "a canary",
        "a canary:1",
        "canary\u00a0:1",
        "canary\u200b:1",
    ],
)
def test_a_wrong_server_is_not_repeated(text: str) -> None:
    """The sentence is ours, whatever part is wrong: somebody may have written a password where a port belongs."""
    with pytest.raises(msgspec.ValidationError, match="a server is written host:port") as caught:
        redis_options(text)
    assert "canary" not in str(caught.value)
    with pytest.raises(ValueError, match="1 to 65535") as raised:
        redis.node(text)
    assert raised.value.__cause__ is None
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_a_host_with_a_space_is_refused() -> None:
    with pytest.raises(ValueError, match="without spaces"):
        RedisOptions(admin_credentials=redis.AdminCredentials(password=Reference("env", "X")), host="a b")


def test_defaults_are_the_safe_ones() -> None:
    """TLS with a checked certificate, users saved, three seconds."""
    defaults = {field.name: field.default for field in msgspec.structs.fields(RedisOptions)}
    assert (defaults["tls"], defaults["persist"]) == ("verify-full", "acl-save")
    assert defaults["connect_timeout"] == defaults["command_timeout"] == Duration(3 * SECOND)


def test_a_login_budget_is_declared_as_given() -> None:
    """Redis counts no wrong logins; what stands in front of it may."""
    from adapters.targets.redis_target import RedisTarget

    context = redis_context("app", Secret("canary-admin"))
    given = RedisTarget(redis_options("a", login_budget={"tries": 4, "window": "15m"}), context)
    assert given.capabilities.login_budget == LoginBudget(4, Microseconds(900 * SECOND))
    assert RedisTarget(redis_options("a"), context).capabilities.login_budget is None


def test_the_driver_is_loaded_only_when_a_target_is_built() -> None:
    """The declaration alone costs nothing, and works where the extra is not installed."""
    code = (
        "import sys; sys.modules['redis'] = None\n"
        "from adapters.targets.redis import ADAPTER\n"
        "try: ADAPTER.build(None, None)\n"
        "except ModuleNotFoundError as error: sys.exit(0 if error.name == 'redis' else 1)\n"
        "sys.exit(2)"
    )
    root = Path(__file__).parents[4]
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=root).returncode == 0
