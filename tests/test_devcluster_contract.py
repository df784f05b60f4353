"""devcluster keeps what tests/contract.py says of a Kubernetes API server; tests/real asks a real one the same."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.register_assert_rewrite("tests.contract")

from controllers.kube.client import Cluster  # noqa: E402
from devcluster import ApiServer, Controllers  # noqa: E402
from tests.contract import *  # noqa: E402, F403


@pytest.fixture(scope="session")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Return a client of a server with its controllers and without a node."""
    kubeconfig: Path = tmp_path_factory.mktemp("contract") / "kubeconfig"
    with ApiServer() as server:
        server.write_kubeconfig(kubeconfig)
        controllers = threading.Thread(target=Controllers(server.store).run, args=(server.changed, server.stopping))
        controllers.start()
        cluster = Cluster.connect(str(kubeconfig), pool_size=4, user_agent="contract")
        yield cluster
        cluster.close()
