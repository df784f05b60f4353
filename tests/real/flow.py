"""The real stack as a test of the whole flow sees it: datasets, controllers, and a load that stands still half-way."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from controllers.jobs import DATASET
from controllers.kube.client import Cluster
from controllers.kube.resources import DATASETS, PODS
from fluidctl.demo import make_tree
from tests.real import binaries
from tests.real.process import Process
from tests.real.stack import Stack
from tests.world import Eyes, Obj, Sight

#: So much journal is written for about 300 files: the load is under way then, and far from its end.
_JOURNAL_BYTES = 100_000
_FILES = 5_000


class Flow(Sight):
    """Eyes on a stack with one controller. ``data`` is the storage: the directory ``name`` is the path /name."""

    def __init__(self, stack: Stack) -> None:
        self.stack, self.data = stack, stack.storage
        self.kubectl = stack.control_plane.kubectl
        self.cluster = Cluster.connect(str(stack.control_plane.kubeconfig), pool_size=16, user_agent="test")
        self.eyes = Eyes(self.cluster)
        self._started = 0
        self.controllers: list[Process] = [self.controller()]

    def close(self) -> None:
        """Stop watching."""
        self.eyes.close()
        self.cluster.close()

    def spec(self, path: str = "/", **changes: Any) -> Obj:
        """See Sight. No mounts: a path below a mount of Alluxio is no mount of its own."""
        alluxio = {"masters": [self.stack.alluxio.rpc_address], "webPort": self.stack.alluxio.web_port}
        return {"mounts": [], "alluxio": {**alluxio, "datasetPath": path}, **changes}

    def make(self, name: str, **changes: Any) -> Obj:
        """Create a Dataset over the directory of its name."""
        return self.apply(name, self.spec(f"/{name}", **changes))

    def controller(self, *flags: str) -> Process:
        """Start a controller and return it once it leads or stands by; its log has a name of its own."""
        self._started += 1
        made = self.stack.start_controller(*flags, name=f"controller-{self._started}")
        says(made, "caches are filled")
        return made

    @contextmanager
    def watching(self, *arguments: str) -> Iterator[Process]:
        """Let kubectl watch in the background; its log is what it printed."""
        command: list[str | Path] = [binaries.program("kubectl"), *arguments, "--watch"]
        process = Process(command, self.stack.work / "watch.log", self.stack.control_plane.environment())
        try:
            yield process
        finally:
            process.stop()

    def half_way(self, name: str, namespace: str = "default") -> Obj:
        """Create a Dataset of 5,000 files and freeze Alluxio in the middle of its load; return the pod that loads."""
        make_tree(self.data / name, _FILES)
        before = self._journal()
        body = {"metadata": {"name": name, "namespace": namespace}, "spec": self.spec(f"/{name}")}
        self.cluster.create(DATASETS, namespace, body)
        deadline = time.monotonic() + 120
        while self._journal() < before + _JOURNAL_BYTES:
            assert time.monotonic() < deadline, f"{name} is not loaded: {self.get(name)}"
            time.sleep(0.01)  # nobody tells that a file has grown
        self.stack.alluxio.pause()
        self.until(name, "MetadataLoaded", "False", "Loading")

        def pods() -> list[Obj]:  # their watch may lie behind that of the Datasets
            return [found for found in self.eyes.all(PODS) if found["metadata"]["labels"].get(DATASET) == name]

        (pod,) = self.eyes.until(pods)
        return dict(pod)

    def thaw(self) -> None:
        """Let Alluxio go on."""
        self.stack.alluxio.resume()

    def _journal(self) -> int:
        return sum(file.stat().st_size for file in (self.stack.alluxio.directory / "journal").rglob("0x*"))


def says(process: Process, words: str, seconds: float = 120.0) -> None:
    """Wait until the log of a process has these words."""
    process.wait_ready(lambda: words in process.log.read_text(), seconds)
