"""A cluster in one process: API server, controllers, a node of local processes, an Alluxio master over a directory.

For fast tests and the demo alone. What it claims of Kubernetes, tests/contract.py checks against a real API server too.
"""

import threading
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

from controllers.kube.client import Cluster
from devcluster.apiserver import ApiServer
from devcluster.faults import Fault
from devcluster.jobs import Controllers
from devcluster.master import AlluxioMaster
from devcluster.node import ProcessNode

__all__ = ["AlluxioMaster", "ApiServer", "Controllers", "DevCluster", "Fault", "ProcessNode"]


class DevCluster:
    """All parts together; a context manager. ``workdir`` gets the kubeconfig and what the pods write.

    ``behaviour`` goes to the master. Without ``directory`` there is none.
    """

    def __init__(
        self, directory: str | Path | None, crds: Iterable[dict[str, Any]], workdir: str | Path, **behaviour: Any
    ) -> None:
        self.server, self.kubeconfig = ApiServer(crds), Path(workdir) / "kubeconfig"
        self.server.write_kubeconfig(self.kubeconfig)
        self.cluster = Cluster.connect(str(self.kubeconfig), pool_size=16, user_agent="devcluster")
        self.node = ProcessNode(self.cluster, Path(workdir) / "pods")
        self.master = AlluxioMaster(directory, **behaviour) if directory else None
        self.masters: list[str] = []  # the master's address as a Dataset names it
        self.web_port, self._stack = self.master.web_port if self.master else 0, ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(self.server)
            run = Controllers(self.server.store).run
            threading.Thread(target=run, args=(self.server.changed, self.server.stopping), name="controllers").start()
            self.server.log_readers[self.node.name] = self.node.logs
            stack.callback(self.cluster.close)
            if self.master:
                self.masters = [f"127.0.0.1:{stack.enter_context(self.master).port}"]
            stack.enter_context(self.node)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
