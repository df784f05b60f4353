"""``fluidctl mount`` at a real Alluxio 2.9.6 over object stores: several mounts, nested ones, and every refusal."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from controllers.api.job_commands import MountStorages, WantedMount
from controllers.api.result import Exit, Progress, Result
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import methods, requests
from fluidctl.load.channel import Settings
from fluidctl.load.mount import run
from fluidctl.load.session import Session
from fluidctl.load.watch import Watch
from tests.objectstore import ObjectStore
from tests.real.alluxio import Alluxio

KEY, SECRET = "s3a.accessKeyId", "s3a.secretKey"
HIDDEN = "hunter2-hunter2"


@pytest.fixture(scope="module")
def store() -> Iterator[ObjectStore]:
    with ObjectStore() as made:
        made.fill("one", {"a/x": 1, "a/sub/y": 2, "other/z": 3})
        for bucket in ("two", "three", "denied"):
            made.fill(bucket, {"p/q": 1})
        made.fail("denied", "", 403)
        yield made


@pytest.fixture(scope="module")
def master(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Alluxio]:
    properties = {"alluxio.master.mount.table.root.readonly": "false"}
    with Alluxio(tmp_path_factory.mktemp("root"), properties=properties) as made:
        yield made


class Job:
    """Runs the Job in this process with the mounts of one dataset, and looks at what it left."""

    def __init__(self, master: Alluxio, store: ObjectStore, secrets: Path) -> None:
        self.master, self.store, self.secrets = master, store, secrets
        self.shown: list[Progress] = []
        self.session = Session(master.rpc_address, "root", "auto")
        (secrets / "creds").mkdir()
        (secrets / "creds" / "key").write_text("id\n")
        (secrets / "creds" / "secret").write_text(f"{HIDDEN}\n")

    def mount(self, path: str, uri: str, *, read_only: bool = True, **options: str) -> WantedMount:
        known = {name: value for name, value in self.store.properties("s3").items() if name not in (KEY, SECRET)}
        options = {name.replace("__", "."): value for name, value in options.items()}
        return WantedMount(path, uri, read_only, known | options, {KEY: "creds/key", SECRET: "creds/secret"})

    def run(self, *mounts: WantedMount, remount: bool = False) -> tuple[Result, Exit]:
        command = MountStorages((self.master.rpc_address,), "/dataset", mounts, remount)
        watch = Watch("mount", self.shown.append, time.monotonic, 60)
        result, code = run(command, Settings(command.masters, connect_seconds=10), watch, self.secrets)
        assert HIDDEN not in result.to_json()
        return result, code

    def table(self) -> dict[str, tuple[str, bool]]:
        answer = self.session.call(methods.GET_MOUNT_TABLE, pb.GetMountTableRequest(checkUfs=False))
        found = {e.key.decode(): (e.value.ufsUri.decode(), e.value.readOnly) for e in answer.mountPoints}
        return {path: mount for path, mount in found.items() if path != "/"}

    def paths(self) -> set[str]:
        request = requests.list_status(b"/dataset", recursive=True)
        answers = self.session.stream(methods.LIST_STATUS, request)
        return {info.path.decode() for answer in answers for info in answer.fileInfos if not info.folder}


@pytest.fixture
def job(master: Alluxio, store: ObjectStore, tmp_path: Path) -> Iterator[Job]:
    made = Job(master, store, tmp_path)
    yield made
    assert made.run()[1] is Exit.COMPLETE
    made.session.close()


def test_several_mounts_and_again_and_others(job: Job) -> None:
    """A second run lists nothing; a changed spec unmounts what is no longer wanted, and moves what moved."""
    first = (job.mount("/dataset/a", "s3://one/a"), job.mount("/dataset/deep/er/b", "s3://two/p", read_only=False))
    assert job.run(*first)[1] is Exit.COMPLETE
    assert job.table() == {"/dataset/a": ("s3://one/a", True), "/dataset/deep/er/b": ("s3://two/p", False)}
    assert job.paths() == {"/dataset/a/x", "/dataset/a/sub/y", "/dataset/deep/er/b/q"}

    job.store.reset_counts()
    result, code = job.run(*first)
    assert (code, result.reason) == (Exit.COMPLETE, "Mounted")
    assert job.store.counts.lists == 2, "the master asks whether each is there"
    job.store.reset_counts()
    assert job.paths() == {"/dataset/a/x", "/dataset/a/sub/y", "/dataset/deep/er/b/q"}
    assert job.store.counts.lists == 0

    second = (job.mount("/dataset/a", "s3://three/p"), job.mount("/dataset/deep", "s3://two/p"))
    assert job.run(*second)[1] is Exit.COMPLETE
    assert job.table() == {"/dataset/a": ("s3://three/p", True), "/dataset/deep": ("s3://two/p", True)}
    assert job.paths() == {"/dataset/a/q", "/dataset/deep/q"}


def test_with_other_options_a_storage_that_no_load_would_compare_is_mounted_anew(job: Job) -> None:
    """The same URI at another address has other files. Over two kinds of storage a load is a listing from memory."""
    with ObjectStore() as moved:
        moved.fill("two", {"p/new": 1})
        s3 = job.mount("/dataset/a", "s3://one/a")
        before = WantedMount("/dataset/b", "oss://two/p", read_only=True, options=job.store.properties("oss"))
        after = replace(before, options=moved.properties("oss"))
        assert job.run(s3, before)[1] is Exit.COMPLETE
        files = {"/dataset/a/x", "/dataset/a/sub/y"}
        assert job.paths() == files | {"/dataset/b/q"}
        assert job.run(s3, after)[1] is Exit.COMPLETE
        assert job.paths() == files | {"/dataset/b/q"}, "from memory"
        assert job.run(s3, after, remount=True)[1] is Exit.COMPLETE
        assert job.paths() == files | {"/dataset/b/new"}
        job.store.reset_counts()
        assert job.run(s3, remount=True)[1] is Exit.COMPLETE
        assert job.paths() == files
        assert job.store.counts.lists == 1, "the master asks whether it is there: the load compares it"


def test_mounts_in_mounts_that_are_read_only(job: Job) -> None:
    """Alluxio lets none into a read-only mount: it is opened for a moment, and nothing is made in its storage."""
    mounts = (
        job.mount("/dataset/in", "s3://two/p"),
        job.mount("/dataset", "s3://one/a"),
        job.mount("/dataset/sub/in", "s3://three/p"),
    )
    assert job.run(*mounts)[1] is Exit.COMPLETE
    assert {path: read_only for path, (_, read_only) in job.table().items()} == {m.path: True for m in mounts}
    assert job.paths() == {"/dataset/x", "/dataset/sub/y", "/dataset/in/q", "/dataset/sub/in/q"}
    assert job.run(*mounts)[1] is Exit.COMPLETE


REFUSALS: dict[str, tuple[Callable[[Job], WantedMount], str]] = {
    "a bucket that is not there": (lambda job: job.mount("/dataset/a", "s3://none/a"), "NoSuchBucket"),
    "a directory that is not there": (lambda job: job.mount("/dataset/a", "s3://one/none"), "one/none does not exist"),
    "wrong credentials, at a bucket": (lambda job: job.mount("/dataset/a", "s3://denied/"), "403 Forbidden"),
    "wrong credentials, at a directory": (lambda job: job.mount("/dataset/a", "s3://denied/p"), "403"),
    "no storage at this address": (
        lambda job: job.mount("/dataset/a", "s3://two/", alluxio__underfs__s3__endpoint="http://127.0.0.1:9"),
        "Connect to 127.0.0.1:9",
    ),
    "an unknown storage": (lambda job: job.mount("/dataset/a", "foo://one/a"), "No Under File System Factory"),
    "no such Secret": (
        lambda job: WantedMount("/dataset/a", "s3://one/a", secrets={KEY: "other/key"}),
        "Secret other/key cannot be read",
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSALS)
def test_a_refusal_is_a_sentence_without_secrets_and_leaves_no_mount(job: Job, what: str) -> None:
    make, words = REFUSALS[what]
    result, code = job.run(make(job))
    assert (code, result.reason) == (Exit.MOUNT_REFUSED, "MountRefused")
    assert words in result.message
    assert job.table() == {}


def test_a_mount_in_a_storage_that_has_no_directory_for_it_is_refused_and_nothing_is_made_there(job: Job) -> None:
    result, code = job.run(job.mount("/dataset", "s3://one/a"), job.mount("/dataset/none/in", "s3://two/p"))
    assert code is Exit.MOUNT_REFUSED
    assert "make /none there" in result.message
    assert job.table() == {"/dataset": ("s3://one/a", True)}


def test_a_mount_that_would_hide_what_a_storage_has_is_refused(job: Job) -> None:
    result, code = job.run(job.mount("/dataset", "s3://one/a"), job.mount("/dataset/sub", "s3://two/p"))
    assert code is Exit.MOUNT_REFUSED
    assert "shadows" in result.message
    assert job.table() == {"/dataset": ("s3://one/a", True)}
