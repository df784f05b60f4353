"""The CRDs: generated, structural, complete for objects of Fluid 1.0, and described for `kubectl explain`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from controllers.api.crd import KINDS, LABELS, definition, main, render

CRDS = Path(__file__).parent.parent / "manifests" / "crds"
BY_PLURAL = {kind.plural: definition(kind) for kind in KINDS}


def schema_of(plural: str) -> dict[str, Any]:
    return BY_PLURAL[plural]["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def nodes(schema: dict[str, Any], where: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema inside of a schema with its path."""
    yield where, schema
    for name, item in schema.get("properties", {}).items():
        yield from nodes(item, f"{where}.{name}")
    if "items" in schema:
        yield from nodes(schema["items"], f"{where}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{where}{{}}")


def test_the_files_in_manifests_are_what_the_models_say() -> None:
    written = {path.name: path.read_text(encoding="utf-8") for path in CRDS.glob("*.yaml")}
    assert written == dict(render()), "run: python -m controllers.api.crd manifests/crds"


def test_main_writes_the_files_and_says_how_to_call_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "new")]) == 0
    assert {path.name for path in (tmp_path / "new").iterdir()} == {name for name, _ in render()}
    assert main([]) == 2
    assert "usage" in capsys.readouterr().err


def test_yaml_reads_back_to_the_definition() -> None:
    assert [yaml.safe_load(text) for _, text in render()] == list(BY_PLURAL.values())


@pytest.mark.parametrize("plural", BY_PLURAL)
def test_an_installer_can_tell_our_crds_from_those_of_fluid(plural: str) -> None:
    metadata = BY_PLURAL[plural]["metadata"]
    assert (metadata["name"], metadata["labels"]) == (f"{plural}.data.fluid.io", LABELS)
    assert LABELS["app.kubernetes.io/name"] == "fluidctl"


@pytest.mark.parametrize("plural", BY_PLURAL)
def test_every_schema_is_structural_and_every_field_described(plural: str) -> None:
    for where, node in nodes(schema_of(plural)):
        assert not {"$ref", "$defs", "anyOf", "allOf", "title", "nullable"} & set(node), where
        assert "type" in node or "x-kubernetes-int-or-string" in node, where
        assert node.get("type") != "integer" or node["format"] in ("int32", "int64"), where
        assert "x-kubernetes-preserve-unknown-fields" not in node, f"{where}: see controllers.api.core"
        assert node.get("type") != "number", f"{where}: no floats in an API"
        assert not (isinstance(node.get("default"), dict)), f"{where}: CEL sees it before the defaults inside of it"
        if not where.endswith(("[]", "{}", ".metadata")):
            assert node.get("description", "").endswith("."), f"{where} needs a sentence for kubectl explain"


def test_no_field_of_a_status_has_a_default() -> None:
    for plural in BY_PLURAL:
        status = schema_of(plural)["properties"]["status"]
        assert [where for where, node in nodes(status) if "default" in node] == []


@pytest.mark.parametrize("plural", BY_PLURAL)
def test_conditions_are_a_map_by_type(plural: str) -> None:
    conditions = schema_of(plural)["properties"]["status"]["properties"]["conditions"]
    assert (conditions["x-kubernetes-list-type"], conditions["x-kubernetes-list-map-keys"]) == ("map", ["type"])


def test_lists_and_texts_under_a_rule_are_bounded_because_the_server_prices_rules_by_them() -> None:
    for plural in BY_PLURAL:
        ruled = [
            node for _, node in nodes(schema_of(plural)["properties"]["spec"]) if "x-kubernetes-validations" in node
        ]
        assert all("maxItems" in node for node in ruled if node["type"] == "array")
        assert all("maxLength" in node for node in ruled if node["type"] == "string")


_PROCESS = "env imagePullSecrets jvmOptions networkMode nodeSelector podMetadata properties resources volumeMounts"
_COMPONENT = f"enabled ports replicas {_PROCESS}"
_IMAGE = "image imagePullPolicy imageTag"
FLUID = {
    "datasets": {
        "spec": "accessModes dataRestoreLocation mounts nodeAffinity owner placement runtimes sharedEncryptOptions "
        "sharedOptions tolerations",
        "spec.dataRestoreLocation": "nodeName path",
        "spec.mounts": "encryptOptions mountPoint name options path readOnly shared",
        "spec.mounts.encryptOptions": "name valueFrom",
        "spec.mounts.encryptOptions.valueFrom.secretKeyRef": "key name",
        "spec.sharedEncryptOptions.valueFrom.secretKeyRef": "key name",
        "spec.nodeAffinity": "required",
        "spec.owner": "gid group uid user",
        "spec.runtimes": "category masterReplicas name namespace type",
        "spec.tolerations": "effect key operator tolerationSeconds value",
        "status": "cacheStates conditions dataBackupRef dataLoadRef datasetRef fileNum hcfs mounts operationRef phase "
        "runtimes ufsTotal",
        "status.conditions": "lastTransitionTime lastUpdateTime message reason status type",
        "status.hcfs": "endpoint underlayerFileSystemVersion",
        "status.runtimes": "category masterReplicas name namespace type",
    },
    "alluxioruntimes": {
        "spec": "alluxioVersion apiGateway data disablePrometheus fuse hadoopConfig imagePullSecrets initUsers "
        "jobMaster jobWorker jvmOptions management master podMetadata properties replicas runAs tieredstore volumes "
        "worker",
        **{f"spec.{name}": _COMPONENT for name in ("master", "worker", "jobMaster", "jobWorker", "apiGateway")},
        "spec.alluxioVersion": _IMAGE,
        "spec.fuse": f"args cleanPolicy {_IMAGE} {_PROCESS}",
        "spec.initUsers": f"env resources {_IMAGE}",
        "spec.data": "pin replicas",
        "spec.management.cleanCachePolicy": "gracePeriodSeconds maxRetryAttempts",
        "spec.management.metadataSyncPolicy": "autoSync",
        "spec.podMetadata": "annotations labels",
        "spec.runAs": "gid group uid user",
        "spec.tieredstore.levels": "high low mediumtype path quota quotaList volumeSource volumeType",
        "status": "apiGateway cacheAffinity cacheStates conditions currentFuseNumberScheduled fuseNumberAvailable "
        "currentMasterNumberScheduled currentWorkerNumberScheduled desiredFuseNumberScheduled fuseNumberReady "
        "desiredMasterNumberScheduled desiredWorkerNumberScheduled fuseNumberUnavailable fusePhase fuseReason "
        "masterNumberReady masterPhase masterReason mountTime mounts selector setupDuration valueFile "
        "workerNumberAvailable workerNumberReady workerNumberUnavailable workerPhase workerReason",
        "status.conditions": "lastProbeTime lastTransitionTime message reason status type",
    },
}


@pytest.mark.parametrize(("plural", "where"), [(plural, where) for plural, known in FLUID.items() for where in known])
def test_every_field_of_fluid_1_0_is_known(plural: str, where: str) -> None:
    node = schema_of(plural)
    for name in where.split("."):
        node = node["properties"][name]
        node = node.get("items", node)
    assert set(FLUID[plural][where].split()) <= set(node["properties"])
