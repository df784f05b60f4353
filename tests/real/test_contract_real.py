"""A real kube-apiserver keeps what tests/contract.py says; test_devcluster_contract.py asks the double the same."""

from collections.abc import Iterator

import pytest

pytest.register_assert_rewrite("tests.contract")

from controllers.kube import errors  # noqa: E402
from controllers.kube.client import Cluster  # noqa: E402
from controllers.kube.resources import NAMESPACES, Resource  # noqa: E402
from tests.contract import *  # noqa: E402, F403
from tests.contract import eventually, widget  # noqa: E402
from tests.real.controlplane import ControlPlane  # noqa: E402


@pytest.fixture(scope="session")
def api(control_plane: ControlPlane) -> Iterator[Cluster]:
    """Return a client with every right, and a controller-manager behind the server."""
    cluster = Cluster.connect(str(control_plane.kubeconfig), pool_size=4, user_agent="contract")
    yield cluster
    cluster.close()


def test_nothing_is_created_in_a_namespace_that_is_going(api: Cluster, widgets: Resource, space: str) -> None:
    """Asked of a real server alone: the double never ends a namespace."""
    body = widget("a")
    body["metadata"]["finalizers"] = ["example.org/hold"]
    api.create(widgets, space, body)
    api.delete(NAMESPACES, "", space)
    eventually(lambda: api.get(NAMESPACES, "", space)["status"]["phase"] == "Terminating")
    with pytest.raises(errors.Forbidden, match="because it is being terminated") as error:
        api.create(widgets, space, widget("b"))
    eventually(lambda: "deletionTimestamp" in api.get(widgets, space, "a")["metadata"])
    api.merge_patch(widgets, space, "a", {"metadata": {"finalizers": []}})

    assert error.value.namespace_terminating


def test_a_finalizer_cannot_be_added_to_what_is_being_deleted(api: Cluster, widgets: Resource, space: str) -> None:
    """Asked of a real server alone: the double takes it."""
    body = widget("a")
    body["metadata"]["finalizers"] = ["example.org/hold"]
    api.create(widgets, space, body)
    api.delete(widgets, space, "a")
    with pytest.raises(errors.Invalid, match="no new finalizers can be added if the object is being deleted"):
        api.merge_patch(widgets, space, "a", {"metadata": {"finalizers": ["example.org/hold", "example.org/more"]}})
    api.merge_patch(widgets, space, "a", {"metadata": {"finalizers": []}})
