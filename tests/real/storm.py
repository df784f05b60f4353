"""One real Alluxio 2.9.6 over a storage that fails, and many Datasets at it at once, in one process.

The controller is the real one, on the embedded cluster; load and count are the real steps. Three things are shortened.
A pod is a thread that runs fluidctl.load.main.run: a start of Python costs more CPU than such a step (processes are in
test_flow_real.py). Back-off, between attempts and between calls, is a tenth. A task that stands still is left after
10 s instead of 60.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import grpc
import pytest

import devcluster.node
from controllers.config import ControllerConfig
from controllers.dataset import attempts
from controllers.jobs import DATASET
from controllers.manager import Controller
from devcluster import DevCluster
from devcluster.kinds import Obj
from fluidctl.load import load, main, requests, sync, vouch
from fluidctl.load.channel import Client, Settings
from fluidctl.load.methods import LIST_STATUS, Method
from fluidctl.load.retry import Rule
from fluidctl.load.session import Session
from fluidctl.load.watch import Watch
from tests.objectstore import Driver, ObjectStore
from tests.real.alluxio import Alluxio
from tests.world import CRDS, Eyes, Sight

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


@contextmanager
def storm(work: Path) -> Iterator[Storm]:
    """Run one in this directory, with everything shortened."""
    delay, has_sync = Rule.delay, Client.has_sync
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(Rule, "delay", lambda rule, failures, rng: delay(rule, failures, rng) / 10)
        patch.setattr(attempts, "RETRY_BASE", 1.0)
        for module in (load, sync, vouch):
            patch.setattr(module, "QUIET_SECONDS", 10.0)
        patch.setattr(Client, "has_sync", lambda self: not isinstance(self._settings, Older) and has_sync(self))
        patch.setattr(devcluster.node, "_Pod", ThreadPod)
        yield Storm(work, stack)
