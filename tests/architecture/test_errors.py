"""Who may catch what: the outside is translated once, at the edge, and nothing is swallowed."""

from __future__ import annotations

import ast
from collections.abc import Collection

import pytest

from tests.architecture.source import PRODUCT, Source, dotted, sources

OUTCOMES = {"Unavailable", "Rejected", "OwnLoginRejected", "Uncertain", "PortError"}

OUTCOMES_CAUGHT_IN = {
    "engine/runner.py": "performs the effects: it turns an outcome into the fact that records it",
    "engine/handing.py": "hands a version to many instances: what became of one is recorded, and the others go on",
    "engine/recalling.py": "goes back on the instances that were listed last, where they cannot be listed now",
    "engine/operations.py": "ends a rotation that waited, and that is refused when its turn has come",
    "adapters/outbox/courier.py": "performs deliveries: it turns an outcome into the fact that records it",
    "adapters/outbox/outlets.py": "a secret of a channel that is not there says nothing against the message",
    "adapters/outbox/trial.py": "tries whether messages can be made: what cannot is a problem that it tells",
    "adapters/outbox/secrets.py": "looks for secrets in what leaves: what cannot be read now is passed over",
    "engine/sightings.py": "looks around for a person: what cannot be read is told as not known",
    "adapters/simulation/watch.py": "lets an effect land late, when nobody is there any more to be told",
    "adapters/simulation/rollouts.py": "lets a hand land late, when nobody is there any more to be told",
    "adapters/simulation/ports.py": "delivers a request twice: the second answer reaches nobody",
}
"""The only files that may catch what a port answers."""

ANSWERS_INSTEAD_OF_RAISING = {"check", "has", "look", "probe", "sessions", "verify"}
"""The methods of an adapter that promise an answer (`unknown`, a finding) where others raise an outcome.

Their parts are called after them: `_check_key` is a part of `check`.
"""

KEYTURN_ERROR_CAUGHT_IN = {
    "adapters/cli/main.py": "turns an error into three lines and an exit code",
    "adapters/cli/session.py": "begins to send notifications: what keeps it from that is told, and the work goes on",
    "adapters/outbox/dispatcher.py": "ends a thread that delivers, and says so: the work goes on without it",
    "engine/group_runner.py": "rotates several services: what keeps one of them back is recorded, and decides for all",
    "adapters/simulation/jobs.py": "is every process of a simulated crowd: what ends one is part of the story",
    "adapters/simulation/processes.py": "is every process of a simulated run: what ends one is part of the story",
    "adapters/simulation/rollouts.py": "is every process of a simulated rollout: what ends one is part of the story",
}

EVERYTHING_CAUGHT_IN = {
    "adapters/serve/daemon.py": "ends what a worker did for one task, and says so: the other tasks go on",
    "adapters/cli/main.py": "the last resort: an unexpected error is shown redacted, and exits with 1",
    "adapters/outbox/courier.py": "a channel may be a plugin: what it raises ends one message, and no thread",
    "adapters/outbox/dispatcher.py": "the last resort of a thread that delivers: shown redacted, as main.py does",
    "adapters/simulation/crowd.py": "hands what a thread of a simulated run raised to the one that began it",
}
"""The only files that may catch Exception or BaseException (or use a bare except), and why."""


def _passes_on(handler: ast.ExceptHandler) -> bool:
    """Tell whether a handler tidies up and ends with a bare `raise`: nothing is held back by it."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def _caught(source: Source, *, skipping: Collection[str] = ()) -> list[tuple[str, str]]:
    """Return where something is held back, and what: the last part of its name, "" for a bare except.

    Functions called as in `skipping`, and their parts, are left out.
    """
    caught: list[tuple[str, str]] = []

    def visit(node: ast.AST) -> None:
        if isinstance(node, ast.FunctionDef) and node.name.lstrip("_").split("_")[0] in skipping:
            return
        if isinstance(node, ast.ExceptHandler) and not _passes_on(node):
            kinds = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
            caught.extend((source.at(node), dotted(kind).split(".")[-1] if kind else "") for kind in kinds)
        elif isinstance(node, ast.Call) and dotted(node.func).split(".")[-1] == "suppress":
            caught.extend((source.at(node), dotted(kind).split(".")[-1]) for kind in node.args)
        for child in ast.iter_child_nodes(node):
            visit(child)

    visit(source.tree)
    return caught


def _found(source: Source, names: set[str], *, skipping: Collection[str] = ()) -> list[str]:
    return [
        f"{where} catches {name or 'everything'}" for where, name in _caught(source, skipping=skipping) if name in names
    ]


@pytest.mark.parametrize("source", sources(*PRODUCT), ids=str)
def test_a_mistake_of_ours_is_never_caught(source: Source) -> None:
    """`assert` tells a bug, and a bug is to be seen. The simulator's work is to find it, and tells by which seed."""
    if source.path != "adapters/simulation/scenario.py":
        assert not _found(source, {"AssertionError"})


@pytest.mark.parametrize("source", sources(*PRODUCT), ids=str)
def test_the_three_outcomes_are_caught_where_effects_are_performed(source: Source) -> None:
    """An adapter raises them; only who performs the effect knows what to record."""
    if source.path not in OUTCOMES_CAUGHT_IN:
        promised = ANSWERS_INSTEAD_OF_RAISING if source.path.startswith("adapters/") else ()
        assert not _found(source, OUTCOMES, skipping=promised)


@pytest.mark.parametrize("source", sources(*PRODUCT), ids=str)
def test_an_error_is_shown_in_one_place(source: Source) -> None:
    """Everything that keyturn can name reaches the command line as it was raised."""
    if source.path not in KEYTURN_ERROR_CAUGHT_IN:
        assert not _found(source, {"KeyturnError"})


@pytest.mark.parametrize("source", sources(*PRODUCT), ids=str)
def test_nobody_catches_everything(source: Source) -> None:
    """A handler names what it expects."""
    if source.path not in EVERYTHING_CAUGHT_IN:
        assert not _found(source, {"Exception", "BaseException", ""})


def test_the_search_for_handlers_sees_all_their_forms() -> None:
    """A tuple, an attribute, a bare except and `suppress` are seen as well."""
    text = (
        "try: f()\nexcept (errors.Rejected, OSError): pass\nexcept: pass\nwith contextlib.suppress(Exception): pass\n"
    )
    seen = {name for _, name in _caught(Source("x.py", text, ast.parse(text)))}
    assert seen == {"Rejected", "OSError", "", "Exception"}
