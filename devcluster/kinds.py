"""The kinds that every server has, and the selectors and patches that work on objects of any kind."""

import re
from collections.abc import Callable
from typing import Any

from controllers.kube import resources
from controllers.kube.resources import Resource

Obj = dict[str, Any]
Predicate = Callable[[Obj], bool]

CRDS = resources.CUSTOMRESOURCEDEFINITIONS
NODES = Resource("", "v1", "nodes", "Node", namespaced=False)
BINDINGS = Resource("", "v1", "bindings", "Binding")
_KINDS = [*vars(resources).values(), NODES, BINDINGS]
#: By the text that stands for a resource in messages and in this package: "pods", "jobs.batch".
BUILTIN = {str(kind): kind for kind in _KINDS if isinstance(kind, Resource) and kind.group != resources.DATASETS.group}
_TERM = re.compile(r"([\w./-]+)==?([\w.:/-]*)")


def merged(old: Any, patch: Any) -> Any:
    """Return ``old`` with an RFC 7386 merge patch applied; neither argument is changed."""
    if not isinstance(patch, dict):
        return patch
    base = old if isinstance(old, dict) else {}
    result = base | {name: merged(base.get(name), value) for name, value in patch.items()}
    return {name: value for name, value in result.items() if value is not None or name not in patch}


def served(crd: Obj) -> tuple[Resource, Obj]:
    """Return what a CustomResourceDefinition asks to serve, its storage version, with the schema."""
    spec, names = crd["spec"], crd["spec"]["names"]
    version = next(version for version in spec["versions"] if version["storage"])
    resource = Resource(spec["group"], version["name"], names["plural"], names["kind"], spec["scope"] == "Namespaced")
    return resource, version["schema"]["openAPIV3Schema"]


def selector(namespace: str = "", labels: str = "", fields: str = "") -> Predicate:
    """Return the test that a list or watch makes of an object. Of selectors there is equality alone, else ValueError.

    Unlike a real server's, any field can be selected by.
    """
    wanted: list[tuple[tuple[str, ...], str]] = [(("metadata", "namespace"), namespace)] if namespace else []
    for term in filter(None, [*labels.split(","), *(f".{field}" for field in fields.split(",") if field)]):
        if not (found := _TERM.fullmatch(term)):
            raise ValueError(f"unable to parse requirement: {term}")
        key, value = found.groups()
        wanted.append((tuple(key[1:].split(".")) if key[0] == "." else ("metadata", "labels", key), value))
    return lambda obj: all(_at(obj, path) == value for path, value in wanted)


def _at(obj: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        obj = (obj or {}).get(name, "")
    return obj
