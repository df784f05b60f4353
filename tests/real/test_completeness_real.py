"""Random trees in a storage that fails at random: never Ready with a file missing, and Ready in the end.

``make test-real K=completeness SEEDS=200``; ``SEED=17 SEEDS=1`` repeats one. Each seed (tests/objectstore/plans.py) is
a Dataset of the real controller on the embedded cluster, loaded and counted by the real steps against a real Alluxio
2.9.6, whose s3a and oss drivers ask tests/objectstore. All of them share one master, so that the failures of one are
noise to the others.

Three things are shortened. A pod is a thread that runs fluidctl.load.main.run: a start of Python costs more CPU than
such a step (processes are in test_flow_real.py). Back-off, between attempts and between calls, is a tenth. A task that
stands still is left after 10 s instead of 60.
"""

import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import grpc
import pytest

import devcluster.node
from controllers.api.result import Exit, Totals
from controllers.api.spelling import decode
from controllers.config import ControllerConfig
from controllers.dataset import attempts
from controllers.dataset.seen import RETRY_ANNOTATION
from controllers.jobs import DATASET
from controllers.kube.resources import DATASETS
from controllers.manager import Controller
from devcluster import DevCluster
from devcluster.kinds import Obj
from fluidctl.load import empties, load, main, requests, sync, vouch
from fluidctl.load.channel import Client, Settings
from fluidctl.load.methods import LIST_STATUS, Method
from fluidctl.load.retry import Rule
from fluidctl.load.session import Session
from fluidctl.load.watch import Watch
from tests.load_kit import Steps
from tests.objectstore import Driver, ObjectStore
from tests.objectstore.plans import Plan, plan
from tests.real.alluxio import Alluxio
from tests.world import CRDS, Eyes, Sight, condition

SEEDS = int(os.environ.get("FLUIDCTL_SEEDS") or 24)
FIRST = int(os.environ.get("FLUIDCTL_SEED") or 1)
#: Small pages, so that small trees have several; a storage that is given up soon.
PROPERTIES = {
    "alluxio.master.mount.table.root.readonly": "false",  # mounts are made below it
    "alluxio.underfs.listing.length": "10",
    "alluxio.underfs.s3.max.error.retry": "1",
    "alluxio.underfs.s3.request.timeout": "2sec",
    "alluxio.underfs.s3.socket.timeout": "2sec",
    "alluxio.underfs.oss.retry.max": "1",
    "alluxio.underfs.oss.socket.timeout": "2sec",
    "alluxio.underfs.oss.connection.timeout": "2sec",
}
SLOW_SECONDS = 4.0
AT_ONCE = 6  # steps; more are more threads in one interpreter
DRIVERS: tuple[Driver, ...] = ("s3", "oss")
SHARED = "shared"  # the bucket of the seeds that have none of their own


class ThreadPod(devcluster.node._Pod):
    """A pod of a process node whose container is a thread of this process."""

    def __init__(self, obj: Obj, directory: Path) -> None:
        self.obj, self.directory = obj, directory
        self.ended, self.told = threading.Event(), threading.Event()
        directory.mkdir(parents=True)
        container = obj["spec"]["containers"][0]
        argv = [word.replace("$$", "$") for word in (*container["command"], *container.get("args", ()))][1:]
        self._command = main._command(main._parser().parse_args([*argv, f"--spill-path={directory}"]))
        self._log = (directory / "log").open("w", buffering=1)
        seconds = self._command.no_progress_seconds
        self._watch = Watch(self._command.step, lambda shown: print(shown, file=self._log), time.monotonic, seconds)

    def signal(self, number: int) -> None:
        """End the step as SIGTERM would."""
        self._watch.terminate()

    def wait(self) -> Obj:
        """Run the step and return the state of its container."""
        with self._log:
            result, code = main.run(self._command, self._settings(), self._watch)
        self.ended.set()
        return {"exitCode": int(code), "reason": "Error" if code else "Completed", "message": result.to_json()}

    def _settings(self) -> Settings:
        older = self.obj["metadata"]["labels"][DATASET].startswith("older")
        return (Older if older else Settings)(self._command.masters)


class Older(Settings):
    """Lets a client find no asynchronous sync, as on masters before 2.9.4."""


