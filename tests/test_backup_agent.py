"""The agent beside a master: whoever has the token gets finished backups, and nothing else of the machine."""

import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from controllers.api.result import Exit, Master
from fluidctl.backup.agent import Server, Staging
from fluidctl.backup.errors import BackupError
from fluidctl.backup.sources import Agent, FromAgent
from fluidctl.backup.volume import Directory
from fluidctl.load import alluxio_pb2 as pb
from tests.backup_files import watch

NAME = "alluxio-backup-2026-11-24-1795540370183.gz"
DATA = os.urandom(300_000)
TOKEN = b"secret"


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """Return a directory with a finished backup, one that is being written, and a secret beside it."""
    place = tmp_path / "staging"
    place.mkdir()
    (tmp_path / "secret.gz").write_text("secret")
    (place / NAME).write_bytes(DATA)
    (place / f"{NAME}.complete").touch()
    (place / "alluxio-backup-2026-11-24-2.gz").write_bytes(b"half")
    (place / "other").write_text("other")
    (place / "other.complete").touch()
    return place


@pytest.fixture
def server(staging: Path) -> Iterator[Server]:
    with Server(("127.0.0.1", 0), Staging(str(staging)), lambda: TOKEN) as running:
        threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield running
        running.shutdown()


def ask(server: Server, method: str, path: str, **headers: str) -> tuple[int, bytes, Any]:
    connection = http.client.HTTPConnection(*server.server_address[:2], timeout=30)  # type: ignore[arg-type]
    connection.request(method, path, headers={"Authorization": "Bearer secret"} | headers)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body, answer.headers


def agent(server: Server, token: str = "secret") -> Agent:  # noqa: S107
    host, port = server.server_address[:2]
    return Agent(f"http://{host!s}:{port}", token, watch())


def test_finished_backups_are_listed_and_served(server: Server, staging: Path) -> None:
    """One that is being written is not there yet."""
    status, body, _ = ask(server, "GET", "/backups")
    modified = int((staging / NAME).stat().st_mtime)
    assert (status, json.loads(body)) == (200, [{"name": NAME, "size": len(DATA), "modified": modified}])
    assert ask(server, "GET", f"/backups/{NAME}")[:2] == (200, DATA)
    assert ask(server, "GET", "/backups/alluxio-backup-2026-11-24-2.gz")[0] == 404


def test_a_part_is_served_from_where_it_is_wanted(server: Server) -> None:
    """A connection that broke is gone on with; another kind of range means all, a wrong one is refused."""
    status, body, headers = ask(server, "GET", f"/backups/{NAME}", Range="bytes=299000-")
    assert (status, body, headers["Content-Range"]) == (206, DATA[299000:], "bytes 299000-299999/300000")
    for other in ("bytes=0-", "bytes=-5", "bytes=1-2", "lines=1-", "bytes=x-", "bytes=²-"):
        assert ask(server, "GET", f"/backups/{NAME}", Range=other)[:2] == (200, DATA)
    for beyond in ("bytes=300000-", "bytes=999999999999999999-"):
        assert ask(server, "GET", f"/backups/{NAME}", Range=beyond)[0] == 416


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "secret", "Bearer sécret"]
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_without_the_token_nothing_is_said_and_nothing_removed(
    server: Server, staging: Path, method: str, given: str
) -> None:
    """Not even whether a file is there."""
    before = sorted(staging.iterdir())
    for path in ("/backups", f"/backups/{NAME}", "/backups/no", "/"):
        assert ask(server, method, path, Authorization=given)[:2] == (401, b"")
    assert sorted(staging.iterdir()) == before


def test_an_empty_token_lets_nobody_in(server: Server) -> None:
    """A Secret that is not filled yet is no word that everybody knows."""
    server.token = lambda: b""
    for given in ("", "Bearer ", "Bearer", "Bearer secret"):
        assert ask(server, "GET", "/backups", Authorization=given)[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/backups/",
        "/backupsx",
        f"/{NAME}",
        "/backups/other",
        "/backups/../secret.gz",
        "/backups/..%2fsecret.gz",
        "/backups//etc/passwd",
        f"/backups/./{NAME}",
        f"/backups/x/../{NAME}",
        f"/backups/{NAME}?",
        f"/backups/{NAME}%00",
        f"/backups/{NAME}.complete",
        f"/backups/{NAME}/",
        f"http://host/backups/{NAME}",
        "/backups/alluxio-backup-../../secret.gz",
    ],
)
@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_nothing_but_the_plain_name_of_a_backup_is_served_or_removed(
    server: Server, staging: Path, method: str, path: str
) -> None:
    """No way leads out of the directory."""
    before = sorted(staging.parent.rglob("*"))
    assert ask(server, method, path)[0] == 404
    assert sorted(staging.parent.rglob("*")) == before


def test_a_link_is_not_followed(server: Server, staging: Path) -> None:
    """Whoever may write into the staging directory may still not read what the agent may."""
    (staging / NAME).unlink()
    (staging / NAME).symlink_to(staging.parent / "secret.gz")
    assert ask(server, "GET", f"/backups/{NAME}")[0] == 404


