"""A cluster in one process: API server, controllers, a node of local processes, an Alluxio master over a directory.

For fast tests and the demo alone. What it claims of Kubernetes, tests/contract.py checks against a real API server too.
"""

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from controllers.kube.client import Cluster
from devcluster.apiserver import ApiServer, Fault
from devcluster.jobs import Controllers
from devcluster.kinds import Obj
from devcluster.master import AlluxioMaster
from devcluster.node import ProcessNode

__all__ = ["AlluxioMaster", "ApiServer", "Controllers", "DevCluster", "Fault", "ProcessNode"]


class DevCluster(ExitStack):
    """All parts together; a context manager. ``workdir`` gets the kubeconfig and what the pods write.

    ``how`` (its behaviour) goes to the master. Without ``directory`` there is none.
    """

    def __init__(self, directory: str | Path | None, crds: Iterable[Obj], workdir: str | Path, **how: Any) -> None:
        super().__init__()
        self.server, self.kubeconfig = ApiServer(crds), Path(workdir) / "kubeconfig"
        self.server.write_kubeconfig(self.kubeconfig)
        self.cluster = Cluster.connect(str(self.kubeconfig), pool_size=16, user_agent="devcluster")
        self.node = ProcessNode(self.cluster, Path(workdir) / "pods")
        self.server.logs = self.node.logs
        self.master = AlluxioMaster(directory, **how) if directory else None
        self.masters: list[str] = []  # the master's address as a Dataset names it
        self.web_port = self.master.web_port if self.master else 0

    def __enter__(self) -> Self:
        self.enter_context(self.server)
        work, changed, stopping = Controllers(self.server.store).run, self.server.changed, self.server.stopping
        threading.Thread(target=work, args=(changed, stopping), name="controllers").start()
        self.callback(self.cluster.close)
        if self.master:
            self.masters = [f"127.0.0.1:{self.enter_context(self.master).port}"]
        self.enter_context(self.node)
        return self
