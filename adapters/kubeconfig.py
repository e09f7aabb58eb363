"""How a Kubernetes API server is reached: as a kubeconfig says, or as a pod of the cluster itself.

Rule 1: what a kubeconfig says and keyturn does not do is refused by name; nothing that it says is done by halves.
Rule 2: files are read each time, since tokens and certificates are replaced while keyturn runs.
Rule 3: a key is handed on in memory, and nothing of a kubeconfig but names and the host of the server is told.
"""

from __future__ import annotations

import base64
import binascii
import os
import ssl
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import httpx
import msgspec
import yaml

from adapters.addresses import check_server
from engine.errors import Rejected
from engine.values import Secret

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its token and the certificates of the API server (Kubernetes, "Accessing the API from a Pod")."""
_BYTES_MAX: Final = 1_000_000
_REFUSED: Final[dict[str, str]] = {
    "exec": "a program that makes tokens is not run: give a token, a token file or a client certificate",
    "auth-provider": "such logins are gone from Kubernetes: give a token, a token file or a client certificate",
    "username": "logging in with a password is gone from Kubernetes: give a token or a client certificate",
    "as": "keyturn acts as nobody else: give it a login of its own",
    "as-groups": "keyturn acts as nobody else: give it a login of its own",
    "insecure-skip-tls-verify": "the certificate of the server is always checked: give `certificate-authority-data`",
    "proxy-url": "no proxy is used",
    "tls-server-name": "the certificate of the server is checked for the host of `server`",
}
"""What may stand in a kubeconfig (client-go, clientcmd/api/v1/types.go) and is not supported, and why."""


class _Cluster(msgspec.Struct, frozen=True, rename="kebab"):
    server: str
    certificate_authority: str = ""
    certificate_authority_data: str = ""


class _User(msgspec.Struct, frozen=True, rename="kebab"):
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    client_certificate: str = ""
    client_certificate_data: str = ""
    client_key: str = ""
    client_key_data: str = ""


class _Context(msgspec.Struct, frozen=True):
    cluster: str
    user: str = ""


class _Named(msgspec.Struct, frozen=True):
    name: str
    cluster: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    user: dict[str, Any] | None = None


class _File(msgspec.Struct, frozen=True, rename="kebab"):
    clusters: list[_Named] = []
    contexts: list[_Named] = []
    users: list[_Named] = []
    current_context: str = ""


Part = TypeVar("Part", _Cluster, _User, _Context)


@dataclass(frozen=True, slots=True)
class Access:
    """Where the API server is, and how keyturn shows who it is."""

    server: str
    """A URL without a slash at its end."""
    context: ssl.SSLContext
    token: Secret | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What every request has."""
        return {"authorization": f"Bearer {self.token.reveal()}"} if self.token else {}


def of_kubeconfig(file: Path, *, context: str, what: str) -> Access:
    """Return the access that a context of a kubeconfig gives, the current one where `context` is empty.

    Raises `Rejected`.
    """
    given = _read(file, what=what)
    name = context or given.current_context
    if not name:
        raise Rejected(what=what, why=f"{file} has no current context", advice="Name one in `context`.")
    chosen = _part(given.contexts, name, "context", _Context, what=what)
    cluster = _part(given.clusters, chosen.cluster, "cluster", _Cluster, what=what)
    user = _part(given.users, chosen.user, "user", _User, what=what) if chosen.user else _User()
    folder = file.parent

    def content(path: str, data: str, name: str) -> bytes:
        return _content(folder / path if path else None, data, name, what=what)

    authority = content(cluster.certificate_authority, cluster.certificate_authority_data, "certificate-authority")
    tls = _trusting(authority, what=what) if authority else httpx.create_ssl_context(trust_env=False)
    certificate = content(user.client_certificate, user.client_certificate_data, "client-certificate")
    key = content(user.client_key, user.client_key_data, "client-key")
    if bool(certificate) != bool(key):
        raise Rejected(what=what, why=f"the user {chosen.user!r} needs both `client-certificate` and `client-key`")
    if certificate:
        _show(tls, certificate, key, what=what)
    # As client-go has it, the file goes before the token: it is the one that is kept up to date.
    token = content(user.token_file, "", "tokenFile").decode("utf-8", "replace") if user.token_file else user.token
    return Access(_server(cluster.server, what=what), tls, _token(token, what=what) if token else None)


