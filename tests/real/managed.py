"""Everything real for managed Alluxio: control plane, node in boxes, object store, and the controller as in a pod."""

import os
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from controllers.api.dataset_spec import MANAGED_PATH
from controllers.kube.client import Cluster
from controllers.kube.resources import (
    ALLUXIORUNTIMES,
    DATABACKUPS,
    DATASETS,
    JOBS,
    PERSISTENTVOLUMECLAIMS,
    PODS,
    STATEFULSETS,
    Resource,
)
from controllers.runtime import names
from fluidctl.load.methods import LIST_STATUS
from fluidctl.load.requests import NEVER, list_status
from fluidctl.load.session import Session
from tests.objectstore import ObjectStore
from tests.real.controlplane import ControlPlane
from tests.real.podnode import PodNode
from tests.real.process import Process
from tests.real.sandbox import Bind, Box, python
from tests.real.stack import INSTALLED, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.world import WATCHED, Eyes, Obj, Sight

_IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount"
_USUAL = (
    "--metrics-bind=127.0.0.1:0",
    "--health-bind=127.0.0.1:0",
    "--log-format=text",
    "--progress-seconds=1",
    "--cache-poll-seconds=1",
    "--no-leader-elect",  # a killed one is followed at once, not after the 15 s of its Lease
)
#: Where the bucket "two" appears: in a directory that the bucket "one" has.
NESTED = "/d000001/two"
#: A key that no object but its Secret may show; the store takes any.
SECRET = "of-bucket-one-alone"  # noqa: S105


