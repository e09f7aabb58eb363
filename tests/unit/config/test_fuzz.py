"""Whatever stands in the file, it is a configuration or it is refused: no other error, and no waiting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.config import refused, schema
from adapters.config.convert import structure
from adapters.config.load import parse
from adapters.config.problems import ConfigInvalid
from adapters.config.starter import starter
from tests.unit.config.reading import reads, service

FIXED = settings(max_examples=150, deadline=2000, suppress_health_check=[HealthCheck.too_slow], derandomize=True)


def read(raw: bytes) -> None:
    """Read a text; only `ConfigInvalid` may come of it, and what it says can be printed."""
    try:
        parse(raw, path=Path("/nowhere/keyturn.yaml"))
    except ConfigInvalid as error:
        for problem in error.problems:
            str(problem).encode()
            assert problem.line >= 1
            assert problem.message


KEYS = sorted(
    {
        field.encode_name
        for cls in (
            schema.FileKeys,
            schema.ServiceKeys,
            schema.Rotation,
            schema.Password,
            schema.Rollback,
            schema.Retry,
        )
        for field in structure(cls).fields
    }
    | {key for keys in refused.REFUSED.values() for key in keys}
    | {"host", "path", "key_file", "admin_credentials", "username", "store", "key", "template", "from"}
)
WORDS = [
    *["memory", "encrypted-file", "env-file", "postgresql", "redis", "dual", "alternating", "canary", "30d", "1s"],
    *["store://held/x#password", "env://X", "file:///x", "{{ password }}", "{{ 9**9**9 }}", "{{.X}}", "{% for", "held"],
    *["", "NO", "0123", "2024-13-45", "+99:99", "../x", "\x85", "\u202e", "é", "9" * 5000, "<<", "!", "*a", "&a"],
]
LEAF = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text(max_size=20), st.just(1)
)
TREE = st.recursive(
    LEAF,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([*KEYS, "held", "app"]) | st.text(max_size=5), inner, max_size=6)
    ),
    max_leaves=30,
)


@FIXED
@given(st.binary(max_size=400))
@pytest.mark.slow
def test_any_bytes_are_refused_or_read(raw: bytes) -> None:
    read(raw)


@FIXED
@given(st.text(alphabet=st.sampled_from("ab:-[]{}&*!|>'\"%@`#?,\n \t\\0.~<"), max_size=200))
@pytest.mark.slow
def test_any_text_made_of_the_signs_of_yaml_is_refused_or_read(text: str) -> None:
    read(text.encode())


@FIXED
@given(TREE)
@pytest.mark.slow
def test_any_tree_of_known_keys_is_refused_or_read(tree: Any) -> None:
    """Keys in wrong places, with wrong values, of wrong forms."""
    read(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@FIXED
@given(rotation=TREE, option=TREE, store=TREE, publish=TREE)
@pytest.mark.slow
def test_any_value_within_a_configuration_is_refused_or_read(
    rotation: Any, option: Any, store: Any, publish: Any
) -> None:
    """The parts of a service and a store, each anything."""
    credential = {"username": "app", "store": "held", "key": "x"}
    services = {
        "app": {
            "type": "postgresql",
            "host": option,
            "credential": credential,
            "rotation": rotation,
            "publish": publish,
        },
        "two": {"type": "memory", "credential": option, "rotation": {"strategy": "dual", "password": rotation}},
    }
    tree = {"version": 1, "secretStores": {"held": {"type": "memory"}, "s": store}, "services": services}
    read(yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "surrogatepass"))


@FIXED
@given(st.data())
@pytest.mark.slow
def test_a_configuration_that_was_damaged_is_refused_or_read(data: st.DataObject) -> None:
    """A character dropped, doubled or replaced, anywhere in the starter."""
    text = starter()
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(text) - 1))
        text = (
            text[:at]
            + data.draw(st.sampled_from(["", text[at] * 2, "\n", ":", "{", "'", "\t", "é", "&", "*"]))
            + text[at + 1 :]
        )
    read(text.encode())


@FIXED
@given(st.text(alphabet=st.sampled_from("{}%#-|.()[]'\"*+~ abif\n0"), max_size=80))
@pytest.mark.slow
def test_any_template_is_refused_or_compiled(template: str) -> None:
    read(service(keys=f"publish: [{{store: other, key: x, template: {yaml.dump(template)[:-1]}}}]").encode())


def typos(word: str) -> list[str]:
    """Return some texts that are one edit away from a word."""
    middle = len(word) // 2
    return [
        word[:middle] + word[middle + 1 :],
        word[:middle] + "x" + word[middle:],
        word[:middle] + "x" + word[middle + 1 :],
        word[: middle - 1] + word[middle] + word[middle - 1] + word[middle + 1 :],
    ]


def test_nearly_every_typo_is_told_with_the_key_that_was_meant() -> None:
    """95 of 100 typos of one letter, over all keys of `rotation`."""
    hits: list[bool] = []
    known = [field.encode_name for field in structure(schema.Rotation).fields]
    for key in known:
        for typo in set(typos(key)) - set(known) - set(refused.REFUSED[schema.Rotation]):
            with pytest.raises(ConfigInvalid) as raised:
                reads(service(rotation=f"{typo}: 1"))
            hits.append(raised.value.problems[0].hint == f"Did you mean {key!r}?")
    assert sum(hits) >= 0.95 * len(hits)
