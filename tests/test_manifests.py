"""What is installed in a cluster: rights, Deployment, alerts and image fit the code that they are for."""

import configparser
import copy
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry

from controllers.api.crd import KINDS, definition
from controllers.api.dataset import parse_spec
from controllers.api.model import GROUP
from controllers.api.validation import Limits, validate
from controllers.config import ControllerConfig
from controllers.metrics import Metrics
from devcluster.store import Store
from fluidctl.settings import settings
from fluidctl.version import __version__
from tests.rbac import Right, needed

ROOT = Path(__file__).parent.parent
MANIFESTS = ROOT / "manifests"
CONFIG = ControllerConfig()


def documents(directory: str) -> list[dict[str, Any]]:
    """Return every object in the files below a directory of manifests/."""
    files = sorted((MANIFESTS / directory).rglob("*.yaml"))
    return [found for path in files for found in yaml.safe_load_all(path.read_text(encoding="utf-8"))]


BASE = documents("controller")


def one(kind: str, name: str = "fluidctl") -> dict[str, Any]:
    (found,) = (item for item in BASE if item["kind"] == kind and item["metadata"]["name"] == name)
    return found


def granted(kind: str) -> Iterator[tuple[Right, list[str]]]:
    """Yield each right, with the names that it is limited to, of roles of this kind bound to the controller."""
    subject = {"kind": "ServiceAccount", "name": "fluidctl", "namespace": "fluidctl-system"}
    for binding in (item for item in BASE if item["kind"] == f"{kind}Binding" and subject in item["subjects"]):
        assert binding["roleRef"]["kind"] == kind
        for rule in one(kind, binding["roleRef"]["name"])["rules"]:
            for verb in rule["verbs"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        yield (verb, group, resource), rule.get("resourceNames", [])


def test_the_controller_may_do_what_its_code_calls_and_nothing_else() -> None:
    have = {right for kind in ("ClusterRole", "Role") for right, _ in granted(kind)}
    need = needed(ROOT / "controllers")
    assert need - have == set(), "a role in manifests/controller is missing these"
    assert have - need == set(), "no code needs these"


def test_no_right_is_given_twice_or_without_limit() -> None:
    rights = [right for kind in ("ClusterRole", "Role") for right, _ in granted(kind)]
    assert len(rights) == len(set(rights))
    words = {word for right in rights for word in right}
    assert {right for right in rights if right[2] == "secrets"} == {("create", "", "secrets")}
    assert not words & {"*", "pods/exec", "escalate", "bind", "impersonate", "roles", "clusterroles"}


def test_leases_are_touched_in_the_own_namespace_alone_and_by_the_name_that_is_the_default() -> None:
    assert not [right for right, _ in granted("ClusterRole") if right[2] == "leases"]
    assert one("Role")["metadata"]["namespace"] == "fluidctl-system"
    leases = {verb: names for (verb, _, _), names in granted("Role")}
    assert leases == {"create": [], "get": [CONFIG.lease_name], "update": [CONFIG.lease_name]}


def test_rights_are_read_from_the_code_whatever_way_it_names_a_resource(tmp_path: Path) -> None:
    code = """
        def plain(self): self._cluster.delete(PODS, "ns", "n")
        def chosen(self, kind):
            resource = JOBS if kind else PERSISTENTVOLUMES
            self._cluster.create(resource, "ns", {})
        def passed(self, res): self._cluster.get(res, "", "")
        def passes(self): self.passed(LEASES)
        class Reader:
            def read(self): self._cluster.list_page(self._resource)
        def make(cluster): return Reader(cluster, DATASETS)
        def part(cluster): cluster.merge_patch(DATASETS, "ns", "n", {}, subresource="status")
    """
    (tmp_path / "module.py").write_text("if True:\n" + code, encoding="utf-8")
    assert needed(tmp_path) == {
        ("delete", "", "pods"),
        ("get", "coordination.k8s.io", "leases"),
        ("create", "batch", "jobs"),
        ("create", "", "persistentvolumes"),
        ("list", "data.fluid.io", "datasets"),
        ("patch", "data.fluid.io", "datasets/status"),
    }
    (tmp_path / "module.py").write_text("def f(cluster, kind): cluster.get(kind, '', '')", encoding="utf-8")
    with pytest.raises(ValueError, match="cannot tell the resource"):
        needed(tmp_path)


def container() -> dict[str, Any]:
    (found,) = one("Deployment")["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_the_pod_is_allowed_where_pod_security_is_restricted() -> None:
    pod = one("Deployment")["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container()["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert all(set(volume) == {"name", "emptyDir"} for volume in pod["volumes"])
    labels = one("Namespace", "fluidctl-system")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_the_ports_are_those_where_the_controller_listens() -> None:
    ports = {port["name"]: port["containerPort"] for port in container()["ports"]}
    binds = {"metrics": CONFIG.metrics_bind, "health": CONFIG.health_bind}
    assert ports == {name: int(bind.rpartition(":")[2]) for name, bind in binds.items()}
    probes = {container()[f"{name}Probe"]["httpGet"]["path"] for name in ("liveness", "readiness")}
    assert probes == {"/healthz", "/readyz"}
    assert {container()[f"{name}Probe"]["httpGet"]["port"] for name in ("liveness", "readiness")} == {"health"}


def test_the_pod_is_given_more_time_to_end_than_the_controller_takes() -> None:
    assert one("Deployment")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] >= CONFIG.grace_seconds + 10


def test_flags_and_variables_of_the_deployment_exist() -> None:
    assert container()["args"][0] == "controller"
    known = {setting.flag for setting in settings()}
    assert {argument.partition("=")[0] for argument in container()["args"][1:]} <= known
    assert {variable["name"] for variable in container()["env"]} <= {setting.env for setting in settings()}


def test_jobs_run_the_image_of_the_controller() -> None:
    (replacement,) = kustomization("")["replacements"]
    assert replacement["source"]["fieldPath"] == "spec.template.spec.containers.[name=controller].image"
    (path,) = replacement["targets"][0]["fieldPaths"]
    assert path == "spec.template.spec.containers.[name=controller].env.[name=FLUIDCTL_JOB_IMAGE].value"
    (image,) = kustomization("")["images"]
    assert (image["name"], image["newTag"]) == (container()["image"], __version__)


def test_selectors_find_the_pods_and_nothing_depends_on_one_pod_alone() -> None:
    labels = one("Deployment")["spec"]["template"]["metadata"]["labels"].items()
    deployment, budget = one("Deployment")["spec"], one("PodDisruptionBudget")["spec"]
    service = one("Service", "fluidctl-metrics")["spec"]
    constraints = [
        item["labelSelector"]["matchLabels"] for item in deployment["template"]["spec"]["topologySpreadConstraints"]
    ]
    selectors = [
        deployment["selector"]["matchLabels"],
        budget["selector"]["matchLabels"],
        service["selector"],
        *constraints,
    ]
    assert all(selector and selector.items() <= labels for selector in selectors)
    assert deployment["replicas"] > budget["minAvailable"] >= 1


def kustomization(directory: str) -> dict[str, Any]:
    text = (MANIFESTS / directory / "kustomization.yaml").read_text(encoding="utf-8")
    return dict(yaml.safe_load(text))


@pytest.mark.parametrize(
    "directory", ["", "components/monitoring", "components/namespaced", "components/tenant-limits"]
)
def test_every_file_is_installed_by_somebody(directory: str) -> None:
    listed = kustomization(directory)["resources"]
    below = MANIFESTS / directory
    folders = ("crds", "controller") if not directory else (".",)
    there = {path.relative_to(below).as_posix() for folder in folders for path in (below / folder).glob("*.yaml")}
    assert set(listed) == there - {"kustomization.yaml"}
    assert len(listed) == len(set(listed))


def test_every_object_says_that_it_is_ours() -> None:
    for item in [*BASE, *documents("crds"), *documents("components")]:
        if item["kind"] not in ("Kustomization", "Component"):
            assert item["metadata"]["labels"]["app.kubernetes.io/name"] == "fluidctl", item["metadata"]["name"]


def series() -> set[str]:
    """Return the name of every series that the controller shows."""
    metrics = Metrics(CollectorRegistry())
    metrics.queue("dataset")
    families = list(metrics.registry.collect())
    suffixes = {"counter": ("_total",), "histogram": ("_bucket", "_count", "_sum"), "summary": ("_count", "_sum")}
    return {family.name + suffix for family in families for suffix in suffixes.get(family.type, ("",))}


def test_alerts_ask_for_series_that_exist_and_say_what_to_do() -> None:
    (rules,) = (item for item in documents("components") if item["kind"] == "PrometheusRule")
    alerts = [rule for group in rules["spec"]["groups"] for rule in group["rules"]]
    assert len({alert["alert"] for alert in alerts}) == len(alerts)
    for alert in alerts:
        text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\bby \([^)]*\)|\bon \([^)]*\)", "", alert["expr"])
        names = {name for name in re.findall(r"[a-z_]{3,}", text) if "_" in name} - {"histogram_quantile"}
        assert names, alert["alert"]
        assert names <= series(), alert["alert"]
        assert alert["labels"]["severity"] in ("critical", "warning")
        assert len(alert["annotations"]["description"]) > 40


