"""`keyturn metrics`: the figures of the installation, as Prometheus reads them.

Rule: reads the log and the views, and opens neither a store nor a target.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from adapters.cli.refusals import BadInput
from adapters.cli.shared import shared_options
from adapters.cli.views import open_views
from engine.errors import ExitCode

if TYPE_CHECKING:
    from adapters.cli.session import Session
    from adapters.metrics import MetricsCollector

_FORMATS = ("text", "openmetrics")


@click.command()
@click.option(
    "--textfile",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write them to a file (*.prom) that the textfile collector of the node exporter reads.",
)
@click.option("--push", "gateway", metavar="URL", help="Send them to a push gateway, in place of what it had.")
@click.option("--format", "form", type=click.Choice(_FORMATS), help="How they are printed; text by default.")
@shared_options
@click.pass_obj
def metrics(session: Session, *, textfile: Path | None, gateway: str | None, form: str | None) -> ExitCode:
    """Print the metrics for Prometheus, write them to a file, or push them.

    They are folded from the log: exact over restarts, and complete however short the commands were.
    """
    from adapters.metrics import OPENMETRICS, TEXT, MetricsCollector, exposition, push
    from adapters.system import SystemClock

    if form is not None and (textfile or gateway or session.console.json):
        raise BadInput(what="--format", why="it goes with printing alone: files and gateways take text")
    if gateway is not None:
        _check_address(gateway)
    log, console = session.log, session.console
    with open_views(session) as views:
        collector = MetricsCollector(
            log, views, session.configuration, session.outlets, lambda: SystemClock().now().wall
        )
        if textfile is not None:
            _write(collector, textfile)
            console.say(f"{textfile} holds the metrics of now.")
        if gateway is not None:
            push(collector, gateway)
            console.say(f"{gateway} has the metrics of now.")
        if console.json:
            console.document("keyturn.metrics/1", {"metrics": _documents(collector)})
        elif textfile is None and gateway is None:
            body, _ = exposition(collector, accept=OPENMETRICS if form == "openmetrics" else TEXT)
            console.raw(body.decode().removesuffix("\n"))
    return ExitCode.DONE


def _write(collector: MetricsCollector, path: Path) -> None:
    from adapters.metrics import write_textfile

    try:
        write_textfile(collector, path)
    except OSError as error:
        raise BadInput(what=f"--textfile {path}", why=error.strerror or "it cannot be written") from error


def _check_address(gateway: str) -> None:
    """Raise `BadInput` for what is no address of a gateway, or holds a password: arguments are seen by everybody."""
    try:
        parts = urlsplit(gateway)
        port_is_wrong = parts.port == 0
    except ValueError:
        raise BadInput(what="--push", why="this is no URL") from None
    if parts.username is not None or parts.password is not None:
        raise BadInput(what="--push", why="a login stands in the URL, where every user of this machine can see it")
    if parts.scheme not in ("http", "https") or not parts.hostname or port_is_wrong or parts.query or parts.fragment:
        raise BadInput(what="--push", why="http://HOST:PORT of a push gateway is expected")


def _documents(collector: MetricsCollector) -> list[dict[str, Any]]:
    """Return every metric with its series, named as in an exposition."""
    return [
        {
            "name": metric.name,
            "type": metric.type,
            "help": metric.documentation,
            "samples": [
                {"name": sample.name, "labels": dict(sample.labels), "value": sample.value} for sample in metric.samples
            ],
        }
        for metric in collector.collect()
    ]
