"""A service of one's own that lists instances as JSON, in pages, behind a login. No tests live here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from tests.sinks.vendor_server import Reply, Request, VendorServer, serving

PATH: Final = "/v1/fleet"


@dataclass
class Inventory:
    """What is listed, and who may see it."""

    members: list[dict[str, Any]] = field(default_factory=list)
    page_size: int = 3
    login: Mapping[str, str] = field(default_factory=dict)
    """Headers that a request must have; names in lower case."""
    by_header: bool = False
    """The next page is named in a header `Link`, not in the body."""

    def answer(self, request: Request) -> Reply:
        """Answer one request, strictly."""
        parts = urlsplit(request.path)
        if request.method != "GET" or parts.path != PATH:
            return Reply(404)
        if any(request.headers.get(name) != value for name, value in self.login.items()):
            return Reply(401, b'{"error": "who are you?"}')
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        if not query.keys() <= {"after"}:
            return Reply(400)
        start = int(query.get("after", ["0"])[0])
        end = start + self.page_size
        following = f"{PATH}?after={end}" if end < len(self.members) else None
        body: dict[str, Any] = {"instances": self.members[start:end]}
        if self.by_header:
            headers = {"Link": f'<{following}>; rel="next"'} if following else {}
            return Reply(200, json.dumps(body).encode(), headers)
        return Reply(200, json.dumps(body | {"next": following}).encode())


@contextmanager
def inventory() -> Iterator[tuple[Inventory, VendorServer]]:
    """Serve one for the length of the block."""
    fake = Inventory()
    with serving(fake.answer) as server:
        yield fake, server