class Storm(Sight):
    """One Alluxio over one store, an embedded cluster, a controller."""

    def __init__(self, work: Path, stack: ExitStack) -> None:
        self.store = stack.enter_context(ObjectStore())
        self.store.slow = SLOW_SECONDS
        (root := work / "root").mkdir()
        properties = self.store.properties("s3") | self.store.properties("oss") | PROPERTIES
        self.alluxio = stack.enter_context(Alluxio(root, properties=properties))
        self.session = Session(self.alluxio.rpc_address, "root", "auto")
        stack.callback(self.session.close)
        dev = stack.enter_context(DevCluster(None, CRDS, work))
        self.cluster = dev.cluster
        self.eyes = Eyes(self.cluster)
        stack.callback(self.eyes.close)
        for driver in DRIVERS:
            self.store.fill(f"{SHARED}-{driver}", {"other": 1})
            self.mount(f"/{driver}", self.store.uri(driver, f"{SHARED}-{driver}"))
        config = ControllerConfig(
            kubeconfig=str(dev.kubeconfig),
            allow_local_ufs=True,
            loads_per_master=AT_ONCE,
            lease_namespace="default",
            metrics_bind="",
            health_bind="",
            cache_poll_seconds=5.0,
        )
        controller = Controller(config, threading.Event())
        controller.start()
        stack.callback(controller.stop)

    def spec(self, path: str = "/", **changes: Any) -> Obj:
        """See Sight."""
        alluxio = {"masters": [self.alluxio.rpc_address], "webPort": self.alluxio.web_port, "datasetPath": path}
        return {"mounts": [], "alluxio": alluxio, **changes}

    def mount(self, path: str, uri: str) -> None:
        """Let the master mount a bucket: MountPRequest {1: path, 2: URI, 3: {1: read-only, 4: common options}}."""
        options = b"\x08\x01" + _field(4, requests.list_status(b"/").options.commonOptions.SerializeToString())
        body = _field(1, path.encode()) + _field(2, uri.encode()) + _field(3, options)
        self.session.call(cast(Any, MOUNT), cast(Any, _Raw(body)), 60.0)

    def others(self, path: str, recursive: bool) -> None:
        """Do what any other client does: list everything, believe what is answered."""
        waiting = [path.encode()]
        while waiting:
            with suppress(grpc.RpcError):
                for answer in self.session.stream(
                    LIST_STATUS, requests.list_status(waiting.pop(), recursive=recursive)
                ):
                    waiting += [info.path for info in answer.fileInfos if info.folder and not recursive]


class _Raw:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802 - as protobuf has it
        return self._data

    @classmethod
    def FromString(cls, data: bytes) -> "_Raw":  # noqa: N802
        return cls(data)


MOUNT = Method("/alluxio.grpc.file.FileSystemMasterClientService/Mount", cast(Any, _Raw), cast(Any, _Raw))


def _field(number: int, data: bytes) -> bytes:
    assert len(data) < 128
    return bytes([number << 3 | 2, len(data)]) + data


@dataclass
class Life:
    """How one seed went. ``first`` is where it came without a person; ``wrong`` what must never be."""

    plan: Plan
    path: str
    healed: bool = False
    failures: int = 0  # the most at any time
    first: str = ""
    over: bool = False
    wrong: str = ""

    @property
    def bucket(self) -> str:
        return self.plan.name if self.plan.at_root else f"{SHARED}-{self.plan.driver}"

    @property
    def prefix(self) -> str:
        return "" if self.plan.at_root else f"{self.plan.name}/"


@pytest.fixture(scope="module")
def storm(real_programs: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storm]:
    delay, has_sync = Rule.delay, Client.has_sync
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Rule, "delay", lambda rule, failures, rng: delay(rule, failures, rng) / 10)
        patch.setattr(attempts, "RETRY_BASE", 1.0)
        patch.setattr(empties, "MARKER_SECONDS", 1.0)
        for module in (load, sync, vouch):
            patch.setattr(module, "QUIET_SECONDS", 10.0)
        patch.setattr(Client, "has_sync", lambda self: not isinstance(self._settings, Older) and has_sync(self))
        patch.setattr(devcluster.node, "_Pod", ThreadPod)
        yield Storm(tmp_path_factory.mktemp("storm"), stack)


@pytest.mark.timeout(120 + 20 * SEEDS)
def test_what_is_ready_is_complete_and_what_can_recover_gets_ready(storm: Storm) -> None:
    """And all others say why, and get ready when the storage is mended and a person asks."""
    with ThreadPoolExecutor(AT_ONCE) as pool:
        lives = list(pool.map(lambda seed: _prepare(storm, plan(seed)), range(FIRST, FIRST + SEEDS)))
    by_name = {life.plan.name: life for life in lives}
    for life in lives:
        limits = {"maxAttempts": 4, "parallelism": 4, "noProgressSeconds": 30}
        storm.apply(life.plan.name, storm.spec(life.path, load=limits))

    def step() -> bool:
        for obj in storm.eyes.all(DATASETS):
            _visit(storm, by_name[obj["metadata"]["name"]], obj)
        return all(life.over for life in lives)

    def left() -> Any:
        return [
            (str(life.plan), life.first, (storm.get(life.plan.name) or {}).get("status"))
            for life in lives
            if not life.over
        ]

    storm.eyes.until(step, 60.0 + 20 * SEEDS, left)
    print("\n" + "\n".join(f"{life.plan}\n    {life.first}" for life in lives))
    wrong = [f"{life.plan}\n  first: {life.first}\n  wrong: {life.wrong}" for life in lives if life.wrong]
    assert not wrong, "\n".join(wrong)