def test_the_schemas_take_every_sample_as_it_is() -> None:
    store = Store([definition(kind) for kind in KINDS])
    ours = {kind.kind: f"{kind.plural}.{GROUP}" for kind in KINDS}
    for number, sample in enumerate(item for item in documents("samples") if item["kind"] in ours):
        sample["metadata"]["name"] += f"-{number}"  # a name may be in two files
        created = store.create(ours[sample["kind"]], "default", copy.deepcopy(sample))
        assert within(sample, created), "a field would be dropped"


def within(part: Any, whole: Any) -> bool:
    """Whether everything in ``part`` is in ``whole``, which may have more: defaults."""
    if isinstance(part, dict):
        return all(key in whole and within(value, whole[key]) for key, value in part.items())
    if isinstance(part, list):
        return len(part) == len(whole) and all(map(within, part, whole))
    return bool(part == whole)


SAMPLES = [item for item in documents("samples") if item["kind"] == "Dataset"]


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda item: item["metadata"]["name"])
def test_samples_are_accepted_where_their_alluxio_exists(sample: dict[str, Any]) -> None:
    validate(parse_spec(sample), Limits(), runtime_exists="alluxio" not in sample["spec"])


CONTAINERFILE = [
    line.split() for line in (ROOT / "Containerfile").read_text(encoding="utf-8").splitlines() if line[:1].isupper()
]