def of_pod(account: Path, environment: Mapping[str, str], *, what: str) -> Access:
    """Return the access that the cluster gives each of its pods; raises `Rejected` outside of one."""
    host, port = environment.get("KUBERNETES_SERVICE_HOST", ""), environment.get("KUBERNETES_SERVICE_PORT", "")
    if not host or not port:
        advice = "Name a file in `kubeconfig`, or run keyturn in the cluster."
        raise Rejected(what=what, why="keyturn does not run in a cluster, and there is no `kubeconfig`", advice=advice)
    token = _content(account / "token", "", "token", what=what).decode("utf-8", "replace")
    tls = _trusting(_content(account / "ca.crt", "", "ca.crt", what=what), what=what)
    server = f"https://{f'[{host}]' if ':' in host else host}:{port}"
    return Access(_server(server, what=what), tls, _token(token, what=what))


def _read(file: Path, *, what: str) -> _File:
    content = _content(file, "", "kubeconfig", what=what)
    try:
        return msgspec.convert(_loaded(content), _File)
    except (yaml.YAMLError, msgspec.ValidationError, ValueError, RecursionError):
        # The error may quote the file.
        raise Rejected(what=what, why=f"{file} is no kubeconfig") from None


def _loaded(content: bytes) -> object:
    """Return what stands in a YAML file, by a safe loader; the one in C where there is one."""
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(content)
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def _part(parts: list[_Named], name: str, kind: str, form: type[Part], *, what: str) -> Part:
    found = next((getattr(each, kind) for each in parts if each.name == name), None)
    if found is None:
        raise Rejected(what=what, why=f"the kubeconfig has no {kind} {name!r}")
    for key in found:
        if key in _REFUSED and found[key]:
            raise Rejected(what=what, why=f"the {kind} {name!r} has `{key}`: {_REFUSED[key]}")
    try:
        return msgspec.convert(found, form)
    except msgspec.ValidationError:
        raise Rejected(what=what, why=f"the {kind} {name!r} is not written as a kubeconfig has it") from None


def _content(file: Path | None, data: str, name: str, *, what: str) -> bytes:
    """Return what a file holds, or the base64 of it in its place; nothing of neither."""
    try:
        if data:
            return base64.b64decode(data, validate=True)
        if file is None:
            return b""
        with file.open("rb") as opened:
            content = opened.read(_BYTES_MAX + 1)
    except binascii.Error:
        raise Rejected(what=what, why=f"`{name}-data` is not base64") from None
    except OSError as error:
        raise Rejected(what=what, why=f"{file} cannot be read: {error.strerror}") from None
    if len(content) > _BYTES_MAX:
        raise Rejected(what=what, why=f"{file} is larger than {_BYTES_MAX} bytes")
    return content


def _server(url: str, *, what: str) -> str:
    try:
        check_server(url)
    except ValueError as error:
        raise Rejected(what=what, why=f"the server of the cluster: {error}") from None
    return url.rstrip("/")


def _token(text: str, *, what: str) -> Secret:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise Rejected(what=what, why="the token cannot stand in a header: it is empty, or no visible ASCII")
    return Secret(token)


def _trusting(authority: bytes, *, what: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cadata=authority.decode("ascii"))
    except (ssl.SSLError, ValueError):
        raise Rejected(what=what, why="`certificate-authority` holds no certificates") from None


def _show(context: ssl.SSLContext, certificate: bytes, key: bytes, *, what: str) -> None:
    """Have a context show the client's certificate."""
    with ExitStack() as opened:
        try:
            files = (opened.enter_context(_as_file(certificate)), opened.enter_context(_as_file(key)))
            # A password would be asked for at the terminal.
            context.load_cert_chain(files[0], files[1], password=_no_password)
        except (OSError, ValueError):
            why = "`client-certificate` and `client-key` are no pair, or the key is encrypted"
            raise Rejected(what=what, why=why) from None


def _no_password() -> bytes:
    return b""


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """Give content a path for the length of the block, to be read from once: OpenSSL takes keys from files only.

    It is a pipe, so that a key comes to no disk. Raises ValueError for more than a pipe holds.
    """
    reading, writing = os.pipe()
    try:
        os.set_blocking(writing, False)
        try:
            is_whole = os.write(writing, content) == len(content)
        except BlockingIOError:
            is_whole = False
        finally:
            os.close(writing)
        if not is_whole:
            raise ValueError("it is too long")
        yield f"/dev/fd/{reading}"
    finally:
        os.close(reading)
