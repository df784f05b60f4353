"""Everything real at once: control plane with our CRDs and RBAC, Alluxio over a directory, a node, controllers."""

import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from controllers.kube.client import Cluster
from tests.real import binaries
from tests.real.alluxio import Alluxio
from tests.real.controlplane import ControlPlane
from tests.real.kubelet import LoggingNode
from tests.real.process import Process

_MANIFESTS = Path(__file__).parent.parent.parent / "manifests"
#: What a cluster gets, but for the Deployment: the controller runs here.
INSTALLED = [
    _MANIFESTS / "crds",
    *(_MANIFESTS / "controller" / f"{name}.yaml" for name in ("namespace", "rbac", "rbac-logs", "rbac-users")),
]
SYSTEM_NAMESPACE, SERVICE_ACCOUNT = "fluidctl-system", "fluidctl"
_TOKEN_SECONDS = 86_400


def missing_tools(*more: str) -> list[str]:
    """Return what the real programs need to be built or to run, and what of ``more`` is not on the PATH."""
    needed = ["java", "mvn", "openssl", *more, *(["go"] if binaries.needs_go() else [])]
    return [name for name in needed if shutil.which(name) is None]


class Stack:
    """Context manager. Ready in about 6 s.

    Attributes:
        control_plane, alluxio: running. node: runs every pod as processes of this machine. storage, work: as given.
    """

    def __init__(self, storage: Path, work: Path, properties: Mapping[str, str] | None = None) -> None:
        """``storage`` is the root of Alluxio, with ``properties``; ``work`` an existing directory."""
        self._properties = properties
        self.work = work
        self.storage = storage
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.control_plane = stack.enter_context(ControlPlane(INSTALLED))
            self.alluxio = stack.enter_context(Alluxio(self.storage, 1, self._properties))
            cluster = Cluster.connect(str(self.control_plane.kubeconfig), pool_size=16, user_agent="process-node")
            stack.callback(cluster.close)
            self.node = stack.enter_context(LoggingNode(cluster, self.work / "pods"))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def controller_flags(self) -> list[str]:
        """Return the flags of a controller outside of this cluster, with the rights that it would have inside."""
        kubeconfig = self.control_plane.token_kubeconfig(SYSTEM_NAMESPACE, SERVICE_ACCOUNT, _TOKEN_SECONDS)
        return [f"--kubeconfig={kubeconfig}", f"--lease-namespace={SYSTEM_NAMESPACE}"]

    def start_controller(self, *flags: str, name: str = "controller") -> Process:
        """Start a controller that serves datasets of this storage; its log is ``name``.log in ``work``.

        It ends with the stack at the latest; ``stop`` or ``kill`` it to see what another one makes of its work.
        """
        ports = ["--metrics-bind=127.0.0.1:0", "--health-bind=127.0.0.1:0"]
        usual = ["--allow-local-ufs", "--log-format=text", "--progress-seconds=1", "--cache-poll-seconds=5"]
        command = [sys.executable, "-m", "fluidctl", "controller", *self.controller_flags(), *ports, *usual, *flags]
        clean = {name: value for name, value in os.environ.items() if not name.startswith("FLUIDCTL_")}
        process = Process(command, self.work / f"{name}.log", clean)
        self._stack.callback(process.stop)
        return process
