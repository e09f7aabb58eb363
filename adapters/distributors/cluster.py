"""The API of a Kubernetes cluster, as far as handing out needs it: objects read, made, and changed by a merge.

Rule 1: a change names the version of the object that it is of, or changes one field to one value.
Rule 2: nothing of an answer is told but its status: it can hold a secret.

Source: kubernetes.io, "Kubernetes API Concepts" (resource versions, chunks) and RFC 7396 (JSON Merge Patch).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from adapters import http_answers
from adapters.addresses import ANYWHERE, system_addresses
from engine.errors import OwnLoginRejected, PortError, Rejected, SinkGone, Unavailable, Uncertain
from engine.values import SECOND, Microseconds

if TYPE_CHECKING:
    from adapters.kubeconfig import Access

MERGE: Final = "application/merge-patch+json"
PAGE: Final = 500
"""What kubectl asks for at once."""
_ANSWER_BYTES_MAX: Final = 32_000_000
_MISSING: Final = 404
_CONFLICT: Final = 409
_UNPERFORMED: Final = frozenset({429, 503})
_LOGIN: Final = {401: "it does not accept the login that keyturn shows", 403: "keyturn's login may not do this"}


@dataclass(slots=True)
class Cluster:
    """One namespace of a cluster, for the length of one call."""

    access: Access
    namespace: str
    what: str
    until: float
    """When its time is over, in monotonic seconds."""
    done: str = ""
    """What was changed already: whatever fails after it leaves things half done."""

    def get(self, path: str) -> dict[str, Any] | None:
        """Return an object; None where there is none. Raises the three outcomes, but never `Uncertain`."""
        answer = self._ask("GET", self._url(path))
        return None if answer.status == _MISSING else self._object(answer)

    def list(self, path: str, query: Mapping[str, str]) -> list[dict[str, Any]]:
        """Return the members of a list, of one state of the namespace."""
        found: list[dict[str, Any]] = []
        further: dict[str, str] = {}
        while True:
            given = self._object(self._ask("GET", self._url(path), query={**query, "limit": str(PAGE), **further}))
            items, metadata = given.get("items") or [], given.get("metadata") or {}
            found += items
            if not metadata.get("continue"):
                return found
            further = {"continue": str(metadata["continue"])}

    def make(self, path: str, given: Mapping[str, Any]) -> None:
        """Make an object; raises `Unavailable` where there is one by now."""
        self._ask("POST", self._url(path), given)

    def merge(self, path: str, given: Mapping[str, Any]) -> None:
        """Change an object; raises `Unavailable` where it is of another version than the one that `given` names."""
        if self._ask("PATCH", self._url(path), given).status == _MISSING:
            raise self._failed(Rejected(what=self.what, why=f"there is no {path}"))

    def _url(self, path: str) -> str:
        group = "api/v1" if path.partition("/")[0] in ("secrets", "pods") else "apis/apps/v1"
        return f"{self.access.server}/{group}/namespaces/{self.namespace}/{path}"

    def _ask(
        self, method: str, url: str, given: Mapping[str, Any] | None = None, *, query: Mapping[str, str] | None = None
    ) -> http_answers.Answer:
        import httpx

        from adapters.guarded_http import GuardedTransport

        left = self.until - time.monotonic()
        if left <= 0:
            raise self._failed(Unavailable(what=self.what, why="its deadline has passed"))
        transport = GuardedTransport(
            what=self.what,
            timeout=Microseconds(max(round(left * SECOND), 1)),
            allow=ANYWHERE,
            context=self.access.context,
            resolve=system_addresses,
        )
        headers = {"user-agent": "keyturn", "accept": "application/json", "accept-encoding": "identity"}
        headers |= {"content-type": MERGE if method == "PATCH" else "application/json", **self.access.headers}
        content = b"" if given is None else msgspec.json.encode(given)
        try:
            with (
                httpx.Client(transport=transport, timeout=left, follow_redirects=False, trust_env=False) as client,
                client.stream(method, url, content=content, headers=headers, params=query) as got,
            ):
                body = bytearray()
                for chunk in got.iter_raw():
                    body += chunk
                    if len(body) > _ANSWER_BYTES_MAX:
                        break
                answered = {name.lower(): text for name, text in got.headers.items()}
                answer = http_answers.Answer(got.status_code, answered, bytes(body))
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            # The error of the library may hold a header, so it goes no further.
            raise self._failed(self._lost(http_answers.failure(error, what=self.what), method)) from None
        refused = self._refusal(answer, method)
        if refused is not None:
            raise self._failed(refused)
        return answer

    def _refusal(self, answer: http_answers.Answer, method: str) -> PortError | None:
        if answer.status in _LOGIN:
            advice = "Its login needs to get, create and patch Secrets, get and patch workloads, and list pods."
            return OwnLoginRejected(what=self.what, why=f"{_LOGIN[answer.status]} ({answer.status})", advice=advice)
        if answer.status == _MISSING and method != "POST":
            return None
        if answer.status == _CONFLICT:
            return Unavailable(what=self.what, why="somebody else changed it at the same time (409)")
        if answer.status >= 500 and answer.status not in _UNPERFORMED:
            lost = Uncertain(what=self.what, why=f"it answered {answer.status}, and may have done it")
            return self._lost(lost, method)
        refused = http_answers.refusal(answer.status, answer.headers, what=self.what)
        return Rejected(what=self.what, why=refused.why) if isinstance(refused, SinkGone) else refused

    def _lost(self, failure: PortError, method: str) -> PortError:
        """Return what a failure means: reading changes nothing, so that nothing is in doubt."""
        if method == "GET" and isinstance(failure, Uncertain):
            return Unavailable(what=self.what, why=failure.why)
        return failure

    def _failed(self, error: PortError) -> PortError:
        """Return an error, or that it left things half done."""
        return Uncertain(what=self.what, why=f"{self.done}, and then {error.why}") if self.done else error

    def _object(self, answer: http_answers.Answer) -> dict[str, Any]:
        try:
            return msgspec.json.decode(answer.body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            raise self._failed(Unavailable(what=self.what, why="the answer is no object")) from None


def selector(given: Mapping[str, Any]) -> str:
    """Return the selector of a workload as a list takes it (kubernetes.io, "Labels and Selectors")."""
    parts = [f"{key}={value}" for key, value in (given.get("matchLabels") or {}).items()]
    for each in given.get("matchExpressions") or []:
        key, how, values = each.get("key"), each.get("operator"), ",".join(each.get("values") or [])
        spelled = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key}
        parts.append(spelled.get(how, f"!{key}"))
    return ",".join(parts)