def instructions(name: str) -> list[list[str]]:
    return [words[1:] for words in CONTAINERFILE if words[0] == name]


def test_the_image_is_made_in_two_stages_from_a_base_of_an_exact_version() -> None:
    (argument,) = instructions("ARG")
    assert re.fullmatch(r"PYTHON_IMAGE=python:3\.\d+\.\d+-slim-[a-z]+", argument[0])
    assert [words[0] for words in instructions("FROM")] == ["${PYTHON_IMAGE}"] * 2
    assert instructions("FROM")[0][1:] == ["AS", "build"]


def test_the_image_holds_the_package_and_not_the_test_double() -> None:
    (last,) = (words for words in instructions("COPY") if words[0].startswith("--from"))
    assert last[0] == "--from=build"
    sources = [source for words in instructions("COPY") if words != last for source in words[:-1]]
    assert all((ROOT / source).exists() for source in sources)
    assert "devcluster" not in sources
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    packages = {name.partition(".")[0] for name in setup["options"]["packages"].split() if name.isidentifier()}
    assert packages - {"devcluster"} <= set(sources)
    # The line that the build takes out of setup.cfg is there.
    assert "\n    devcluster\n" in (ROOT / "setup.cfg").read_text(encoding="utf-8")
    assert "constraints.txt" in sources


def test_the_image_runs_as_the_user_of_the_deployment_who_is_a_number_and_not_root() -> None:
    (user,) = instructions("USER")
    pod = one("Deployment")["spec"]["template"]["spec"]["securityContext"]
    assert user == [f"{pod['runAsUser']}:{pod['runAsGroup']}"]
    assert pod["runAsUser"] > 0
    assert instructions("ENTRYPOINT") == [['["fluidctl"]']]
