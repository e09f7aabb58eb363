"""Throw-away servers: they start, refuse strangers, and leave nothing behind however the parent ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from adapters.demo import servers

ROOT = Path(__file__).parents[2]


def _eventually(holds: Callable[[], bool], *, seconds_max: float = 10.0) -> bool:
    limit = time.monotonic() + seconds_max
    while not holds():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def _arguments_of_all_processes() -> bytes:
    lines = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            lines.append((process / "cmdline").read_bytes())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return b"\n".join(lines)


@pytest.mark.slow
def test_postgresql_refuses_a_wrong_password_and_has_no_other_door(postgres_server: servers.PostgresServer) -> None:
    """Over TCP the server asks for a password with SCRAM; it opens no Unix socket."""
    dsn = f"host={postgres_server.host} port={postgres_server.port} dbname=postgres user=postgres"
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(dsn, password="canary-wrong")
    with psycopg.connect(dsn, password=postgres_server.password.reveal()) as connection:
        assert connection.execute("SHOW unix_socket_directories").fetchone() == ("",)
        assert connection.execute("SHOW log_statement").fetchone() == ("all",)


def test_redis_refuses_a_stranger(redis_server: servers.RedisServer) -> None:
    """Without the password nothing can be done; with it, everything."""
    with pytest.raises(redis.exceptions.AuthenticationError):
        redis.Redis(redis_server.host, redis_server.port, retry=Retry(NoBackoff(), 0)).ping()
    mine = redis.Redis(redis_server.host, redis_server.port, password=redis_server.password.reveal())
    assert mine.acl_whoami() == "default"


def test_no_password_in_an_argument_list_or_left_on_disk(
    postgres_server: servers.PostgresServer, redis_server: servers.RedisServer
) -> None:
    """Neither the list of processes, nor what is printed of a server, nor its folder has the password."""
    seen = _arguments_of_all_processes()
    for server in (postgres_server, redis_server):
        assert server.password.reveal().encode() not in seen
        assert server.password.reveal() not in repr(server)
        top_level = [file.read_bytes() for file in server.folder.iterdir() if file.is_file()]
        assert top_level
        assert not any(server.password.reveal().encode() in content for content in top_level)


@pytest.mark.slow
@pytest.mark.parametrize("aclfile", [True, False])
def test_redis_forgets_what_was_not_saved_and_keeps_what_was(*, aclfile: bool) -> None:
    """A restart keeps saved users and loses the others, so that a test of durability means something."""
    with servers.redis_server(aclfile=aclfile) as server:
        client = redis.Redis(server.host, server.port, password=server.password.reveal())
        client.acl_setuser("kept", enabled=True, nopass=True)
        _ = client.acl_save() if aclfile else client.config_rewrite()
        client.acl_setuser("lost", enabled=True, nopass=True)
        before = server.pid
        server.kill()
        server.restart()
        assert server.pid != before
        assert sorted(client.acl_users()) == ["default", "kept"]


@pytest.mark.slow
def test_postgresql_comes_back_after_a_kill_on_the_same_port() -> None:
    """A killed server is started again with what was committed."""
    with servers.postgres_server() as server:
        login = {"host": server.host, "port": server.port, "user": "postgres", "dbname": "postgres"}
        with psycopg.connect(**login, password=server.password.reveal(), autocommit=True) as connection:  # type: ignore[arg-type]
            connection.execute("CREATE ROLE kept")
        server.kill()
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(**login, password=server.password.reveal())  # type: ignore[arg-type]
        server.restart()
        with psycopg.connect(**login, password=server.password.reveal()) as connection:  # type: ignore[arg-type]
            assert connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'kept'").fetchone() == (1,)
        folder, pid = server.folder, server.pid
    assert not folder.exists()
    assert not _is_running(pid)


@pytest.mark.slow
def test_an_exception_in_the_block_leaves_nothing_behind() -> None:
    """The servers go and the exception goes on."""
    with pytest.raises(RuntimeError, match="canary"), servers.redis_server() as server:
        raise RuntimeError("canary")
    assert not server.folder.exists()
    assert not _is_running(server.pid)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_parent_ends_the_servers(number: signal.Signals) -> None:
    """However the process that started them is killed, the servers stop and their folders go."""
    program = (
        "import time\n"
        "from adapters.demo.servers import postgres_server, redis_server\n"
        "with postgres_server() as a, redis_server() as b:\n"
        "    print(a.pid, a.folder, b.pid, b.folder, flush=True)\n"
        "    time.sleep(600)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as parent:
        assert parent.stdout is not None
        first, first_folder, second, second_folder = parent.stdout.readline().split()
        assert _is_running(int(first))
        assert _is_running(int(second))
        parent.send_signal(number)
        parent.wait(20)
    assert _eventually(lambda: not _is_running(int(first)) and not _is_running(int(second)))
    assert _eventually(lambda: not Path(first_folder).exists() and not Path(second_folder).exists())


def test_missing_programs_name_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without wheels and without a system server, the error says what to install."""
    monkeypatch.setattr(servers, "_POSTGRES_WHEELS", ())
    monkeypatch.setattr(servers, "_REDIS_WHEELS", ())
    monkeypatch.setattr(servers, "_SYSTEM_POSTGRES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for find in (servers.find_postgres, servers.find_redis):
        with pytest.raises(servers.ServerMissing) as caught:
            find()
        assert "pip install 'keyturn[demo]'" in caught.value.advice


@pytest.mark.slow
@pytest.mark.skipif(os.getuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_starts_the_servers_as_itself() -> None:
    """Without root the servers run as whoever starts them."""
    system = f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"
    interpreter = next((name for name in (sys.executable, system) if servers.may_run(Path(name))), None)
    if interpreter is None:
        pytest.skip("no Python that an ordinary user may run")
    program = (
        "import os\n"
        "from adapters.demo.servers import postgres_server, redis_server\n"
        "with postgres_server() as a, redis_server() as b:\n"
        "    print(os.stat(f'/proc/{a.pid}').st_uid, os.stat(f'/proc/{b.pid}').st_uid)\n"
    )
    done = subprocess.run(
        [interpreter, "-B", "-c", program],
        cwd=ROOT,
        user=65534,
        group=65534,
        extra_groups=[],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.stdout.split() == ["65534", "65534"], done.stderr