class Managed(Sight):
    """Context manager: the stage without a controller; ready in about 6 s.

    Attributes:
        store: an S3 to which the Secret ``s3`` in the namespace default has the keys.
    """

    def __init__(self, work: Path, latency: float = 0.0) -> None:
        self.work, self._latency, self._stack = work, latency, ExitStack()
        self._controllers: list[Process] = []

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.store = stack.enter_context(ObjectStore(self._latency))
            self.control_plane = stack.enter_context(ControlPlane(INSTALLED))
            self.kubectl = self.control_plane.kubectl
            self.cluster = Cluster.connect(str(self.control_plane.kubeconfig), pool_size=64, user_agent="test")
            stack.callback(self.cluster.close)
            self.node = stack.enter_context(PodNode(self.cluster, self.work / "node"))
            self.eyes = Eyes(self.cluster, (*WATCHED, ALLUXIORUNTIMES, DATABACKUPS, STATEFULSETS))
            stack.callback(self.eyes.close)
            literals = (f"--from-literal={key}={value}" for key, value in (("id", "id"), ("secret", SECRET)))
            self.kubectl("create", "secret", "generic", "s3", *literals)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_controller(self, *flags: str, first: str = "") -> Process:
        """Start a controller with the identity that it has in a cluster; return it once its caches are filled.

        ``first``: what this Python does before it begins, as to give a constant another value.
        """
        name = f"controller-{len(self._controllers) + 1}"
        identity = self.work / name
        identity.mkdir()
        (identity / "token").write_text(self.control_plane.token(SYSTEM_NAMESPACE, SERVICE_ACCOUNT, 86_400))
        (identity / "ca.crt").write_bytes(self.control_plane.ca.read_bytes())
        (identity / "namespace").write_text(SYSTEM_NAMESPACE)
        server = urlsplit(self.control_plane.url)
        where = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
        box = Box([Bind(identity, _IDENTITY, True)], self.node.names, "controller")
        begin = ["-c", f"{first}\nfrom fluidctl.cli import entry\nentry()"] if first else ["-m", "fluidctl"]
        command = box.command(python(*begin, "controller", *_USUAL, *flags), where | {"HOME": "/"})
        made = Process(command, self.work / f"{name}.log", os.environ)
        self._stack.callback(made.kill)
        self._controllers.append(made)
        made.wait_ready(lambda: "caches are filled" in made.log.read_text(), 120)
        return made

    def kill_controller(self) -> None:
        """End the controller that was started last, by SIGKILL."""
        self._controllers[-1].kill()

    def spec(self, path: str = "/", **changes: Any) -> Obj:
        """Return the spec of a Dataset with both buckets, the one in the other; ``path`` has no meaning here."""
        return {"mounts": [self.mount("one", path), self.mount("two", NESTED, secret="")], **changes}

    def make(self, name: str, heap: str = "400m", **changes: Any) -> None:
        """Create a Dataset of both buckets, with an AlluxioRuntime of one worker."""
        tiers = {"levels": [{"mediumtype": "SSD", "path": "/cache", "quota": "64Mi"}]}
        runtime = {"replicas": 1, "tieredstore": tiers, "jvmOptions": [f"-Xmx{heap}"]}
        self.cluster.create(ALLUXIORUNTIMES, "default", {"metadata": {"name": name}, "spec": runtime})
        self.apply(name, self.spec(**changes))

    def remove(self, name: str, seconds: float = 120.0) -> None:
        """Delete a Dataset with its runtime, and wait until nothing of either is left."""
        self.kubectl("delete", "dataset,alluxioruntime", name, "--ignore-not-found", "--wait=false")
        kinds = (DATASETS, ALLUXIORUNTIMES, JOBS, PODS, PERSISTENTVOLUMECLAIMS)

        def left() -> list[str]:
            found = [o["metadata"]["name"] for kind in kinds for o in self.eyes.all(kind)]
            return [other for other in found if other == name or other.startswith(f"{name}-")]

        self.eyes.until(lambda: not left(), seconds, left)

    def claim(self, name: str) -> Path:
        """Create a claim and return its directory."""
        wanted = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": "1Gi"}}}
        self.cluster.create(PERSISTENTVOLUMECLAIMS, "default", {"metadata": {"name": name}, "spec": wanted})
        self.seen(PERSISTENTVOLUMECLAIMS, name, lambda claim: claim.get("status", {}).get("phase") == "Bound")
        return self.node.claimed("default", name)

    def backup(self, name: str, dataset: str, place: str, **more: Any) -> None:
        """Create a DataBackup."""
        spec = {"dataset": {"name": dataset}, "backupStorageLocationSpec": {"mountPath": f"pvc://{place}"}, **more}
        self.cluster.create(DATABACKUPS, "default", {"metadata": {"name": name}, "spec": spec})

    def seen(self, kind: Resource, name: str, right: Callable[[Obj], Any], seconds: float = 120.0) -> Obj:
        """Wait until an object of that name is as wanted, and return it."""

        def found() -> Obj | None:
            return next((o for o in self.eyes.all(kind) if o["metadata"]["name"] == name and right(o)), None)

        return dict(self.eyes.until(found, seconds, lambda: self.told(name)))

    def told(self, name: str) -> str:
        """Return what a person would look at: objects of that name or below it, and their events."""
        kinds = "datasets,alluxioruntimes,databackups,statefulsets,pods,jobs"
        events = self.kubectl("get", "events.events.k8s.io", "--output=custom-columns=W:.regarding.name,N:.note")
        lines = [line for line in events.splitlines() if name in line]
        return "\n".join([self.kubectl("get", kinds), *lines[-15:]])

    def listing(self, runtime: str) -> dict[str, int]:
        """Return every file that the master of a runtime knows of its dataset, and its length; asks no storage."""
        (pod,) = (o for o in self.eyes.all(PODS) if o["metadata"]["name"] == f"{names.master(runtime)}-0")
        session = Session(f"{pod['status']['podIP']}:{names.MASTER_RPC_PORT}", "test", "simple")
        try:
            request = list_status(MANAGED_PATH.encode(), NEVER, recursive=True)
            infos = [info for answer in session.stream(LIST_STATUS, request) for info in answer.fileInfos]
        finally:
            session.close()
        return {info.path.decode().removeprefix(MANAGED_PATH): info.length for info in infos if not info.folder}

    def mount(self, bucket: str, path: str, secret: str = "s3") -> Obj:  # noqa: S107 the name of a Secret
        """Return a mount of a Dataset: a bucket of the store; the keys from a Secret, or in the open where "" is."""
        options = self.store.properties("s3")
        encrypted = {"s3a.accessKeyId": "id", "s3a.secretKey": "secret"}
        made: Obj = {"mountPoint": f"s3://{bucket}/", "name": bucket, "path": path, "options": options}
        if secret:
            made["options"] = {name: value for name, value in options.items() if name not in encrypted}
            made["encryptOptions"] = [
                {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}
                for name, key in encrypted.items()
            ]
        return made
