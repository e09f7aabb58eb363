"""The page on health checks: its example can be configured so, and its table is of every check there is."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.config.load import parse
from adapters.registry import CHECK_GROUP, SHIPPED, check_adapter

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "watch-a-new-version.md").read_text(encoding="utf-8")
KINDS = {"PostgreSQL": "postgresql", "MariaDB": "mariadb", "MySQL": "mysql", "Redis": "redis"}


def test_the_example_is_taken() -> None:
    (example,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    checks = parse(example.encode(), path=Path("/etc/keyturn/keyturn.yaml"), shown="page").services["app-db"].checks
    written = re.findall(r"- \{?type: (\w+)", example)
    assert [check.type for check in checks] == written
    assert len(set(written)) == 6


def test_the_table_says_which_check_fits_which_kind() -> None:
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert {name for name, _ in rows} <= set(SHIPPED[CHECK_GROUP])
    for name, kinds in rows:
        expected = set() if kinds == "every service" else {KINDS[kind] for kind in kinds.split(", ")}
        assert check_adapter(name).kinds == expected
    assert len(rows) >= 13


def test_every_option_in_the_table_exists() -> None:
    for row in re.findall(r"^\| `\w+` \|.*", PAGE, re.MULTILINE):
        name, *options = re.findall(r"`(\w+)`", row)
        assert set(options) <= set(check_adapter(name).options.__struct_fields__), name
