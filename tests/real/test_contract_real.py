"""A real kube-apiserver keeps what tests/contract.py says; test_devcluster_contract.py asks the double the same."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.contract")

from controllers.kube.client import Cluster  # noqa: E402
from tests.contract import *  # noqa: E402, F403
from tests.real.controlplane import ControlPlane  # noqa: E402


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Cluster]:
    """Return a client with every right, and a controller-manager behind the server."""
    cluster = Cluster.connect(str(control_plane.kubeconfig), pool_size=4, user_agent="contract")
    yield cluster
    cluster.close()
