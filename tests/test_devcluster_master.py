"""The double of an Alluxio master answers, counts and hides as a real one was measured to."""

import os
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from controllers.master_snapshot import parse_info, parse_metrics
from devcluster import AlluxioMaster
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests
from fluidctl.load.session import Session

FILES, DIRECTORIES = 60, 7  # with the root of the tree


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Make /data with 6 directories of 10 files, file n of n bytes."""
    for directory in range(6):
        (tmp_path / "data" / f"d{directory}").mkdir(parents=True)
        for file in range(10):
            (tmp_path / "data" / f"d{directory}" / f"f{file}").write_bytes(b"x" * file)
    return tmp_path


@pytest.fixture
def master(tree: Path) -> Iterator[AlluxioMaster]:
    with AlluxioMaster(tree) as running:
        yield running


@pytest.fixture
def session(master: AlluxioMaster) -> Iterator[Session]:
    connected = connect(master)
    yield connected
    connected.close()


def connect(master: AlluxioMaster) -> Session:
    return Session(f"127.0.0.1:{master.port}", "root", "SIMPLE")


def names(session: Session, path: bytes, *options: Any, **more: Any) -> list[bytes]:
    answer = session.stream(methods.LIST_STATUS, requests.list_status(path, *options, **more))
    return [info.path for part in answer for info in part.fileInfos]


def submit(session: Session, path: bytes = b"/data") -> Any:
    return session.call(methods.SYNC_METADATA_ASYNC, requests.sync_metadata(path))


def task(session: Session, group: int = 0) -> Any:
    return session.call(methods.GET_SYNC_PROGRESS, pb.GetSyncProgressRequest(taskGroupId=group)).task[0]


def finished(session: Session, group: int = 0) -> Any:
    return until(lambda: found if (found := task(session, group)).state != pb.RUNNING else None)


def until(true: Callable[[], Any]) -> Any:
    end = time.monotonic() + 40
    while not (found := true()):
        assert time.monotonic() < end, "it did not come true in time"
        threading.Event().wait(0.01)
    return found


def refused(call: Callable[[], Any]) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value.code(), error.value.details() or ""


def test_a_walk_sees_what_the_directory_has(session: Session, tree: Path) -> None:
    answer = list(session.stream(methods.LIST_STATUS, requests.list_status(b"/data", recursive=True)))
    found = {info.path: (info.folder, info.length) for part in answer for info in part.fileInfos}

    paths = list((tree / "data").rglob("*"))
    expected = {b"/" + os.fsencode(path.relative_to(tree)): path for path in paths}
    assert found.keys() == expected.keys()
    assert all(
        found[name] == (path.is_dir(), 0 if path.is_dir() else path.stat().st_size) for name, path in expected.items()
    )


def test_a_file_lists_itself_and_an_empty_directory_nothing(session: Session, tree: Path) -> None:
    (tree / "empty").mkdir()

    assert names(session, b"/data/d0/f3") == [b"/data/d0/f3"]
    assert names(session, b"/empty") == []
    assert session.call(methods.GET_STATUS, requests.get_status(b"/data/d0/f3")).fileInfo.length == 3


def test_what_is_not_there_or_not_a_path_is_refused(session: Session) -> None:
    missing = refused(lambda: names(session, b"/nope"))
    assert missing == (grpc.StatusCode.NOT_FOUND, 'Path "/nope" does not exist.')
    assert refused(lambda: names(session, b"nope"))[0] is grpc.StatusCode.INVALID_ARGUMENT


def test_a_request_that_would_delete_files_is_refused(session: Session) -> None:
    bare = pb.ListStatusRequest(path=b"/data", options=pb.ListStatusOptions(loadMetadataType=pb.ONCE))
    code, text = refused(lambda: list(session.stream(methods.LIST_STATUS, bare)))

    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "ttl" in text


def test_never_lists_what_is_known_and_once_lists_the_storage_once(
    master: AlluxioMaster, session: Session, tree: Path
) -> None:
    assert names(session, b"/data", requests.NEVER) == []
    assert len(names(session, b"/data")) == 6
    (tree / "data" / "new").touch()
    listings = master.counters["MetadataSyncPrefetchOpsCount"]
    assert len(names(session, b"/data")) == 6
    assert master.counters["MetadataSyncPrefetchOpsCount"] == listings
    assert len(names(session, b"/data", requests.ALWAYS)) == 7
    assert master.counters["MetadataSyncPrefetchOpsCount"] == listings + 1


def test_a_task_loads_everything_and_total_paths_tell_it(master: AlluxioMaster, session: Session) -> None:
    submit(session)
    done = finished(session)

    assert (done.state, done.successOpCount) == (pb.SUCCEEDED, FILES + DIRECTORIES - 1)
    assert b"# of objects loaded from UFS=%d," % (FILES + DIRECTORIES) in done.taskStatString
    assert master.metrics()["Master.TotalPaths"] == FILES + DIRECTORIES + 1
    assert master.counters["MetadataSyncPrefetchOpsCount"] == 0
    assert len(names(session, b"/data", recursive=True)) == FILES + DIRECTORIES - 1
    assert master.counters["MetadataSyncPrefetchOpsCount"] == 0


def test_a_task_of_one_level_loads_what_is_directly_below(session: Session) -> None:
    """The six directories and not their files, so that the progress of a load does not count anything twice."""
    session.call(methods.SYNC_METADATA_ASYNC, requests.sync_metadata(b"/data", pb.ONE))

    assert finished(session).successOpCount == 6


def test_a_running_task_is_adopted_and_can_be_cancelled(master: AlluxioMaster, session: Session) -> None:
    master.behaviour.files_per_second = 0.5
    first, second = submit(session), submit(session)
    assert (first.taskGroupId, second.taskGroupId) == (0, 1)
    assert list(first.taskIds) == list(second.taskIds) == [0]
    session.call(methods.CANCEL_SYNC_METADATA, pb.CancelSyncMetadataRequest(taskGroupId=1))
    assert finished(session).state == pb.CANCELED
    again = refused(lambda: session.call(methods.CANCEL_SYNC_METADATA, pb.CancelSyncMetadataRequest(taskGroupId=0)))
    assert again[0] is grpc.StatusCode.NOT_FOUND
    assert list(submit(session).taskIds) == [1]


def test_a_task_of_a_missing_path_succeeds_with_nothing(session: Session) -> None:
    submit(session, b"/nope")
    done = finished(session)

    assert (done.state, done.successOpCount) == (pb.SUCCEEDED, 0)
    assert b"loaded from UFS=0," in done.taskStatString


def test_the_rate_of_files_is_kept_and_seen(master: AlluxioMaster, session: Session) -> None:
    master.behaviour.files_per_second = 50
    begin = time.monotonic()
    submit(session)
    seen = set()
    while (now := task(session)).state == pb.RUNNING:
        seen.add(now.successOpCount)

    assert time.monotonic() - begin >= (FILES + DIRECTORIES - 1) / 50 - 0.05
    assert any(0 < count < FILES for count in seen)


def test_a_failing_directory_fails_alone_and_hides_in_recursion(master: AlluxioMaster, session: Session) -> None:
    master.behaviour.failing = {b"/data/d1": grpc.StatusCode.PERMISSION_DENIED}
    assert refused(lambda: names(session, b"/data/d1"))[0] is grpc.StatusCode.PERMISSION_DENIED
    before = master.metrics()
    assert len(names(session, b"/data", recursive=True)) == 56
    moved = {name: count - before.get(name, 0) for name, count in master.metrics().items() if "Fail" in name}
    assert moved == {"Master.MetadataSyncPathsFail": 1, "Master.MetadataSyncPrefetchFail": 1}
    submit(session)
    done = finished(session)
    assert (done.state, done.exception.exceptionMessage) == (pb.FAILED, b"PERMISSION_DENIED:/data/d1")
    master.behaviour.failing = {}
    assert len(names(session, b"/data/d1")) == 10


def broken_link(directory: Path) -> None:
    (directory / "gone").symlink_to(directory / "nowhere")


def bad_name(directory: Path) -> None:
    (Path(os.fsdecode(os.fsencode(directory) + b"/\xff"))).touch()


@pytest.mark.parametrize("spoil", [broken_link, bad_name])
def test_one_bad_entry_empties_a_directory_and_only_the_next_listing_tells(
    master: AlluxioMaster, session: Session, tree: Path, spoil: Callable[[Path], None]
) -> None:
    spoil(tree / "data" / "d2")
    assert names(session, b"/data/d2") == []
    before = master.counters["MetadataSyncPrefetchOpsCount"]
    assert names(session, b"/data/d2") == []
    assert master.counters["MetadataSyncPrefetchOpsCount"] == before + 1
    submit(session)
    assert finished(session).state == pb.SUCCEEDED


def test_a_directory_heals_with_its_bad_entry(session: Session, tree: Path) -> None:
    broken_link(tree / "data" / "d2")
    assert len(names(session, b"/data", recursive=True)) == 56
    (tree / "data" / "d2" / "gone").unlink()

    assert len(names(session, b"/data/d2")) == 10


def test_old_masters_and_standbys_do_not_know_the_method(master: AlluxioMaster, session: Session) -> None:
    master.behaviour.asynchronous = False
    assert refused(lambda: submit(session))[0] is grpc.StatusCode.UNIMPLEMENTED
    assert len(names(session, b"/data")) == 6
    master.behaviour.standby = True
    unknown = refused(lambda: session.call(methods.GET_MASTER_INFO, pb.GetMasterInfoRequest()))
    assert unknown[0] is grpc.StatusCode.UNIMPLEMENTED
    connect(master).close()


def test_restart_forgets_channels_and_tasks_and_format_everything(master: AlluxioMaster, session: Session) -> None:
    def identity() -> tuple[str, int, int]:
        fresh = connect(master)
        info = fresh.call(methods.GET_MASTER_INFO, pb.GetMasterInfoRequest()).masterInfo
        fresh.close()
        return info.clusterId, info.startTimeMs, master.metrics()["Master.TotalPaths"]

    submit(session)
    finished(session)
    first = identity()
    master.restart()
    second = identity()
    assert refused(lambda: names(session, b"/data"))[0] in (
        grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNAVAILABLE,
    )  # fmt: skip
    fresh = connect(master)
    assert refused(lambda: task(fresh))[0] is grpc.StatusCode.NOT_FOUND
    fresh.close()
    master.format()
    third = identity()

    assert (first[0], first[2]) == (second[0], second[2])
    assert first[1] < second[1] < third[1]
    assert third[0] != first[0]
    assert third[2] == 1


def test_a_call_without_an_open_authentication_is_refused(master: AlluxioMaster) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{master.port}") as channel:
        method = methods.GET_MASTER_INFO
        call = channel.unary_unary(method.path, method.request.SerializeToString, method.response.FromString)
        assert refused(lambda: call(pb.GetMasterInfoRequest()))[0] is grpc.StatusCode.UNAUTHENTICATED


def test_the_mount_table_names_the_directory(session: Session, tree: Path) -> None:
    (entry,) = session.call(methods.GET_MOUNT_TABLE, pb.GetMountTableRequest()).mountPoints

    assert (entry.key, entry.value.ufsUri) == (b"/", os.fsencode(tree))


def test_the_controller_can_read_the_web_port(master: AlluxioMaster, session: Session) -> None:
    names(session, b"/data")

    def body(path: str) -> bytes:
        with urllib.request.urlopen(f"http://127.0.0.1:{master.web_port}{path}") as answer:
            return bytes(answer.read())

    seen = parse_metrics(body("/metrics/json/"), "any", 0.0)
    assert (seen.total_paths, seen.capacity_bytes, seen.used_bytes, seen.workers) == (8, 0, 0, 0)
    assert parse_info(body("/api/v1/master/info")) == ("2.9.6", master.start_ms)
