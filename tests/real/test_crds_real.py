"""The CRDs on a real API server: accepted, and they do there what they promise."""

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controllers.api.crd import KINDS
from tests.dataset_cases import GOOD, REFUSED, Refused
from tests.real.controlplane import ControlPlane

SAMPLES = Path(__file__).parent.parent.parent / "manifests" / "samples"
API = "/apis/data.fluid.io/v1alpha1"
_COLUMNS = ["NAME", "PHASE", "FILES", "SIZE", "CACHED", "PROGRESS", "MESSAGE", "AGE"]
Apply = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    name = f"crds-{uuid.uuid4().hex[:8]}"
    control_plane.kubectl("create", "namespace", name)
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture
def apply(control_plane: ControlPlane, namespace: str) -> Apply:
    """Return what applies a Dataset of this spec by kubectl, as a person does, and returns what is stored."""

    def apply_(spec: dict[str, Any], name: str = "") -> dict[str, Any]:
        body = {
            "apiVersion": "data.fluid.io/v1alpha1",
            "kind": "Dataset",
            "metadata": {"name": name or f"d-{uuid.uuid4().hex[:8]}", "namespace": namespace},
            "spec": spec,
        }
        stored: dict[str, Any] = json.loads(
            control_plane.kubectl("apply", "--output=json", "--filename=-", stdin=json.dumps(body))
        )
        return stored

    return apply_


def refusal(apply: Apply, *arguments: Any) -> str:
    with pytest.raises(subprocess.CalledProcessError) as caught:
        apply(*arguments)
    return str(caught.value.stderr)


@pytest.mark.parametrize("plural", [kind.plural for kind in KINDS])
def test_every_crd_is_established_and_wholly_structural(control_plane: ControlPlane, plural: str) -> None:
    control_plane.kubectl("wait", "--for=condition=Established", f"crd/{plural}.data.fluid.io", "--timeout=30s")
    crd = control_plane.request(
        "GET", f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{plural}.data.fluid.io"
    )
    conditions = {condition["type"]: condition["status"] for condition in crd["status"]["conditions"]}
    assert conditions.get("NonStructuralSchema", "False") == "False"
    assert conditions["NamesAccepted"] == "True"


@pytest.mark.parametrize("case", [case for case in REFUSED if case.server], ids=lambda case: case.name)
def test_the_server_refuses_at_once_and_says_why(apply: Apply, case: Refused) -> None:
    assert case.server in refusal(apply, case.spec)


@pytest.mark.parametrize("case", [case for case in REFUSED if not case.server], ids=lambda case: case.name)
def test_what_only_the_controller_refuses_can_be_stored(apply: Apply, case: Refused) -> None:
    """Else the case belongs among those that the server refuses, and its author would never see our sentence."""
    assert apply(case.spec)["spec"]


def test_defaults_are_written_into_objects_that_are_there_and_make_none(apply: Apply) -> None:
    assert set(apply(GOOD)["spec"]) == {"mounts", "alluxio", "accessModes"}
    spec = apply({**GOOD, "load": {}, "volume": {}})["spec"]
    assert spec["load"] == {
        "loader": "Grpc",
        "parallelism": 16,
        "maxAttempts": 4,
        "startingDeadlineSeconds": 600,
        "noProgressSeconds": 900,
        "maxRemovedFraction": "0.1",
    }
    assert spec["volume"] == {
        "enabled": True,
        "publish": "AfterLoad",
        "storageClassName": "fluid",
        "capacity": "100Pi",
    }
    assert spec["alluxio"] == {"masters": ["alluxio-master-0.alluxio:19998"], "webPort": 19999, "datasetPath": "/"}


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        pytest.param({"volume": {}}, {"volume": {"storageClassName": "x"}}, "a claim keeps it", id="storage class"),
        pytest.param({"volume": {}}, {"volume": {"capacity": "1Gi"}}, "a claim keeps it", id="capacity"),
        pytest.param({}, {"accessModes": ["ReadWriteMany"]}, "a claim keeps it", id="access modes"),
        pytest.param({}, {"alluxio": None}, "create another Dataset", id="kind of Alluxio"),
    ],
)
def test_what_a_claim_keeps_cannot_change(apply: Apply, before: Any, after: Any, message: str) -> None:
    name = f"d-{uuid.uuid4().hex[:8]}"
    apply({**GOOD, **before}, name)
    assert message in refusal(apply, {**GOOD, **after}, name)


def test_what_decides_the_content_can_change(apply: Apply) -> None:
    name = f"d-{uuid.uuid4().hex[:8]}"
    apply(GOOD, name)
    changed = {"mounts": [{"mountPoint": "s3://other"}], "alluxio": {"masters": ["m:1"], "datasetPath": "/x"}}
    assert apply(changed, name)["metadata"]["generation"] == 2


