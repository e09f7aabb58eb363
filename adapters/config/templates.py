"""What is written to a published place: the names that its templates may use.

Rule: what a template may be stands in adapters/templates.py.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from adapters import templates
from adapters.templates import LENGTH_MAX, TemplateFault
from adapters.templates import Template as PublishTemplate

__all__ = ["GO_NAMES", "LENGTH_MAX", "PublishTemplate", "TemplateFault", "compile_template"]

GO_NAMES: Final[dict[str, str]] = {
    "ServiceName": "service",
    "Environment": "environment",
    "Username": "username",
    "Password": "password",
    "NewSecretValue": "password",
    "Host": "host",
    "Port": "port",
    "Database": "database",
    "Version": "version",
}
"""The names that dsops templates use, and ours for them; both are understood."""


def compile_template(text: str, known: Collection[str] | None) -> PublishTemplate:
    """Compile a template that may use the names in `known` (None: any); raises `TemplateFault`."""
    return templates.compile_template(text, known, go_names=GO_NAMES)
