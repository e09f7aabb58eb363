"""A small part of Jinja2, for texts of the configuration that are filled later; checked when they are read.

Rule 1: sandboxed, strict about names, and without loops, calls, arithmetic or attributes, so that a template ends,
stays small, and reaches nothing but the names it is given.
Rule 2: no value ever stands in an error.
Rule 3: Jinja2 is imported when the first template is compiled, not when this file is.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from engine.errors import Rejected
from engine.values import Secret

if TYPE_CHECKING:
    import jinja2
    from jinja2 import nodes
    from jinja2.sandbox import ImmutableSandboxedEnvironment

LENGTH_MAX: Final = 8 * 1024
OUTPUT_MAX: Final = 64 * 1024
_DEPTH_MAX: Final = 12

_GO_FORMS: Final[dict[str, str]] = {
    "if": "{% if name == 'value' %}…{% endif %}",
    "else": "{% else %}",
    "end": "{% endif %}",
    "range": "no counterpart: there is nothing to repeat over",
    "with": "{% if name %}…{% endif %}",
    "define": "no counterpart: write the text out",
    "template": "no counterpart: write the text out",
    "block": "no counterpart: write the text out",
    "break": "no counterpart: there are no loops",
    "continue": "no counterpart: there are no loops",
    "eq": "{% if a == b %}",
    "ne": "{% if a != b %}",
    "printf": "{{ a }}{{ b }}",
    "urlquery": "{{ name|urlencode }}",
}
_EXPRESSION: Final = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_GO_DOT: Final = re.compile(r"(?<![\w.)\]\"'])\.(?=[A-Za-z_])")


class TemplateFault(ValueError):
    """A template that cannot be used: what is wrong, in words without a value, and what to do."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class Template:
    """A template that was compiled and whose names were all found."""

    __slots__ = ("_compiled", "_go_names", "names")

    def __init__(self, compiled: jinja2.Template, names: frozenset[str], go_names: Mapping[str, str]) -> None:
        self._compiled = compiled
        self._go_names = go_names
        self.names = names
        """The names that it uses."""

    def render(self, values: Mapping[str, object], *, what: str) -> Secret:
        """Return the text, a secret as it holds one; raises `Rejected` naming `what` where it cannot be made."""
        text = self.filled(values, what=what)
        if text is None:
            raise Rejected(what=what, why=f"the template makes more than {OUTPUT_MAX // 1024} KiB")
        return text

    def filled(self, values: Mapping[str, object], *, what: str) -> Secret | None:
        """Return what `render` returns; None where it is longer than `OUTPUT_MAX`."""
        from jinja2 import TemplateError

        text = ""
        try:
            for piece in self._compiled.generate(self._with_go_names(values)):
                text += piece
                if len(text) > OUTPUT_MAX:
                    return None
        except (TemplateError, TypeError, ValueError):
            # `from None`: the text of the original may hold a value.
            raise Rejected(what=what, why="the template cannot be filled with these values") from None
        return Secret(text)

    def _with_go_names(self, values: Mapping[str, object]) -> dict[str, object]:
        return {**{go: values[ours] for go, ours in self._go_names.items() if ours in values}, **values}


def compile_template(
    text: str, known: Collection[str] | None, *, go_names: Mapping[str, str], in_json: bool = False
) -> Template:
    """Compile a template that may use the names in `known` (None: any); raises `TemplateFault`.

    `go_names` are further names for some of them, those that Go templates have. `in_json`: what is filled in is
    escaped for a JSON string, a number is written as JSON has it, and None as `null`; what `tojson` made is left alone.
    """
    from jinja2 import TemplateError

    if len(text) > LENGTH_MAX:
        raise TemplateFault(f"the template is longer than {LENGTH_MAX // 1024} KiB.")
    environment = _environment(in_json=in_json)
    try:
        tree = environment.parse(_from_go(text))
        _refuse_unknown(tree, 0)
        names = frozenset(_names(tree))
        compiled = environment.from_string(tree)
    except TemplateFault:
        raise
    except (TemplateError, SyntaxError, ValueError, RecursionError, MemoryError):
        # The parser quotes the template, and limits of Python show through it (a number of 5,000 digits).
        hint = "Names stand in {{ }}, with filters behind a bar: {{ password|urlencode }}."
        raise TemplateFault("this is not a template.", hint) from None
    if known is not None:
        _check_names(names, known, go_names)
    return Template(compiled, names, go_names)