def test_one_is_removed_with_its_marker_and_all_with_what_was_not_finished(server: Server, staging: Path) -> None:
    """What is gone is as good; what is no backup stays."""
    for _ in range(2):
        assert ask(server, "DELETE", f"/backups/{NAME}")[0] == 204
    assert sorted(path.name for path in staging.iterdir()) == [
        "alluxio-backup-2026-11-24-2.gz",
        "other",
        "other.complete",
    ]
    assert ask(server, "DELETE", "/backups")[0] == 204
    assert sorted(path.name for path in staging.iterdir()) == ["other", "other.complete"]


def test_what_is_old_goes_unless_it_is_being_read(staging: Path) -> None:
    """A Job that was lost leaves a file with credentials, and nobody else would remove it."""
    place = Staging(str(staging))
    now = (staging / NAME).stat().st_mtime
    place.clear(now - 1)
    assert (staging / NAME).exists()
    with place.open(NAME) as file:
        place.clear(now + 1)
        assert file.read() == DATA
        assert (staging / NAME).exists()
        assert not (staging / "alluxio-backup-2026-11-24-2.gz").exists()
    place.clear(now + 1)
    assert sorted(path.name for path in staging.iterdir()) == ["other", "other.complete"]


def test_the_job_copies_a_file_also_over_connections_that_break(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes on from where one broke, and has all of it in the end."""
    sizes = iter((1, 100_000, 0, 50_000))

    def breaking(answer: http.client.HTTPResponse, wanted: int) -> bytes:
        size = next(sizes, None)
        if size is None:
            return real(answer, wanted)
        if size == 0:
            raise ConnectionResetError
        data = real(answer, size)
        answer.close()
        return data

    real = http.client.HTTPResponse.read
    monkeypatch.setattr(http.client.HTTPResponse, "read", breaking)
    with (tmp_path / "copy").open("wb") as file:
        agent(server).fetch(NAME, file)
    assert (tmp_path / "copy").read_bytes() == DATA


def test_an_agent_that_is_away_refuses_or_has_nothing_is_named_so(server: Server, tmp_path: Path) -> None:
    """Each with its own reason: the same Job is tried again later, the Secret is looked at, or the volume."""
    with (tmp_path / "copy").open("wb") as file:
        with pytest.raises(BackupError) as caught:
            agent(server, "wrong").fetch(NAME, file)
        assert caught.value.reason == "AgentRefused"
        with pytest.raises(BackupError) as caught:
            agent(server).fetch("alluxio-backup-9.gz", file)
        assert caught.value.reason == "BackupFileGone"
    times = iter(range(0, 10_000, 40))
    looked = watch()
    looked.clock, looked.pause = lambda: float(next(times)), lambda _: None  # type: ignore[method-assign]
    with pytest.raises(BackupError) as caught:
        Agent("http://127.0.0.1:1", "secret", looked).clear()
    assert (caught.value.reason, caught.value.code) == ("AgentUnreachable", Exit.UNREACHABLE)


@pytest.mark.parametrize("fails", [False, True])
def test_an_attempt_finds_no_older_file_and_at_its_end_removes_none_but_its_own(
    server: Server, staging: Path, tmp_path: Path, fails: bool
) -> None:
    """A node that was lost may come back while another backup is at work beside the same master."""
    own, next_one = "alluxio-backup-2026-11-24-3.gz", "alluxio-backup-2026-11-24-4.gz"

    def write(_: Any) -> pb.BackupStatus:
        found.append(sorted(path.name for path in staging.iterdir()))
        for name in (own, next_one):
            (staging / name).write_bytes(DATA)
            (staging / f"{name}.complete").touch()
        return pb.BackupStatus(backupState=pb.COMPLETED, backupUri=f"file:///{own}", entryCount=7)

    found: list[list[str]] = []
    master: Any = SimpleNamespace(persist=write, changed=False, master=Master(version="2.9.6"))
    partial = tmp_path / "partial"
    partial.mkdir()
    if fails:
        (partial / "metadata.gz").mkdir()
    with Directory(str(partial)) as claim, pytest.raises(FileExistsError) if fails else nullcontext():
        FromAgent(master, agent(server), str(staging), watch()).bring(claim)
        assert (partial / "metadata.gz").read_bytes() == DATA
    assert found == [["other", "other.complete"]]
    assert sorted(path.name for path in staging.iterdir()) == [next_one, f"{next_one}.complete", *found[0]]


def test_the_process_ends_by_sigterm_and_says_nothing_of_the_token(tmp_path: Path, staging: Path) -> None:
    """Also while somebody reads: a pod that ends waits for nobody."""
    token = tmp_path / "token"
    token.write_text("secret\n")
    arguments = ["agent", "--bind=127.0.0.1:0", f"--directory={staging}", f"--token-file={token}"]
    code = "import sys; from fluidctl.cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        line = process.stderr.readline()  # says where it listens
        host, port = line.split()[-1].rsplit(":", 1)
        connection = http.client.HTTPConnection(host, int(port), timeout=30)
        connection.request("GET", "/backups", headers={"Authorization": "Bearer secret"})
        assert connection.getresponse().status == 200
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
        assert "secret" not in line + process.stderr.read()
