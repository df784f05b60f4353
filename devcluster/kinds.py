"""The kinds that every server has, what it adds to a new object of each, and the selectors of lists and watches."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Obj = dict[str, Any]


@dataclass(frozen=True)
class Resource:
    """One served resource. ``schema`` is that of a custom resource's version; built-in kinds are not validated."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool = True
    has_status: bool = True
    schema: Obj | None = None

    @property
    def name(self) -> str:
        """Return how messages and this package name it: "pods", "jobs.batch"."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version


CRDS = "customresourcedefinitions.apiextensions.k8s.io"
BUILTIN = tuple(
    Resource(group, version, kind, f"{kind.lower()}s", namespaced, has_status)
    for group, version, kind, namespaced, has_status in (
        ("", "v1", "Namespace", False, True),
        ("", "v1", "Node", False, True),
        ("", "v1", "PersistentVolume", False, True),
        ("", "v1", "PersistentVolumeClaim", True, True),
        ("", "v1", "Pod", True, True),
        ("", "v1", "Service", True, True),
        ("", "v1", "Event", True, False),
        ("", "v1", "ConfigMap", True, False),
        ("", "v1", "Secret", True, False),
        ("", "v1", "ServiceAccount", True, False),
        ("apps", "v1", "StatefulSet", True, True),
        ("batch", "v1", "Job", True, True),
        ("coordination.k8s.io", "v1", "Lease", True, False),
        ("events.k8s.io", "v1", "Event", True, False),
        ("apiextensions.k8s.io", "v1", "CustomResourceDefinition", False, True),
    )
)
#: A PUT of these without a resourceVersion is taken; of the others (Leases, every custom resource) it is refused.
UNCONDITIONAL = {resource.name for resource in BUILTIN} - {"leases.coordination.k8s.io", CRDS}
FIRST_STATUS: dict[str, Obj] = {
    "namespaces": {"phase": "Active"},
    **{name: {"phase": "Pending"} for name in ("pods", "persistentvolumes", "persistentvolumeclaims")},
}
DEFAULTS: dict[str, Obj] = {
    "jobs.batch": {"spec": {"parallelism": 1, "completions": 1, "backoffLimit": 6, "suspend": False}},
    "pods": {"spec": {"restartPolicy": "Always", "terminationGracePeriodSeconds": 30}},
    "persistentvolumes": {"spec": {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"}},
    "persistentvolumeclaims": {"spec": {"volumeMode": "Filesystem"}},
}
#: Fields of spec that never change once they are set.
IMMUTABLE = {
    "jobs.batch": ("template", "selector"),
    "pods": ("containers", "nodeName"),
    "persistentvolumes": ("csi",),
    "persistentvolumeclaims": ("accessModes", "storageClassName", "volumeName"),
}


def merged(old: Any, patch: Any) -> Any:
    """Return ``old`` with an RFC 7386 merge patch applied; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def served(crd: Obj) -> Resource:
    """Return what a CustomResourceDefinition asks to serve: its storage version."""
    spec = crd["spec"]
    version = next(version for version in spec["versions"] if version["storage"])
    scope, status = spec["scope"] == "Namespaced", "status" in version.get("subresources", {})
    names, schema = spec["names"], version["schema"]["openAPIV3Schema"]
    return Resource(spec["group"], version["name"], names["kind"], names["plural"], scope, status, schema)


def label_job(job: Obj) -> None:
    """Give a new Job the selector and the pod labels that the server generates from its uid."""
    name, uid = job["metadata"]["name"], job["metadata"]["uid"]
    labels = {"job-name": name, "controller-uid": uid}
    labels |= {f"batch.kubernetes.io/{key}": value for key, value in labels.items()}
    job["spec"] = merged(job["spec"], {"template": {"metadata": {"labels": labels}}})
    job["spec"]["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}


Predicate = Callable[[Obj], bool]
FIELDS = ("metadata.name", "metadata.namespace", "spec.nodeName", "status.phase")
_SET = re.compile(r"^(\S+)\s+(in|notin)\s+\(([^)]*)\)$")
_EQUAL = re.compile(r"^([^=!\s]+)\s*(==|=|!=)\s*(\S*)$")


def _requirement(text: str) -> tuple[str, Callable[[str | None], bool]]:
    """Return the key of one requirement of a selector and the test of its value; ValueError where it is none."""
    if found := _SET.match(text) or _EQUAL.match(text):
        key, operator, right = found.groups()
        values = {value.strip() for value in right.split(",")}
        wanted = operator in ("in", "=", "==")
        return key, lambda value: (value in values) == wanted
    if not re.match(r"^!?[\w./-]+$", text):
        raise ValueError(f"unable to parse requirement: {text}")
    return text.lstrip("!"), lambda value: (value is None) == text.startswith("!")


def selector(namespace: str = "", labels: str = "", fields: str = "") -> Predicate:
    """Return the test that a list or watch with these selectors makes of an object; ValueError where one is bad."""
    by_label = [_requirement(part.strip()) for part in re.split(r",(?![^(]*\))", labels) if part.strip()]
    by_field = [_requirement(part.strip()) for part in fields.split(",") if part.strip()]
    for key, _ in by_field:
        if key not in FIELDS:
            raise ValueError(f"field label not supported: {key}")

    def selected(obj: Obj) -> bool:
        has = obj["metadata"].get("labels") or {}
        return (
            namespace in ("", obj["metadata"].get("namespace", ""))
            and all(test(has.get(key)) for key, test in by_label)
            and all(test(_field(obj, key)) for key, test in by_field)
        )

    return selected


def _field(obj: Obj, path: str) -> str:
    top, name = path.split(".")
    return str(obj.get(top, {}).get(name) or "")


#: Selects everything.
ALL = selector()
