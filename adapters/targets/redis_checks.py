"""What `keyturn doctor` says about a Redis deployment.

Rule: nothing is changed, not even saved; every finding names its node and what to do.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import Final

from adapters.targets.redis import Node, Persist, RedisOptions, Tls
from adapters.targets.redis_node import Session, User, Wiring, administering
from engine.adapter import TargetContext
from engine.errors import PortError
from engine.ports import Finding, Severity

_WHAT: Final = "looking at the node"


def examine(options: RedisOptions, context: TargetContext, wiring: Wiring) -> Sequence[Finding]:
    """Look at every node, then at what they have in common; never raises the three outcomes."""
    findings: list[Finding] = []
    digests: dict[Node, frozenset[str]] = {}
    if options.tls is Tls.DISABLE:
        message = "connections are not encrypted: passwords travel in the clear"
        findings.append(Finding(context.service, Severity.WARN, message, "Use `tls: verify-full`."))
    findings += _on_logins(options, context)
    for node in options.servers():
        found, user = _check_node(node, options, context, wiring)
        findings += found
        if user is not None:
            digests[node] = frozenset(user.digests)
    if len(set(digests.values())) > 1:
        message = f"the nodes do not have the same passwords of {context.username!r}"
        hint = "The next rotation sets that right; until then a failover may refuse clients."
        findings.append(Finding(context.service, Severity.WARN, message, hint))
    return findings


def _on_logins(options: RedisOptions, context: TargetContext) -> Iterator[Finding]:
    if context.username == options.admin_credentials.username:
        message = f"{context.username!r} is also keyturn's own login"
        hint = "Let `admin_credentials` refer to the store entry that the credential is kept in."
        yield Finding(context.service, Severity.WARN, message, hint)
    if context.username == "default":
        message = "`default` is the user of every client that names none, and of replicas and Sentinel"
        hint = "Publish it to masterauth and to Sentinel's auth-pass as well, or rotate a user of its own."
        yield Finding(context.service, Severity.WARN, message, hint)


def _check_node(
    node: Node, options: RedisOptions, context: TargetContext, wiring: Wiring
) -> tuple[list[Finding], User | None]:
    admin = options.admin_credentials
    subject = f"{context.service} {node}"
    findings = []
    user = None
    try:
        password = context.secret(admin.password)
        with administering(node, wiring, admin.username, password, what=_WHAT) as session:
            user = session.user(context.username, what=_WHAT)
            findings += list(_on_user(subject, context.username, user, creates=bool(options.acl)))
            findings += list(_on_saving(subject, session, options.persist))
            findings += list(_on_replicas(subject, session, options))
    except PortError as error:
        findings.append(Finding(subject, Severity.FAIL, error.message, error.advice))
    if all(finding.severity is Severity.OK for finding in findings):
        findings.insert(0, Finding(subject, Severity.OK, "reached, logged in, and ready"))
    return findings, user


def _on_user(subject: str, username: str, user: User | None, *, creates: bool) -> Iterator[Finding]:
    if user is None:
        if not creates:
            hint = "Create it, or say with the option `acl` what a new one may do."
            yield Finding(subject, Severity.FAIL, f"there is no user {username!r}", hint)
        return
    if "nopass" in user.flags:
        hint = "Give it a first password when every client has it: ACL SETUSER NAME #SHA256."
        yield Finding(subject, Severity.FAIL, f"{username!r} is accepted with any password (nopass)", hint)
    if "off" in user.flags:
        yield Finding(subject, Severity.FAIL, f"{username!r} is switched off", "ACL SETUSER NAME on")
    if len(user.digests) > 2:
        message = f"{username!r} has {len(user.digests)} passwords"
        yield Finding(subject, Severity.WARN, message, "Remove those that nobody uses.")


def _on_saving(subject: str, session: Session, persist: Persist) -> Iterator[Finding]:
    if persist is Persist.NONE:
        message = "users are not saved: after a restart the node has the passwords that its files name"
        yield Finding(subject, Severity.WARN, message, "Use an ACL file and `persist: acl-save`.")
        return
    aclfile = _setting(session, "aclfile")
    if persist is Persist.ACL_SAVE and not aclfile:
        hint = "Set `aclfile` in its configuration, or use `persist: config-rewrite`."
        yield Finding(subject, Severity.FAIL, "it has no ACL file, so ACL SAVE cannot work", hint)
    if persist is Persist.CONFIG_REWRITE and aclfile:
        message = "it keeps its users in an ACL file, which CONFIG REWRITE does not write"
        yield Finding(subject, Severity.FAIL, message, "Use `persist: acl-save`.")
    if persist is Persist.CONFIG_REWRITE and not _info(session, "server").get("config_file"):
        message = "it runs without a configuration file, so CONFIG REWRITE cannot work"
        yield Finding(subject, Severity.FAIL, message, "Start it with one.")


def _on_replicas(subject: str, session: Session, options: RedisOptions) -> Iterator[Finding]:
    """Name replicas, and the primary of a replica, that no listed server resolves to."""
    info = _info(session, "replication")
    others = []
    for key, value in info.items():
        if key.startswith("slave") and "ip=" in value:
            fields = dict(part.split("=", 1) for part in value.split(",") if "=" in part)
            others.append((fields.get("ip", ""), fields.get("port", "")))
    if info.get("role") == "slave":
        others.append((info.get("master_host", ""), info.get("master_port", "")))
    listed = {address for node in options.servers() for address in _addresses(node)}
    for host, port in others:
        if port.isdigit() and not _addresses(Node(host, int(port))) & listed:
            message = f"{host}:{port} copies its data, and is not in `nodes`: ACL users are not replicated"
            yield Finding(subject, Severity.WARN, message, "Add it, or its clients lose access with the rotation.")


def _addresses(node: Node) -> set[tuple[str, int]]:
    """Return the addresses of a server; its name as well where it has none that we can learn."""
    try:
        found = socket.getaddrinfo(node.host, node.port, type=socket.SOCK_STREAM)
    except OSError:
        found = []
    return {(str(entry[4][0]), node.port) for entry in found} | {(node.host, node.port)}


def _setting(session: Session, name: str) -> str:
    answer = session.ask("CONFIG", "GET", name, what=_WHAT)
    return answer[1].decode(errors="replace") if len(answer) == 2 else ""


def _info(session: Session, section: str) -> dict[str, str]:
    lines = session.ask("INFO", section, what=_WHAT).decode(errors="replace").splitlines()
    return dict(line.split(":", 1) for line in lines if ":" in line)
