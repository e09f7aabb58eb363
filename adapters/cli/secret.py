"""`keyturn secret`: a credential for a person or a script, and secrets of one's own in a store.

Rule: a value is printed only where it was asked for with --reveal, and taken only from a file, stdin or a prompt.
"""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

import click

from adapters.cli.refusals import BadInput, NothingHeld
from adapters.cli.shared import shared_options
from adapters.cli.values import given_value
from adapters.config.problems import did_you_mean
from adapters.config.schema import KEY_PATTERN
from adapters.system import harden
from engine.errors import ExitCode
from engine.ports import Addressable
from engine.values import CredentialValue, Form, Secret

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.config.build import Wiring
    from adapters.config.model import Service

FIELDS = ("username", "password", "url")
"""What of a credential can be had by itself."""


@click.group()
@shared_options
def secret() -> None:
    """Read a credential, or put a secret of your own into a store."""


@secret.command()
@click.argument("service")
@click.option(
    "--version", default="current", show_default=True, metavar="VERSION|current|pending|previous", help="Which one."
)
@click.option("--field", type=click.Choice(FIELDS), help="Only this; the password with --reveal.")
@click.option("--reveal", is_flag=True, help="Print the secret itself.")
@shared_options
@click.pass_obj
def get(session: Session, *, service: str, version: str, field: str | None, reveal: bool) -> ExitCode:
    """Show what the store holds for a service; the secret itself only with --reveal."""
    harden()
    console, wiring = session.console, session.wiring
    found = wiring.service(service)
    session.where = f"service {found.name} ({found.environment})"
    store = wiring.held_in(found.name)
    held = store.versions(found.credential.key)
    version_id = getattr(held, version) if version in ("current", "pending", "previous") else version
    value = store.read(found.credential.key, version_id) if version_id else None
    if value is None:
        raise NothingHeld(wanted=version, service=found.name, environment=found.environment)
    if reveal and not console.json:
        console.raw(text_of(wiring, found, value, field or "password"))
        return ExitCode.DONE
    password = text_of(wiring, found, value, "password") if reveal else None
    fields = {
        "service": found.name,
        "environment": found.environment,
        "version": version_id,
        "username": value.username,
    }
    if console.json:
        extra = {"url": text_of(wiring, found, value, "url")} if reveal and field == "url" else {}
        console.document("keyturn.secret/1", {**fields, "password": password, **extra})
    elif field == "username":
        console.out(value.username)
    else:
        labels = [label for label in ("current", "pending", "previous") if getattr(held, label) == version_id]
        shown = {
            **fields,
            "store": f"{found.credential.store}:{found.credential.key}",
            "labels": ", ".join(labels) or "none",
        }
        for key, text in shown.items():
            console.out(f"{key:<12} {text}")
        console.say("--reveal prints the secret itself")
    return ExitCode.DONE


def text_of(wiring: Wiring, service: Service, value: CredentialValue, field: str) -> str:
    """Return one field of a credential; raises `BadInput` where it does not have it."""
    if field == "username":
        return value.username
    if value.secret is None or value.form is not Form.PLAIN:
        raise BadInput(
            what=f"{service.name}: {field}", why="only what the target keeps of this version is held, not the secret"
        )
    if field == "password":
        return value.revealed()
    target = wiring.target(service.name)
    if not isinstance(target, Addressable):
        raise BadInput(what=f"{service.name}: url", why=f"a credential of type {service.type} is not written as a URL")
    return target.url(value).reveal()


@secret.command()
@click.argument("store")
@click.argument("path")
@click.option("--username", default="", help="The login that goes with it.")
@click.option(
    "--value-file", metavar="FILE", help="Where the value is read from, or `-` for stdin; else it is asked for."
)
@click.option("--dry-run", is_flag=True, help="Show what would be written, and write nothing.")
@shared_options
@click.pass_obj
def put(session: Session, *, store: str, path: str, username: str, value_file: str | None, dry_run: bool) -> ExitCode:
    """Put a secret of your own into a store, such as the admin password that a service refers to."""
    harden()
    wiring = session.wiring
    stores = session.configuration.stores
    if store not in stores:
        raise BadInput(
            what=f"store {store!r}", why="there is none of that name", advice=did_you_mean(store, sorted(stores))
        )
    if re.fullmatch(KEY_PATTERN, path) is None:
        raise BadInput(what=f"path {path!r}", why="segments of letters, digits and ._@+=- between slashes are expected")
    _refuse_rotated(session, store, path)
    if dry_run:
        session.console.out(f"would write {store}:{path}")
        return ExitCode.DONE
    value = CredentialValue(
        username, _asked(session) if value_file is None else given_value("--value-file", value_file)
    )
    held = wiring.store(store)
    version = f"put-{secrets.token_hex(4)}"
    current = held.versions(path).current
    held.stage(path, version, value)
    held.promote(path, version, value, expected=current)
    session.console.out(f"{store}:{path}: {version} is current; refer to it as store://{store}/{path}")
    return ExitCode.DONE


def _refuse_rotated(session: Session, store: str, path: str) -> None:
    """Raise `BadInput` for a place that rotations write: the log would not know of the value."""
    for service in session.configuration.services.values():
        places = [(service.credential.store, service.credential.key)]
        places += [(place.keys.store, place.keys.key) for place in service.publish]
        if (store, path) in places:
            advice = f"keyturn rotate {service.name} --new-value-file FILE brings a value of your own."
            raise BadInput(what=f"{store}:{path}", why=f"it is written by rotations of {service.name}", advice=advice)


def _asked(session: Session) -> Secret:
    if not session.console.is_interactive:
        raise BadInput(what="--value-file", why="it is needed where nobody can be asked: a file, or - for stdin")
    return Secret(click.prompt("Value", hide_input=True, confirmation_prompt=True, err=True))
