"""manifests/ on a real API server: it applies as one, the rights suffice, and the optional parts do what they say."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.mark.parametrize("component", ["monitoring", "tenant-limits"])
def test_components_are_built_on_the_base(control_plane: ControlPlane, tmp_path: Path, component: str) -> None:
    overlay = tmp_path / "overlay"
    overlay.mkdir()
    (tmp_path / "manifests").symlink_to(MANIFESTS, target_is_directory=True)
    content = {"resources": ["../manifests"], "components": [f"../manifests/components/{component}"]}
    (overlay / "kustomization.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    built = list(yaml.safe_load_all(control_plane.kubectl("kustomize", str(overlay))))
    kinds = {item["kind"] for item in built}
    assert {"Deployment", "CustomResourceDefinition"} < kinds
    wanted = {"monitoring": {"ServiceMonitor", "PrometheusRule"}, "tenant-limits": {"ValidatingAdmissionPolicy"}}
    assert wanted[component] < kinds


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
        deadline = time.monotonic() + 60
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
