"""The rig itself: what a pod of the node in boxes sees, and what the control plane sees of it."""

import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controllers.kube.client import Cluster
from controllers.kube.resources import PERSISTENTVOLUMECLAIMS, PODS, Resource
from tests.real.controlplane import ControlPlane
from tests.real.podnode import SERVICES, PodNode
from tests.real.podvolumes import CONFIGMAPS, SECRETS
from tests.world import Eyes, Obj

STATEFULSETS = Resource("apps", "v1", "statefulsets", "StatefulSet")
SECONDS = 120.0


@pytest.fixture(scope="module")
def cluster(control_plane: ControlPlane) -> Iterator[Cluster]:
    with closing(Cluster.connect(str(control_plane.kubeconfig), pool_size=16, user_agent="test")) as made:
        made.create(Resource("", "v1", "namespaces", "Namespace", namespaced=False), "", {"metadata": {"name": "rig"}})
        yield made


@pytest.fixture(scope="module")
def node(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PodNode]:
    with PodNode(cluster, tmp_path_factory.mktemp("node")) as made:
        yield made


@pytest.fixture(scope="module")
def eyes(cluster: Cluster) -> Iterator[Eyes]:
    with closing(Eyes(cluster)) as made:
        yield made


def until(eyes: Eyes, name: str, seen: Callable[[Obj], Any]) -> Obj:
    def found() -> Obj | None:
        pods = [pod for pod in eyes.all(PODS) if pod["metadata"]["name"] == name]
        return pods[0] if pods and seen(pods[0]) else None

    return dict(eyes.until(found, SECONDS, lambda: eyes.all(PODS)))


def phase(wanted: str) -> Callable[[Obj], bool]:
    return lambda pod: bool(pod.get("status", {}).get("phase") == wanted)


def container(script: str, name: str = "main", **more: Any) -> Obj:
    return {"name": name, "image": "fluidctl:dev", "command": ["sh", "-ec", script], **more}


def pod(cluster: Cluster, name: str, *containers: Obj, labels: Obj | None = None, **spec: Any) -> None:
    meta = {"name": name, "labels": labels or {}}
    usual = {"automountServiceAccountToken": False, "restartPolicy": "Never", "containers": list(containers)}
    cluster.create(PODS, "rig", {"metadata": meta, "spec": usual | spec})


def test_volumes_are_where_the_pod_says(cluster: Cluster, node: PodNode, eyes: Eyes) -> None:
    """A claim, an emptyDir between init and main container, files of ConfigMap and Secret; nothing else is writable."""
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create(PERSISTENTVOLUMECLAIMS, "rig", {"metadata": {"name": "data"}, "spec": wanted})
    cluster.create(CONFIGMAPS, "rig", {"metadata": {"name": "conf"}, "data": {"a": "from conf", "b": "x"}})
    cluster.create(SECRETS, "rig", {"metadata": {"name": "key"}, "stringData": {"token": "t0ken"}})
    mounts = {"data": "/data", "between": "/between", "key": "/etc/fluidctl/key"}
    everywhere = [{"name": name, "mountPath": path} for name, path in mounts.items()]
    everywhere += [{"name": "conf", "mountPath": "/opt/x/conf/one", "subPath": "a"}]
    ours = "cat /opt/x/conf/one /etc/fluidctl/key/token /between/left >/data/$(WHO)"
    refused = 'for file in /file /etc/file /opt/x/conf/one /etc/fluidctl/key/token; do ! (echo x >"$file"); done'
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    words = [address, {"name": "WHO", "value": "at-$(IP)"}]
    pod(
        cluster,
        "files",
        container(f"{ours}; {refused}; id -u >/dev/termination-log", volumeMounts=everywhere, env=words),
        initContainers=[container("echo left >/between/left", "first", volumeMounts=everywhere)],
        volumes=[
            {"name": "data", "persistentVolumeClaim": {"claimName": "data"}},
            {"name": "between", "emptyDir": {}},
            {"name": "conf", "configMap": {"name": "conf"}},
            {"name": "key", "secret": {"secretName": "key"}},
        ],
        securityContext={"runAsUser": 65532, "runAsGroup": 65532},
    )

    seen = until(eyes, "files", phase("Succeeded"))

    (written,) = node.claimed("rig", "data").iterdir()
    assert written.name == f"at-{seen['status']['podIP']}"
    assert written.read_text() == "from conft0kenleft\n"
    assert seen["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "65532\n"


def test_a_read_only_claim_is_not_written_to(cluster: Cluster, node: PodNode, eyes: Eyes) -> None:
    """By the volume's readOnly; the pod fails, and its log says why."""
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "other", "readOnly": True}}
    script = container("touch /data/file", volumeMounts=[{"name": "data", "mountPath": "/data"}])
    pod(cluster, "reader", script, volumes=[volume])  # and waits for its claim
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create(PERSISTENTVOLUMECLAIMS, "rig", {"metadata": {"name": "other"}, "spec": wanted})

    until(eyes, "reader", phase("Failed"))

    assert b"Read-only file system" in node.logs("rig", "reader", {"container": "main"})


