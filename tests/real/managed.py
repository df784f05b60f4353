"""Everything real for managed Alluxio: control plane, node in boxes, object store, and the controller as in a pod."""

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from controllers.kube.client import Cluster
from tests.objectstore import ObjectStore
from tests.real.controlplane import ControlPlane
from tests.real.podnode import PodNode
from tests.real.process import Process
from tests.real.sandbox import Bind, Box, python
from tests.real.stack import INSTALLED, SERVICE_ACCOUNT, SYSTEM_NAMESPACE
from tests.world import Eyes, Obj

_IDENTITY = "/var/run/secrets/kubernetes.io/serviceaccount"
_USUAL = (
    "--metrics-bind=127.0.0.1:0",
    "--health-bind=127.0.0.1:0",
    "--log-format=text",
    "--progress-seconds=1",
    "--cache-poll-seconds=1",
    "--no-leader-elect",  # a killed one is followed at once, not after the 15 s of its Lease
)


class Managed:
    """Context manager: the stage without a controller; ready in about 6 s.

    Attributes:
        store: an S3 whose keys are "id" and "secret", as the Secret ``s3`` in the namespace default says.
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
            self.eyes = Eyes(self.cluster)
            stack.callback(self.eyes.close)
            self.kubectl("create", "secret", "generic", "s3", "--from-literal=id=id", "--from-literal=secret=secret")
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def start_controller(self, *flags: str) -> Process:
        """Start a controller with the identity that it has in a cluster; return it once its caches are filled."""
        name = f"controller-{len(self._controllers) + 1}"
        identity = self.work / name
        identity.mkdir()
        (identity / "token").write_text(self.control_plane.token(SYSTEM_NAMESPACE, SERVICE_ACCOUNT, 86_400))
        (identity / "ca.crt").write_bytes(self.control_plane.ca.read_bytes())
        (identity / "namespace").write_text(SYSTEM_NAMESPACE)
        server = urlsplit(self.control_plane.url)
        where = {"KUBERNETES_SERVICE_HOST": str(server.hostname), "KUBERNETES_SERVICE_PORT": str(server.port)}
        box = Box([Bind(identity, _IDENTITY, True)], self.node.names, "controller")
        command = box.command(python("-m", "fluidctl", "controller", *_USUAL, *flags), where | {"HOME": "/"})
        made = Process(command, self.work / f"{name}.log", os.environ)
        self._stack.callback(made.kill)
        self._controllers.append(made)
        made.wait_ready(lambda: "caches are filled" in made.log.read_text(), 60)
        return made

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