def test_the_status_is_a_subresource_whose_conditions_are_a_map(control_plane: ControlPlane, apply: Apply) -> None:
    stored = apply(GOOD)
    path = f"{API}/namespaces/{stored['metadata']['namespace']}/datasets/{stored['metadata']['name']}"
    ready = {"type": "Ready", "status": "True", "reason": "Counted", "message": "12 files are ready to use"}
    status = {
        "phase": "Ready",
        "fileCount": 12,
        "ufsTotal": "1.00GiB",
        "ufsTotalBytes": 2**63 - 1,
        "cacheStates": {"cachedPercentage": "50.0%"},
        "conditions": [ready],
    }
    stored["status"] = status
    assert "status" not in control_plane.request("PUT", path, stored)
    stored = control_plane.request("GET", path)
    answer = control_plane.request("PUT", f"{path}/status", {**stored, "status": status})
    assert answer["status"] == status
    assert answer["metadata"]["generation"] == stored["metadata"]["generation"]
    doubled = {**answer, "status": {**status, "conditions": [ready, ready]}}
    with pytest.raises(OSError, match="422"):
        control_plane.request("PUT", f"{path}/status", doubled)
    table = control_plane.kubectl("get", "dset", "--namespace", stored["metadata"]["namespace"], "--output=wide")
    assert table.splitlines()[0].split() == _COLUMNS
    row = next(line for line in table.splitlines() if line.startswith(stored["metadata"]["name"]))
    assert row.split()[1:5] == ["Ready", "12", "1.00GiB", "50.0%"]
    assert "12 files are ready to use" in row
    selected = control_plane.kubectl("get", "datasets", "--all-namespaces", "--field-selector=status.phase=Ready")
    assert stored["metadata"]["name"] in selected
    assert f"dataset.data.fluid.io/{stored['metadata']['name']}" in control_plane.kubectl("get", "fluid", "-A")


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("dataset.spec.load", "After so many failed attempts in a row"),
        ("dataset.spec.mounts.path", "Where the mount appears"),
        ("dataset.status.conditions", "metav1.Condition"),
        ("databackup.spec.backupStorageLocationSpec.mountPath", "pvc://"),
        ("scheduleddatabackup.spec.schedule", "cron"),
        ("alluxioruntime.spec.tieredstore.levels", "of Fluid"),
    ],
)
def test_kubectl_explains_every_field(control_plane: ControlPlane, path: str, text: str) -> None:
    assert text in " ".join(control_plane.kubectl("explain", path).split())


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_samples_apply_under_strict_validation(control_plane: ControlPlane, sample: Path) -> None:
    namespace = f"sample-{sample.stem}"  # several samples speak of a Dataset of one name
    control_plane.kubectl("create", "namespace", namespace)
    control_plane.kubectl("apply", "--validate=strict", "--namespace", namespace, "--filename", str(sample))
    for document in yaml.safe_load_all(sample.read_text(encoding="utf-8")):
        kind, name = document["kind"], document["metadata"]["name"]
        stored = json.loads(control_plane.kubectl("get", kind, name, "-n", namespace, "-o", "json"))
        assert_kept(document.get("spec", {}), stored.get("spec", {}))
    control_plane.kubectl("delete", "namespace", namespace, "--wait=false")


def assert_kept(given: Any, stored: Any) -> None:
    """Nothing that was given was pruned."""
    if isinstance(given, dict):
        for key, value in given.items():
            assert_kept(value, stored[key])
    elif isinstance(given, list):
        assert len(given) == len(stored)
        for one, other in zip(given, stored, strict=True):
            assert_kept(one, other)
    else:
        assert given == stored


BACKUP = {"dataset": {"name": "images"}, "backupStorageLocationSpec": {"mountPath": "pvc://backups/images"}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param({"backupStorageLocationSpec": {"mountPath": "s3://b"}}, "must be pvc://claim/", id="no claim"),
        pytest.param({"backupStorageLocationSpec": {"mountPath": "pvc://b/../c"}}, "no part . or ..", id="climbs"),
        pytest.param({"dataset": {}}, "Required value", id="no dataset"),
        pytest.param({"backoffLimit": 5}, "create another DataBackup", id="edited"),
        pytest.param({"runAs": {"uid": 7, "gid": 7}}, "create another DataBackup", id="another user"),
        pytest.param({"runAs": {"uid": 0, "gid": 0}}, "greater than or equal to 1", id="root"),
    ],
)
def test_a_backup_says_what_and_where_to(
    control_plane: ControlPlane, namespace: str, change: dict[str, Any], message: str
) -> None:
    body = {"apiVersion": "data.fluid.io/v1alpha1", "kind": "DataBackup", "metadata": {"name": "b"}}
    arguments = ("apply", "--namespace", namespace, "--filename=-")
    control_plane.kubectl(*arguments, stdin=json.dumps({**body, "spec": BACKUP}))
    with pytest.raises(subprocess.CalledProcessError) as caught:
        control_plane.kubectl(*arguments, stdin=json.dumps({**body, "spec": {**BACKUP, **change}}))
    assert message in caught.value.stderr


def test_no_dataset_can_be_so_deep_that_reading_it_fails(control_plane: ControlPlane, namespace: str) -> None:
    """Python reads JSON by recursion: a field of free form, 1,500 levels deep, would break every list of Datasets."""
    path = f"{API}/namespaces/{namespace}/datasets"
    for field in ("affinity", "resources"):
        deep: dict[str, Any] = {}
        for _ in range(100):
            deep = {"nodeAffinity": deep} if field == "affinity" else {"claims": [deep]}
        body = {
            "apiVersion": "data.fluid.io/v1alpha1",
            "kind": "Dataset",
            "metadata": {"generateName": "deep-"},
            "spec": {**GOOD, "load": {"podTemplate": {field: deep}}},
        }
        assert depth(body) > 100
        assert depth(control_plane.request("POST", path, body)["spec"]) < 20


def depth(value: Any) -> int:
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(depth, parts), default=0)
