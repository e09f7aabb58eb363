"""Values and names that some format, shell or file system gets wrong; no tests here."""

from __future__ import annotations

AWKWARD = {
    "spaces": " canary with  spaces ",
    "single quote": "canary'quote",
    "double quote": 'canary"quote',
    "both quotes": "canary'\"quotes",
    "backslash": "canary\\n\\\\back\\slash",
    "backslash at the end": "canary\\",
    "newline": "canary\nline\n",
    "carriage return": "canary\r\nline\r",
    "tab and escape": "canary\t\x1b[31m",
    "NUL": "canary\0nul",
    "dollar": "canary$HOME$(id)",
    "braces": "canary${HOME}",
    "backtick": "canary`id`",
    "hash": "canary #not a comment",
    "equals and colon": "canary=a: b",
    "percent and template": "canary%s{{ x }}",
    "unicode": "canary-пароль-密碼-🔑",
    "line separators": "canary\u0085\u2028\u2029",
    "byte order mark": "\ufeffcanary",
    "like a number": "0123456789",
    "like a word": "null",
    "long": "canary" * 5_000,
}
"""Values that some format or shell gets wrong."""

STRANGE_PATHS = [
    "../../../etc/passwd",
    "/etc/passwd",
    "..",
    "a/../../b",
    "C:\\x",
    "~root",
    "%2e%2e/x",
    "путь/密",
    "a b",
    "$HOME",
]
"""Names that would lead somewhere if a store took them for a place in a file system."""
