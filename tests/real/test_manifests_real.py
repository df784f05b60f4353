"""manifests/ on a real API server: it applies as one, the rights suffice, and the optional parts do what they say."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.dataset_cases import GOOD
from tests.rbac import needed
from tests.real.controlplane import ControlPlane

ROOT = Path(__file__).parent.parent.parent
MANIFESTS = ROOT / "manifests"
ACCOUNT = "system:serviceaccount:fluidctl-system:fluidctl"


@pytest.fixture(scope="module")
def installed(control_plane: ControlPlane) -> ControlPlane:
    control_plane.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(MANIFESTS))
    return control_plane


def test_the_base_applies_twice_and_changes_nothing_the_second_time(installed: ControlPlane) -> None:
    def versions() -> set[str]:
        found = installed.kubectl(
            "get", "-k", str(MANIFESTS), "-o", "jsonpath={range .items[*]}{.metadata.uid}={.metadata.generation} {end}"
        )
        return set(found.split())

    before = versions()
    assert len(before) > 10
    installed.kubectl("apply", "--server-side", "--force-conflicts", "-k", str(MANIFESTS))
    assert versions() == before


def test_the_service_account_may_do_all_that_the_code_calls_and_no_more(installed: ControlPlane) -> None:
    def allowed(verb: str, resource: str, namespace: str = "anywhere", subresource: str = "") -> bool:
        arguments = [verb, resource, f"--namespace={namespace}", f"--as={ACCOUNT}", f"--subresource={subresource}"]
        try:
            installed.kubectl("auth", "can-i", "--quiet", *arguments)
        except subprocess.CalledProcessError:  # exit 1: no
            return False
        return True

    for verb, group, needed_resource in sorted(needed(ROOT / "controllers")):
        name, _, subresource = needed_resource.partition("/")
        resource = f"{name}.{group}" if group else name
        if name != "leases":
            assert allowed(verb, resource, subresource=subresource), (verb, needed_resource)
        else:
            named = resource if verb == "create" else f"{resource}/fluidctl"
            assert allowed(verb, named, "fluidctl-system"), verb
            assert not allowed(verb, named), verb
    assert not allowed("update", "leases.coordination.k8s.io/other", "fluidctl-system")
    for verb, resource in (("get", "secrets"), ("create", "pods"), ("delete", "pods"), ("delete", "datasets")):
        assert not allowed(verb, resource), (verb, resource)
    assert not allowed("create", "pods", subresource="exec")


def test_the_pods_of_the_deployment_pass_pod_security(installed: ControlPlane) -> None:
    """The namespace enforces "restricted", which only looks at pods: so one is made from the template."""
    template = json.loads(installed.kubectl("get", "deployment", "fluidctl", "-n", "fluidctl-system", "-o", "json"))
    pod = {"apiVersion": "v1", "kind": "Pod", **template["spec"]["template"]}
    pod["metadata"]["name"] = "trial"
    create = ("create", "--dry-run=server", "--namespace=fluidctl-system", "--filename=-")
    installed.kubectl(*create, stdin=json.dumps(pod))
    pod["spec"]["containers"][0]["securityContext"]["allowPrivilegeEscalation"] = True
    with pytest.raises(subprocess.CalledProcessError) as caught:
        installed.kubectl(*create, stdin=json.dumps(pod))
    assert "violates PodSecurity" in caught.value.stderr


def built(control_plane: ControlPlane, directory: Path, component: str) -> list[dict[str, Any]]:
    """Return the base with one component, as kustomize builds them together."""
    overlay = directory / "overlay"
    overlay.mkdir()
    (directory / "manifests").symlink_to(MANIFESTS, target_is_directory=True)
    content = {"resources": ["../manifests"], "components": [f"../manifests/components/{component}"]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    return list(yaml.safe_load_all(control_plane.kubectl("kustomize", str(overlay))))


@pytest.mark.parametrize(
    ("component", "kinds"),
    [
        ("monitoring", {"ServiceMonitor", "PrometheusRule"}),
        ("tenant-limits", {"ValidatingAdmissionPolicy", "ValidatingAdmissionPolicyBinding"}),
    ],
)
def test_components_add_to_the_base(
    control_plane: ControlPlane, tmp_path: Path, component: str, kinds: set[str]
) -> None:
    found = {item["kind"] for item in built(control_plane, tmp_path, component)}
    assert {"Deployment", "CustomResourceDefinition", *kinds} <= found


def test_a_namespaced_controller_has_rights_for_volumes_and_in_its_namespaces_alone(
    control_plane: ControlPlane, tmp_path: Path
) -> None:
    found = built(control_plane, tmp_path, "namespaced")
    bindings = {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"])
        for item in found
        if item["kind"].endswith("Binding")
    }
    assert bindings == {
        ("ClusterRoleBinding", "", "fluidctl-volumes"),
        ("RoleBinding", "fluidctl-system", "fluidctl"),
        ("RoleBinding", "team-a", "fluidctl"),
        ("RoleBinding", "team-a", "fluidctl-logs"),
    }
    (deployment,) = (item for item in found if item["kind"] == "Deployment")
    (controller,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {variable["name"]: variable["value"] for variable in controller["env"]}
    assert variables == {"FLUIDCTL_NAMESPACES": "team-a", "FLUIDCTL_JOB_IMAGE": controller["image"]}
    (volumes,) = (item for item in found if item["metadata"]["name"] == "fluidctl-volumes" and "rules" in item)
    assert [rule["resources"] for rule in volumes["rules"]] == [["persistentvolumes"]]


@pytest.fixture
def limits(control_plane: ControlPlane) -> Iterator[Callable[[dict[str, object]], str]]:
    """Return what tries a Dataset with this spec.load under the policy, and answers what the server says against it."""
    policy = str(MANIFESTS / "components" / "tenant-limits" / "policy.yaml")

    def refusal(load: dict[str, object], namespace: str = "default") -> str:
        body = {
            "apiVersion": "data.fluid.io/v1alpha1",
            "kind": "Dataset",
            "metadata": {"name": "limited"},
            "spec": {**GOOD, "load": load},
        }
        create = ("create", "--dry-run=server", f"--namespace={namespace}", "--filename=-")
        try:
            control_plane.kubectl(*create, stdin=json.dumps(body))
        except subprocess.CalledProcessError as error:
            return str(error.stderr)
        return ""

    control_plane.kubectl("apply", "--filename", policy)
    try:
        deadline = time.monotonic() + 120
        while not refusal({"parallelism": 33}):  # the API server reads policies with some delay, and says nothing of it
            assert time.monotonic() < deadline, "the policy never came into force"
            time.sleep(0.2)
        yield refusal
    finally:
        control_plane.kubectl("delete", "--filename", policy)


def test_tenant_limits_refuse_what_an_author_could_not_do_himself(limits: Callable[..., str]) -> None:
    assert limits({}) == ""
    assert limits({"parallelism": 32, "podTemplate": {"serviceAccountName": "default"}}) == ""
    assert "parallelism is at most 32" in limits({"parallelism": 33})
    assert "maxAttempts is at most 10" in limits({"maxAttempts": 11})
    assert "priorityClassName" in limits({"podTemplate": {"priorityClassName": "system-node-critical"}})
    assert "serviceAccountName must be default" in limits({"podTemplate": {"serviceAccountName": "deployer"}})


def test_trusted_namespaces_have_no_limits(control_plane: ControlPlane, limits: Callable[..., str]) -> None:
    control_plane.kubectl("create", "namespace", "trusted-limits")
    assert limits({"parallelism": 33}, "trusted-limits")
    control_plane.kubectl("label", "namespace", "trusted-limits", "fluidctl.data.fluid.io/trusted=yes")
    assert limits({"parallelism": 33}, "trusted-limits") == ""
    control_plane.kubectl("delete", "namespace", "trusted-limits", "--wait=false")
