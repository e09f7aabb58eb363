"""A process that has the program loaded and forks for every call, so that a process of its own starts at once.

Run as a script it reads one request a line, {arguments, folder, environment, stdin, stdout, stderr}, and answers with
the exit code. It has no threads, so that forking is safe.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).parents[2]

_LOADED = (
    "adapters.composition",
    "adapters.stores.encrypted_store",
    "adapters.stores.env_file",
    "adapters.targets.memory",
    "cryptography.hazmat.primitives.ciphers.aead",
)


class Forking:
    """The process that forks, started with the first call."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def run(
        self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str], stdin: str
    ) -> tuple[int, str, str]:
        """Run the program; return its exit code and what it wrote to stdout and stderr."""
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.cli.forking"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        streams = {name: folder.parent / f"{folder.name}.{name}" for name in ("stdin", "stdout", "stderr")}
        streams["stdin"].write_text(stdin, encoding="utf-8")
        request = {
            "arguments": list(arguments),
            "folder": str(folder),
            "environment": dict(environment),
            **{name: str(path) for name, path in streams.items()},
        }
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
        code = int(process.stdout.readline())
        return code, streams["stdout"].read_text(encoding="utf-8"), streams["stderr"].read_text(encoding="utf-8")

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.communicate(timeout=10)


def _serve() -> None:
    from adapters.cli.commands import COMMANDS

    for module in (*_LOADED, *{f"adapters.cli.{place.partition(':')[0]}" for place, _ in COMMANDS.values()}):
        import_module(module)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _become(json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _become(request: dict[str, object]) -> NoReturn:
    """Be the program from here on."""
    from adapters.cli.main import main

    os.chdir(str(request["folder"]))
    environment = request["environment"]
    assert isinstance(environment, dict)
    os.environ.clear()
    os.environ.update(environment)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        flags = os.O_RDONLY if name == "stdin" else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(str(request[name]), flags, 0o600), number)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - the streams of this process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    arguments = request["arguments"]
    assert isinstance(arguments, list)
    try:
        code = main(arguments)
    except SystemExit as ended:
        code = int(ended.code or 0)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    _serve()
