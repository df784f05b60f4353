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
        self.server = ApiServer(crds)
        self.kubeconfig = Path(workdir) / "kubeconfig"
        self.server.write_kubeconfig(self.kubeconfig)
        self.cluster = Cluster.connect(str(self.kubeconfig), pool_size=16, user_agent="devcluster")
        self.node = ProcessNode(self.cluster, Path(workdir) / "pods")
        self.master = AlluxioMaster(directory, **behaviour) if directory else None
        self._stack = ExitStack()

    @property
    def masters(self) -> list[str]:
        """Return the master's address as a Dataset names it."""
        return [f"127.0.0.1:{self.master.port}"] if self.master else []

    @property
    def web_port(self) -> int:
        return self.master.web_port if self.master else 0

    def __enter__(self) -> Self:
        enter, server = self._stack.enter_context, self.server
        enter(server)
        controllers = threading.Thread(target=Controllers(server.store).run, args=(server.changed, server.stopping))
        controllers.start()
        server.log_readers[self.node.name] = self.node.logs
        self._stack.callback(self.cluster.close)
        if self.master:
            enter(self.master)
        enter(self.node)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()