@cache
def _environment(*, in_json: bool) -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    environment = ImmutableSandboxedEnvironment(
        undefined=StrictUndefined, keep_trailing_newline=True, cache_size=0, finalize=_in_json if in_json else None
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update(urlencode=_urlencode, tojson=_to_json, b64encode=_base64)
    return environment


def _urlencode(value: object) -> str:
    """Quote everything but unreserved characters (RFC 3986, 2.3), the slash too: it would end a password in a URL."""
    return quote(str(value), safe="")


class _Json(str):
    """A text that is JSON already."""

    __slots__ = ()


def _to_json(value: object) -> str:
    return _Json(json.dumps(value, ensure_ascii=False))


def _in_json(value: object) -> object:
    """Return a value as it stands in JSON; a text as it stands between quotes there."""
    if isinstance(value, _Json):
        return value
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)[1:-1]
    if value is None or isinstance(value, bool | int | float | list | dict):
        return json.dumps(value, ensure_ascii=False)
    return value  # undefined, which raises when it is written


def _base64(value: object) -> str:
    return base64.b64encode(str(value).encode()).decode()


def _from_go(text: str) -> str:
    """Read `{{ .Name }}` as `{{ Name }}`; raises `TemplateFault` for a Go control word."""

    def expression(match: re.Match[str]) -> str:
        body = match[1]
        word = body.split(maxsplit=1)[0] if body else ""
        if word in _GO_FORMS and (word != "end" or body == "end"):
            raise TemplateFault(f"`{word}` is a control word of Go templates.", f"In Jinja: {_GO_FORMS[word]}")
        return "{{ " + _GO_DOT.sub("", body) + " }}"

    return _EXPRESSION.sub(expression, text)


def _refuse_unknown(node: nodes.Node, depth: int) -> None:
    """Raise `TemplateFault` for anything beyond text, names, filters and conditions."""
    from jinja2 import nodes as kinds

    allowed = (
        kinds.Template,
        kinds.Output,
        kinds.TemplateData,
        kinds.Name,
        kinds.Filter,
        kinds.Const,
        kinds.If,
        kinds.CondExpr,
        kinds.Compare,
        kinds.Operand,
        kinds.And,
        kinds.Or,
        kinds.Not,
    )
    if not isinstance(node, allowed):
        raise TemplateFault(
            "only names, filters and conditions are allowed in a template.",
            "Calls, loops, attributes and arithmetic are not.",
        )
    if isinstance(node, kinds.Filter) and (
        node.args or node.kwargs or node.name not in ("urlencode", "tojson", "b64encode")
    ):
        raise TemplateFault(
            "there is no such filter.", "Filters are: urlencode, tojson, b64encode; none takes arguments."
        )
    if depth > _DEPTH_MAX:
        raise TemplateFault(f"the template is nested deeper than {_DEPTH_MAX} levels.")
    for child in node.iter_child_nodes():
        _refuse_unknown(child, depth + 1)


def _names(tree: nodes.Template) -> list[str]:
    from jinja2 import nodes as kinds

    return [node.name for node in tree.find_all(kinds.Name)]


def _check_names(names: frozenset[str], known: Collection[str], go_names: Mapping[str, str]) -> None:
    understood = set(known) | {go for go, ours in go_names.items() if ours in known}
    for name in sorted(names - understood):
        near = get_close_matches(name.lower(), sorted(known), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else f"Names here: {', '.join(sorted(known))}."
        raise TemplateFault("the template uses a name that is not known here.", hint)
