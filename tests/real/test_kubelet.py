"""The process node under a real API server: it binds, reports, answers for logs, and lets go."""

from pathlib import Path

from controllers.kube.client import Cluster
from controllers.kube.resources import PODS
from tests.contract import eventually
from tests.real.controlplane import ControlPlane
from tests.real.kubelet import LoggingNode


def test_a_pod_runs_tells_its_log_and_goes(control_plane: ControlPlane, tmp_path: Path) -> None:
    """From creation to the end of its deletion; the log comes through the API server."""
    cluster = Cluster.connect(str(control_plane.kubeconfig), pool_size=4, user_agent="kubelet-test")
    script = "echo one; echo two; printf bye > /dev/termination-log"
    container = {"name": "main", "image": "any", "command": ["sh", "-c", script]}
    spec = {"restartPolicy": "Never", "automountServiceAccountToken": False, "containers": [container]}
    with LoggingNode(cluster, tmp_path / "pods"):
        cluster.create(PODS, "default", {"metadata": {"name": "speaker"}, "spec": spec})
        eventually(lambda: cluster.get(PODS, "default", "speaker")["status"]["phase"] == "Succeeded")
        (told,) = cluster.get(PODS, "default", "speaker")["status"]["containerStatuses"]
        assert (told["state"]["terminated"]["exitCode"], told["state"]["terminated"]["message"]) == (0, "bye")
        assert cluster.pod_log("default", "speaker", tail_lines=1) == "two\n"
        cluster.delete(PODS, "default", "speaker")
        eventually(lambda: "speaker" not in [pod["metadata"]["name"] for pod in cluster.list_page(PODS, "default")[0]])
    cluster.close()
