"""A strict reader of CloudEvents 1.0 in JSON: what is wrong with an event, by the specification. No tests live here.

Source: github.com/cloudevents/spec, cloudevents/spec.md and cloudevents/formats/json-format.md, 1.0.2.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Final

_ATTRIBUTE: Final = re.compile(r"[a-z0-9]{1,20}")
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})", re.ASCII)
_URI_REFERENCE: Final = re.compile(r"(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})+", re.ASCII)
_MEDIA_TYPE: Final = re.compile(r"[\w!#$&^.+-]+/[\w!#$&^.+-]+(?:;.*)?", re.ASCII)
_REVERSE_DNS: Final = re.compile(r"[a-z]{2,}(?:\.[a-z0-9_]+)+", re.ASCII)
"""The specification says that a type SHOULD begin with a reversed DNS name; here it must."""
_NOT_IN_STRINGS: Final = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")

_FORMS: Final[dict[str, Callable[[str], object]]] = {
    "source": _URI_REFERENCE.fullmatch,
    "type": _REVERSE_DNS.fullmatch,
    "time": _RFC3339.fullmatch,
    "datacontenttype": _MEDIA_TYPE.fullmatch,
    "dataschema": _URI_REFERENCE.fullmatch,
}
_REQUIRED: Final = ("id", "source", "specversion", "type")


def problems(body: bytes) -> list[str]:
    """Return what is wrong with the bytes of one event; nothing for a good one."""
    try:
        event = json.loads(body.decode(), object_pairs_hook=_once, parse_constant=_no_constant)
    except ValueError as error:
        return [f"no JSON: {error}"]
    if not isinstance(event, dict):
        return ["no JSON object"]
    found = [f"{name} is missing" for name in _REQUIRED if not event.get(name)]
    if event.get("specversion") != "1.0":
        found.append("specversion is not 1.0")
    if "data" in event and "data_base64" in event:
        found.append("both data and data_base64")
    for name, value in event.items():
        if name not in ("data", "data_base64"):
            found += _problems_of_attribute(name, value)
    return found


def _problems_of_attribute(name: str, value: object) -> list[str]:
    if not _ATTRIBUTE.fullmatch(name):
        return [f"{name!r} is no name of an attribute"]
    if not isinstance(value, str):
        known = name in _FORMS or name in {*_REQUIRED, "subject"}
        return [f"{name} is no string"] if known or not isinstance(value, bool | int) else []
    if not value:
        return [f"{name} is empty"]
    if _NOT_IN_STRINGS.search(value):
        return [f"{name} has a character that no string has"]
    return [] if name not in _FORMS or _FORMS[name](value) else [f"{name} does not have its form"]


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is there twice")
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
