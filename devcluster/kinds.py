"""The kinds that every server has, what it adds to a new object of each, and the selectors of lists and watches."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from controllers.kube import resources

Obj = dict[str, Any]
Predicate = Callable[[Obj], bool]


@dataclass(frozen=True)
class Kind(resources.Resource):
    """One served resource; its text is how messages and this package name it: "pods", "jobs.batch"."""

    has_status: bool = True
    schema: Obj | None = None  # of a custom resource; built-in kinds are not validated


def _kinds(group: str, kinds: str, namespaced: bool = True, has_status: bool = True) -> list[Kind]:
    return [Kind(group, "v1", f"{kind.lower()}s", kind, namespaced, has_status) for kind in kinds.split()]


CRDS = "customresourcedefinitions.apiextensions.k8s.io"
BUILTIN = [
    *_kinds("", "Namespace Node PersistentVolume", namespaced=False),
    *_kinds("", "PersistentVolumeClaim Pod Service"),
    *_kinds("", "Event ConfigMap Secret ServiceAccount", has_status=False),
    *_kinds("apps", "StatefulSet"),
    *_kinds("batch", "Job"),
    *_kinds("coordination.k8s.io", "Lease", has_status=False),
    *_kinds("events.k8s.io", "Event", has_status=False),
    *_kinds("apiextensions.k8s.io", "CustomResourceDefinition", namespaced=False),
]
#: A PUT of these without a resourceVersion is taken; of all others (Leases, every custom resource) it is refused.
UNCONDITIONAL = {str(kind) for kind in BUILTIN} - {"leases.coordination.k8s.io", CRDS}
FIRST_PHASE = {
    "namespaces": "Active",
    "pods": "Pending",
    "persistentvolumes": "Pending",
    "persistentvolumeclaims": "Pending",
}
DEFAULTS: dict[str, Obj] = {
    "jobs.batch": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "suspend": False},
    "pods": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30},
}


def merged(old: Any, patch: Any) -> Any:
    """Return ``old`` with an RFC 7386 merge patch applied; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        result[name] = None if value is None else merged(result.get(name), value)
    return {name: value for name, value in result.items() if value is not None or name not in patch}


def served(crd: Obj) -> Kind:
    """Return what a CustomResourceDefinition asks to serve: its storage version."""
    spec, names = crd["spec"], crd["spec"]["names"]
    version = next(version for version in spec["versions"] if version["storage"])
    scope, status = spec["scope"] == "Namespaced", "status" in version.get("subresources", {})
    schema = version["schema"]["openAPIV3Schema"]
    return Kind(spec["group"], version["name"], names["plural"], names["kind"], scope, status, schema)


def label_job(job: Obj) -> Obj:
    """Return a new Job with the selector and the pod labels that the server generates from its uid."""
    labels = {"job-name": job["metadata"]["name"], "controller-uid": job["metadata"]["uid"]}
    labels |= {f"batch.kubernetes.io/{key}": value for key, value in labels.items()}
    own = {key: value for key, value in labels.items() if key == "batch.kubernetes.io/controller-uid"}
    spec = {"selector": {"matchLabels": own}, "template": {"metadata": {"labels": labels}}}
    return dict(merged(job, {"spec": spec}))


_FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName", "status.phase")
_SET = re.compile(r"(\S+)\s+(in|notin)\s+\(([^)]*)\)")
_EQUAL = re.compile(r"([^=!\s]+)\s*(==|=|!=)\s*(\S*)")


def selector(namespace: str = "", labels: str = "", fields: str = "") -> Predicate:
    """Return the test that a list or watch with these selectors makes of an object; ValueError where one is bad."""
    by_label = [_requirement(part.strip()) for part in re.split(r",(?![^(]*\))", labels) if part]
    by_field = [_requirement(part.strip()) for part in fields.split(",") if part]
    for key, _ in by_field:
        if key not in _FIELDS:
            raise ValueError(f"field label not supported: {key}")

    def selected(obj: Obj) -> bool:
        has = obj["metadata"].get("labels") or {}
        return (
            namespace in ("", obj["metadata"].get("namespace", ""))
            and all(test(has.get(key)) for key, test in by_label)
            and all(test(obj.get(key.split(".")[0], {}).get(key.split(".")[1]) or "") for key, test in by_field)
        )

    return selected


def _requirement(text: str) -> tuple[str, Callable[[str | None], bool]]:
    """Return the key of one requirement of a selector, and the test of its value."""
    if found := _SET.fullmatch(text) or _EQUAL.fullmatch(text):
        key, operator, right = found.groups()
        values = {value.strip() for value in right.split(",")}
        return key, lambda value: (value in values) == (operator in ("in", "=", "=="))
    if not re.fullmatch(r"!?[\w./-]+", text):
        raise ValueError(f"unable to parse requirement: {text}")
    return text.lstrip("!"), lambda value: (value is None) == text.startswith("!")


#: Selects everything.
ALL = selector()