_SERVE = "exec {python} -m http.server --bind $(IP) 8000"


def test_a_service_has_a_name_once_its_pod_is_ready(cluster: Cluster, node: PodNode, eyes: Eyes) -> None:
    """Two containers, one of which serves; StatefulSet and Service count on the probe; another pod asks by name."""
    address = {"name": "IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    probe = {"httpGet": {"port": "web", "path": "/"}}
    serving = container(
        _SERVE.format(python=sys.executable).replace("$(IP)", '"$IP"'),
        "web",
        env=[address],
        ports=[{"name": "web", "containerPort": 8000}],
        readinessProbe=probe,
    )
    inside: Obj = {"automountServiceAccountToken": False, "terminationGracePeriodSeconds": 1}
    inside["containers"] = [container("exec sleep 600", "idle"), serving]
    template = {"metadata": {"labels": {"app": "web"}}, "spec": inside}
    selector, service = {"app": "web"}, {"clusterIP": "None", "ports": [{"port": 8000}]}
    cluster.create(SERVICES, "rig", {"metadata": {"name": "web"}, "spec": service | {"selector": selector}})
    spec = {"serviceName": "web", "replicas": 1, "selector": {"matchLabels": selector}, "template": template}
    cluster.create(STATEFULSETS, "rig", {"metadata": {"name": "web"}, "spec": spec})
    asking = "import urllib.request as u; print(u.urlopen('http://web.rig.svc:8000', timeout=10).status)"
    seen = until(eyes, "web-0", lambda found: ("Ready", "True") in conditions(found))

    pod(cluster, "asks", container(f'{sys.executable} -c "{asking}" >/dev/termination-log'))
    asked = until(eyes, "asks", phase("Succeeded"))

    assert asked["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "200\n"
    assert f"{seen['status']['podIP']} web.rig.svc.cluster.local" in (node.names / "hosts").read_text()
    with socket.create_connection((seen["status"]["podIP"], 8000), 10):
        pass
    node.hit("rig", "web-0", "web")
    again = until(eyes, "web-0", lambda found: found["status"]["containerStatuses"][1]["restartCount"] == 1)
    assert again["metadata"]["uid"] == seen["metadata"]["uid"]
    assert again["status"]["containerStatuses"][0]["restartCount"] == 0
    cluster.delete(STATEFULSETS, "rig", "web")
    eyes.until(lambda: not any(found["metadata"]["name"] == "web-0" for found in eyes.all(PODS)), SECONDS)
    assert "web.rig.svc" not in (node.names / "hosts").read_text()


def conditions(found: Obj) -> list[tuple[str, str]]:
    return [(each["type"], each["status"]) for each in found.get("status", {}).get("conditions", ())]


def test_a_claim_takes_its_directory_along(cluster: Cluster, node: PodNode, eyes: Eyes) -> None:
    """And the volume, when it is deleted."""
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    cluster.create(PERSISTENTVOLUMECLAIMS, "rig", {"metadata": {"name": "short"}, "spec": wanted})

    def bound() -> Obj | None:
        claims = [c for c in eyes.all(PERSISTENTVOLUMECLAIMS) if c["metadata"]["name"] == "short"]
        return claims[0] if claims and claims[0].get("status", {}).get("phase") == "Bound" else None

    eyes.until(bound, SECONDS)
    place: Path = node.claimed("rig", "short")
    assert place.is_dir()
    cluster.delete(PERSISTENTVOLUMECLAIMS, "rig", "short")

    eyes.until(lambda: not place.exists(), SECONDS)
