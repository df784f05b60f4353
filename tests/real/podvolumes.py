"""What a pod's spec says of files and environment, as a kubelet carries it out. Claims are directories of the host."""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from controllers.kube.client import Cluster
from controllers.kube.errors import NotFound
from controllers.kube.resources import PERSISTENTVOLUMECLAIMS, PERSISTENTVOLUMES, Resource
from tests.real.sandbox import Bind

Obj = dict[str, Any]
CONFIGMAPS = Resource("", "v1", "configmaps", "ConfigMap")
SECRETS = Resource("", "v1", "secrets", "Secret")
_REFERENCE = re.compile(r"\$\$|\$\(([\w.-]+)\)")


class NotYet(Exception):
    """Something that the pod needs is not there; a kubelet tries again."""


class Volumes:
    """The volumes of one pod, made below ``directory``."""

    def __init__(self, cluster: Cluster, pod: Obj, directory: Path) -> None:
        self._cluster, self._pod, self._directory = cluster, pod, directory
        self._namespace = pod["metadata"]["namespace"]
        self._sources: dict[str, tuple[Path, bool]] = {}  # by name: place, whether it is read-only

    def make(self) -> None:
        """Make every volume; raise NotYet."""
        for volume in self._pod["spec"].get("volumes", ()):
            self._sources[volume["name"]] = self._make(volume)

    def binds(self, container: Obj) -> list[Bind]:
        """Return the mounts of a container."""
        return [self._bind(mount) for mount in container.get("volumeMounts", ())]

    def _bind(self, mount: Obj) -> Bind:
        source, read_only = self._sources[mount["name"]]
        if part := mount.get("subPath"):
            source /= part
            if not source.exists():
                source.mkdir(parents=True)
        return Bind(source, mount["mountPath"], read_only or mount.get("readOnly", False))

    def _make(self, volume: Obj) -> tuple[Path, bool]:
        place = self._directory / volume["name"]
        place.mkdir(parents=True, exist_ok=True)
        if "emptyDir" in volume:
            return place, False
        if claim := volume.get("persistentVolumeClaim"):
            return self._claimed(claim["claimName"]), claim.get("readOnly", False)
        if asked := volume.get("configMap"):
            found = self._get(CONFIGMAPS, asked["name"])
            texts = {name: text.encode() for name, text in (found.get("data") or {}).items()}
            return _write(place, texts, asked), True
        if asked := volume.get("secret"):
            data = self._get(SECRETS, asked["secretName"]).get("data") or {}
            return _write(place, {name: base64.b64decode(text) for name, text in data.items()}, asked), True
        raise ValueError(f"a volume of this kind does not exist in the rig: {volume}")

    def _claimed(self, name: str) -> Path:
        claim = self._get(PERSISTENTVOLUMECLAIMS, name)
        if claim.get("status", {}).get("phase") != "Bound":
            raise NotYet(f"the claim {name} is not bound")
        return Path(self._cluster.get(PERSISTENTVOLUMES, "", claim["spec"]["volumeName"])["spec"]["hostPath"]["path"])

    def _get(self, kind: Resource, name: str) -> Obj:
        try:
            return self._cluster.get(kind, self._namespace, name)
        except NotFound:
            raise NotYet(f"there is no {kind.kind} {name}") from None


def environment(container: Obj, fields: Mapping[str, str]) -> dict[str, str]:
    """Return a container's variables; ``fields`` are those of the downward API. Later ones may name earlier ones."""
    made: dict[str, str] = {}
    for variable in container.get("env", ()):
        if source := variable.get("valueFrom"):
            made[variable["name"]] = fields[source["fieldRef"]["fieldPath"]]
        else:
            made[variable["name"]] = expand(variable.get("value", ""), made)
    return made


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace $(NAME) as Kubernetes does: $$ is one $, a name that is not known stays as it is."""

    def replaced(found: re.Match[str]) -> str:
        return "$" if found[0] == "$$" else variables.get(found[1], found[0])

    return _REFERENCE.sub(replaced, text)


def _write(place: Path, contents: Mapping[str, bytes], asked: Obj) -> Path:
    for item in asked.get("items") or [{"key": name, "path": name} for name in contents]:
        if item["key"] not in contents:
            raise NotYet(f"there is no key {item['key']}")
        file = place / item["path"]
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents[item["key"]])
        file.chmod(item.get("mode", asked.get("defaultMode", 0o644)))
    return place