def _prepare(storm: Storm, made: Plan) -> Life:
    life = Life(made, f"/{made.name}" if made.at_root else f"/{made.driver}/{made.name}")
    storm.store.fill(life.bucket, {life.prefix + key: size for key, size in made.keys.items()})
    if made.at_root:
        storm.mount(life.path, storm.store.uri(made.driver, life.bucket))
    for trouble in made.troubles:
        place = life.prefix + trouble.prefix
        storm.store.fail(
            life.bucket,
            place,
            trouble.how,
            page=trouble.page,
            times=trouble.times,
            kinds=trouble.kinds,
            shown=trouble.shown,
        )
    if made.earlier:
        storm.others(life.path, made.earlier == "recursive")
    if made.heal == "earlier":
        _heal(storm, life)
    return life


def _heal(storm: Storm, life: Life) -> None:
    storm.store.heal(life.bucket, life.prefix)
    life.healed = True


def _visit(storm: Storm, life: Life, obj: Obj) -> None:
    """Look at a Dataset after a change: judge it, and heal its storage when it is time."""
    status = obj.get("status", {})
    failures = status.get("load", {}).get("failures", 0) + status.get("size", {}).get("failures", 0)
    life.failures = max(life.failures, failures)
    if not life.healed and life.plan.heal.isdigit() and failures >= int(life.plan.heal):
        _heal(storm, life)
    ready, stalled = condition(obj, "Ready"), condition(obj, "Stalled")
    if ready.get("status") == "True":
        size = status["size"]
        found = Totals(*(size.get(name, 0) for name in ("files", "directories", "bytes")))
        if found != life.plan.totals:
            life.wrong = f"MISSED: Ready with {found}"
        life.first = life.first or f"Ready after {life.failures} failures"
        life.over = True
    elif stalled.get("status") != "True":
        return
    elif life.plan.older and ready["reason"] == "LoadedUnverified":  # such a master cannot do better
        life.first = life.first or f"{ready['reason']}: {status['size'].get('lastError')}"
        life.wrong = life.wrong or ("" if status["size"].get("lastError") else "unproved, and nobody knows why")
        life.over = True
    elif not life.first:
        life.first = f"{ready['reason']}: {ready['message']}"
        life.wrong = _unexplained(life, status, ready)
        _heal(storm, life)
        mended = {"metadata": {"annotations": {RETRY_ANNOTATION: "mended"}}}
        storm.cluster.merge_patch(DATASETS, "default", life.plan.name, mended)
    elif status.get("lastHandledRetry"):
        life.over = True
        life.wrong = f"not Ready after the storage was mended: {ready['reason']}: {ready['message']}"


def _unexplained(life: Life, status: Obj, ready: Obj) -> str:
    """Return what is wrong with the way in which a Dataset says that it is not Ready."""
    if life.plan.recoverable:
        return "recoverable, but it was given up"
    known = {life.path, *(f"{life.path}/{name}" for name in life.plan.directories)}
    named = {decode(name).decode() for name in status["load"].get("failedDirectories", [])}
    if ready["reason"] == "Incomplete" and not (named or life.path in ready["message"]):
        return "incomplete, but no directory is named"
    if named - known:
        return f"there are no directories {named - known}"
    return "" if ready["message"] and ready["reason"] != "Internal" else "no reason"


# --- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", DRIVERS)
@pytest.mark.parametrize(
    ("keys", "kept"),
    [
        (["100%", "d%/x", " a ", " d /x", "tab\t", "new\n/x", "#", "+", "*;<>", "\u00fc/\u00ef"], True),
        (["a", "q?", "d?/x"], False),  # a directory is listed by that name, and cannot be opened
        (["a", "b\\s", "d\\e/x"], False),
    ],
)
def test_names_are_loaded_exactly_or_never_proved(
    storm: Storm, tmp_path: Path, driver: Driver, keys: list[str], kept: bool
) -> None:
    """Each name as the storage has it; where Alluxio cannot hold one, nothing says that all is well."""
    place = f"names-{uuid4().hex}"
    storm.store.fill(f"{SHARED}-{driver}", {f"{place}/{key}": 1 for key in keys})
    result, code = Steps(tmp_path, [storm.alluxio.rpc_address]).both(f"/{driver}/{place}")

    assert result.proved == kept, result
    if kept:
        folders = {key.partition("/")[0] for key in keys if "/" in key}
        assert (code, result.totals) == (Exit.COMPLETE, Totals(len(keys), len(folders), len(keys)))


@pytest.mark.parametrize("driver", DRIVERS)
def test_what_no_client_can_see_is_as_the_page_on_reliability_says(
    storm: Storm, tmp_path: Path, driver: Driver
) -> None:
    """A key that is a file and a folder; an empty component. Should this fail, Alluxio or the page has changed."""
    keys = {"both/a": 1, "both/a/x": 1, "double/a//b": 1, "double/c": 1}
    storm.store.fill(f"{SHARED}-{driver}", {f"unseen/{key}": size for key, size in keys.items()})
    steps = Steps(tmp_path, [storm.alluxio.rpc_address])
    both, _ = steps.both(f"/{driver}/unseen/both")
    double, _ = steps.both(f"/{driver}/unseen/double")

    assert (both.proved, both.totals) == (driver == "s3", Totals(1, 0, 1))
    assert (double.proved, double.totals) == (True, Totals(1, 1, 1) if driver == "s3" else Totals(2, 1, 2))
