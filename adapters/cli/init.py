"""`keyturn init`: a starter configuration, its key file, and a state folder with an empty log.

Rule: never writes over a key file or a log; over a configuration only with --force.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import click

from adapters.cli.refusals import AlreadyThere, BadInput
from adapters.cli.shared import shared_options
from adapters.composition import establish
from adapters.config.starter import starter
from adapters.state import default_folder, given_folder
from adapters.stores.keys import create_key_file
from engine.errors import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from adapters.cli.session import Session

_KEY_FILE = "master.key"
"""The key file that the starter names."""


@click.command()
@click.option("--force", is_flag=True, help="Write the starter over a configuration that is there.")
@click.option("--dry-run", is_flag=True, help="Show what would be made, and make nothing.")
@shared_options
@click.pass_obj
def init(session: Session, *, force: bool, dry_run: bool) -> ExitCode:
    """Write a commented starter configuration, its key file and the state folder.

    A key file and a log that are there stay as they are, also with --force.
    """
    config = session.config_path
    key, state = config.parent / _KEY_FILE, given_folder(session.given_state) or default_folder()
    if config.exists() and not force:
        raise AlreadyThere(path=config)
    if dry_run:
        for path in (config, key, state):
            session.console.out(f"{'is there' if path.exists() else 'would make'}: {path}")
        return ExitCode.DONE
    if key.exists():
        session.console.say(f"{key} is there already, and stays as it is")
    else:
        create_key_file(key)
    establish(state)
    _write(config, starter(), force=force)
    for path, what in (
        (config, "the configuration"),
        (key, "its key: keep a copy, away from here"),
        (state, "the state"),
    ):
        session.console.out(f"{path}: {what}")
    session.console.say("next: keyturn plan rehearsal, then keyturn rotate rehearsal")
    return ExitCode.DONE


def _write(path: Path, text: str, *, force: bool) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        try:
            if force:
                draft.replace(path)
            else:
                os.link(draft, path)
        finally:
            draft.unlink(missing_ok=True)
    except FileExistsError:
        raise AlreadyThere(path=path) from None
    except OSError as error:
        raise BadInput(what=str(path), why=error.strerror) from error
