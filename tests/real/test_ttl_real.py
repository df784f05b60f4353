"""The trap that deletes a user's files (see fluidctl/load/requests.py), on a master that may write and looks often.

The master's checker deletes whatever has outlived its time to live, from the storage too. A sentinel, a file with a
millisecond to live, shows that it went its round; everything else must be there as before.
"""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet

from controllers.api.result import Exit
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests
from fluidctl.load.channel import Client
from fluidctl.load.methods import GET_STATUS, Method
from fluidctl.load.session import Session
from tests.load_kit import Steps, every_request, make
from tests.real.alluxio import Alluxio

FILES = [f"{directory}/{file}" for directory in range(3) for file in range(4)]
ROUNDS = 3  # of the checker
NO_TTL, FREE = 2**64 - 1, 1  # fields 15 and 22 of a real FileInfo, as unsigned numbers


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("writable")


@pytest.fixture(scope="module")
def alluxio(real_programs: None, root: Path) -> Iterator[Alluxio]:
    """Return a master that may delete what lies under it, and looks for it every two seconds instead of every hour."""
    properties = {
        "alluxio.master.mount.table.root.readonly": "false",
        "alluxio.master.ttl.checker.interval": "2s",
    }
    with Alluxio(root, properties=properties) as running:
        yield running


@pytest.fixture(scope="module")
def session(alluxio: Alluxio) -> Iterator[Session]:
    made = Session(alluxio.rpc_address, "root", "auto")
    yield made
    made.close()


@pytest.fixture
def steps(alluxio: Alluxio, tmp_path: Path) -> Steps:
    return Steps(tmp_path / "spill", [alluxio.rpc_address])


def test_nothing_that_we_send_lets_a_master_delete_a_file(
    steps: Steps, session: Session, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways of loading and of refreshing, a count that loads, forced listings, every request that can be built."""
    for name in ("sync", "listing", "once", "forced"):
        make(root / name, FILES)
    assert steps.both("/sync")[1] is Exit.COMPLETE
    assert steps.run("size", "/once")[1] is Exit.COMPLETE
    assert steps.run("load", "/forced", directories=[f"/forced/{number}" for number in range(3)])[1] is Exit.COMPLETE
    refreshed = {"refresh": True, "known_paths": 15, "max_removed_fraction": 0.5}
    make(root / "sync", ["new/file"])
    assert steps.run("load", "/sync", **refreshed)[1] is Exit.COMPLETE
    with monkeypatch.context() as older:
        older.setattr(Client, "has_sync", lambda _: False)
        assert steps.both("/listing")[1] is Exit.COMPLETE
        make(root / "listing", ["new/file"])
        assert steps.run("load", "/listing", **refreshed)[1] is Exit.COMPLETE
    for name, request in every_request():
        if isinstance(request, pb.MountRequest | pb.UnmountRequest | pb.RemoveRequest):
            continue  # they load no file
        make(root / name, FILES)
        send(session, name, request)
    before = files(root)

    for number in range(ROUNDS):
        wait_for_the_checker(session, root, number)

    assert files(root) == before
    assert len(before) >= 4 * len(FILES)
    for path in sorted(before):
        assert stored(session, f"/{path}") == (NO_TTL, FREE), path


def send(session: Session, name: str, request: Message) -> None:
    """Send a request to the method that takes its kind."""
    (method,) = (each for each in vars(methods).values() if isinstance(each, Method) and each.request is type(request))
    if method is methods.LIST_STATUS:
        shown = list(session.stream(method, request))
        assert shown or name.endswith("load_only")
    else:
        session.call(method, request)


def wait_for_the_checker(session: Session, root: Path, number: int) -> None:
    """Return when the master has deleted a file of which it was told that its time is over."""
    sentinel = root / f"sentinel-{number}" / "file"
    make(root, [f"sentinel-{number}/file"])
    doomed = pb.CommonOptions(syncIntervalMs=-1, ttl=1, ttlAction=pb.DELETE)
    options = pb.GetStatusOptions(loadMetadataType=pb.ONCE, commonOptions=doomed)
    session.call(GET_STATUS, pb.GetStatusRequest(path=f"/sentinel-{number}/file".encode(), options=options))
    deadline = time.monotonic() + 120
    while sentinel.exists():
        assert time.monotonic() < deadline, "the checker does not come: this test could not fail"
        time.sleep(0.05)  # nobody tells that a file was deleted


def files(root: Path) -> set[str]:
    """Return all files but the sentinels."""
    found = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    return {path for path in found if not path.startswith("sentinel-")}


def stored(session: Session, path: str) -> tuple[int, int]:
    """Return the time to live of an entry and what happens after it, as the master has stored them."""
    info = session.call(GET_STATUS, requests.get_status(path.encode())).fileInfo
    unknown = UnknownFieldSet(info)
    fields = {unknown[n].field_number: unknown[n].data for n in range(len(unknown))}
    return fields[15], fields[22]
