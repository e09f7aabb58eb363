"""Paths into JSON: the part of JSONPath (RFC 9535) that cannot leave out anything unseen.

Rule: what a path names must be there. JSONPath itself returns nothing for what is missing, and searches and filters
return what they find: a part of a list would pass for the whole of it. So there are names, `[0]` and `[*]`, no more.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

_STEP: Final = re.compile(
    r"""\.(?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | \[(?P<index>0|[1-9][0-9]{0,8})\]
      | \[(?P<all>\*)\]
      | \['(?P<single>[^'"\\\[\]]+)'\]
      | \["(?P<double>[^'"\\\[\]]+)"\]""",
    re.ASCII | re.VERBOSE,
)
_ALL: Final = object()
_LENGTH_MAX: Final = 500


class Unfit(ValueError):
    """A value is not of the form that was said; says where, and never what it is."""


class Missing(Unfit):
    """What a path names is not there; says which part of it."""

    def __init__(self, part: str, *, is_end: bool) -> None:
        super().__init__(f"{part} is not there")
        self.is_end = is_end
        """Only the last of its names is missing."""


class JsonPath:
    """A path: `$.fleet.instances[*]`, `$['node name']`, `$.zones[0]`; `$` alone is the whole."""

    def __init__(self, text: str) -> None:
        if not text.startswith("$") or len(text) > _LENGTH_MAX:
            raise ValueError("a path begins with $, as $.instances[*] or $.metadata.name")
        self.text = text
        self._steps: list[tuple[object, int]] = []
        position = 1
        while position < len(text):
            found = _STEP.match(text, position)
            if found is None:
                raise ValueError(
                    f"at character {position + 1}, .name, ['name'], [0] or [*] is expected: "
                    "filters, slices and searches are not supported, as they leave out what they do not find"
                )
            position = found.end()
            self._steps.append((_step(found), position))

    @property
    def is_single(self) -> bool:
        """It names one value."""
        return all(step is not _ALL for step, _ in self._steps)

    def one(self, value: Any) -> Any:
        """Return the one value that it names; raises `Missing`."""
        assert self.is_single, "checked by whoever takes the path"
        return next(self._walk(value, 0))

    def one_or(self, value: Any, otherwise: Any) -> Any:
        """Return the one value that it names, `otherwise` where just its last name is missing; raises `Missing`."""
        try:
            return self.one(value)
        except Missing as missing:
            if missing.is_end:
                return otherwise
            raise

    def all(self, value: Any) -> list[Any]:
        """Return every member of the lists that it names, with or without `[*]` at its end; raises `Unfit`."""
        if self._steps and self._steps[-1][0] is _ALL:
            return list(self._walk(value, 0))
        return [member for each in self._walk(value, 0) for member in _members(each, self.text)]

    def _walk(self, value: Any, index: int) -> Iterator[Any]:
        if index == len(self._steps):
            yield value
            return
        step, end = self._steps[index]
        if step is _ALL:
            before = self.text[: end - len("[*]")]
            for member in _members(value, before):
                yield from self._walk(member, index + 1)
            return
        is_there = step in value if isinstance(value, dict) and isinstance(step, str) else False
        if isinstance(value, list) and isinstance(step, int):
            is_there = step < len(value)
        if not is_there:
            raise Missing(self.text[:end], is_end=index + 1 == len(self._steps) and isinstance(value, dict))
        yield from self._walk(value[step], index + 1)


def _members(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise Unfit(f"{path} is no list")
    return value


def _step(found: re.Match[str]) -> object:
    if found["all"]:
        return _ALL
    if found["index"]:
        return int(found["index"])
    return found["name"] or found["single"] or found["double"]
