"""Builders of what an AlluxioRuntime consists of. Pure; every name follows from the runtime's name and the content.

Nothing here gives a tenant more than a pod of his own: no host network, no host path, no privilege.
"""

import hashlib
import json
from typing import Any

from controllers.api.alluxioruntime import Component
from controllers.api.job_commands import JOURNAL_CLAIM_PATH, JOURNAL_DIRECTORY, RESTORE_FILE, STAGING_PATH, TOKEN_PATH
from controllers.api.model import API_VERSION
from controllers.jobs import MANAGED_BY, MANAGER, RUNTIME, RUNTIME_UID, theirs
from controllers.runtime import names
from controllers.runtime.pods import JOURNAL_LOST_EXIT
from controllers.runtime.properties import (
    MASTER,
    ROOT_PATH,
    WORKER,
    cache_path,
    levels,
    properties,
    render,
    sets_reserved,
    variables,
)
from controllers.runtime.seen import Seen
from controllers.runtime.view import ROLE, STARTED_FROM

#: On a pod template: the hash of what it was made from. Another one replaces the pods.
TEMPLATE = "data.fluid.io/template"
#: Part of that hash. Whoever wants a release to restart all masters and workers raises it, and says so in CHANGELOG.
_VERSION = 1
_PROPERTIES, _CONF = "alluxio-site.properties", "/opt/alluxio/conf"
# A journal that holds nothing but marks of a format was never used: formatting it again harms nobody, and one that
# was killed half way is made whole. A backup that the master would look for in vain is told from any other failure.
_FORMAT = (
    'journal=$1; backup=$2; shift 2; mkdir -p "$@"; '
    'for file in "$journal"/*/*/logs/* "$journal"/*/*/checkpoints/*; do if [ -e "$file" ]; then exit 0; fi; done; '
    f'if [ -n "$backup" ] && [ ! -e "$backup" ]; then exit {JOURNAL_LOST_EXIT}; fi; '
    "exec env JAVA_TOOL_OPTIONS=-XX:TieredStopAtLevel=1 alluxio formatMaster"  # optimizing costs more than it saves
)
#: A process without heap is worse than none: it answers some requests.
_JAVA = "-XX:+ExitOnOutOfMemoryError"


def labels(seen: Seen, role: str = "") -> dict[str, str]:
    """Return the labels of every child, and of the pods of a role."""
    found = {MANAGED_BY: MANAGER, RUNTIME: seen.name, RUNTIME_UID: seen.uid}
    return found | ({ROLE: role} if role else {})


def config_map(seen: Seen, role: str) -> dict[str, Any]:
    """Return the ConfigMap of masters or workers, named by its content."""
    values = properties(seen.namespace, seen.name, seen.spec, role, restored=bool(seen.starts_from))
    text = render(values)
    made = _object("v1", "ConfigMap", names.config(seen.name, role, _digest(text)), seen)
    return made | {"immutable": True, "data": {_PROPERTIES: text}}


def agent_secret(seen: Seen) -> dict[str, Any]:
    """Return the Secret that the agent and the Jobs that take backups share."""
    made = _object("v1", "Secret", names.agent_secret(seen.name), seen)
    return made | {"type": "Opaque", "stringData": {TOKEN_PATH.rpartition("/")[2]: seen.token}}


def service(seen: Seen, role: str) -> dict[str, Any]:
    """Return the headless Service of masters or workers. A master must find itself before it is ready."""
    ports = _ports(role) | ({"agent": names.AGENT_PORT} if role == MASTER else {})
    made = _object("v1", "Service", _service_name(seen, role), seen)
    return made | {
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {RUNTIME_UID: seen.uid, ROLE: role},
            "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in ports.items()],
        }
    }


def journal_claim(seen: Seen) -> dict[str, Any]:
    """Return the claim of the master's journal."""
    config = seen.config
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": config.journal_size}},
    }
    spec |= {"storageClassName": config.journal_storage_class} if config.journal_storage_class else {}
    return _object("v1", "PersistentVolumeClaim", names.journal_claim(seen.name), seen) | {"spec": spec}


def stateful_set(seen: Seen, role: str, replicas: int) -> dict[str, Any]:
    """Return the StatefulSet of masters or workers."""
    name = names.master(seen.name) if role == MASTER else names.worker(seen.name)
    made = _object("apps/v1", "StatefulSet", name, seen)
    made["metadata"]["labels"] = labels(seen, role)
    return made | {
        "spec": {
            "replicas": replicas,
            "serviceName": _service_name(seen, role),
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": {RUNTIME_UID: seen.uid, ROLE: role}},
            "template": template(seen, role),
        }
    }


def template(seen: Seen, role: str) -> dict[str, Any]:
    """Return the pod template, with the hash of itself."""
    spec, component = seen.spec, seen.spec.master if role == MASTER else seen.spec.worker
    notes = theirs({**spec.pod_metadata.annotations, **component.pod_metadata.annotations})
    notes |= {STARTED_FROM: seen.starts_from} if role == MASTER and seen.starts_from else {}
    marks = theirs({**spec.pod_metadata.labels, **component.pod_metadata.labels}) | labels(seen, role)
    pod = _pod(seen, role, component)
    if role == MASTER:
        pod["containers"].append(_agent(seen))
        pod["initContainers"][0]["command"] += [_literal(f"{ROOT_PATH}{path}") for path in _directories(seen)]
    return {"metadata": {"labels": marks, "annotations": {**notes, TEMPLATE: _inputs(seen, role)}}, "spec": pod}


def _inputs(seen: Seen, role: str) -> str:
    """Return the hash of what people said, the image, the backup: no upgrade and no other mount restarts a master."""
    component = seen.spec.master if role == MASTER else seen.spec.worker
    spec = seen.spec.model_dump(mode="json", exclude_defaults=True)
    own = component.model_dump(mode="json", exclude_defaults=True, exclude={"replicas"})
    own["properties"] = {**seen.spec.properties, **component.properties}
    shared = ("alluxio_version", "jvm_options", "pod_metadata", "image_pull_secrets", "run_as")
    also = seen.starts_from if role == MASTER else spec.get("tieredstore")
    return _digest(json.dumps([_VERSION, seen.image, own, [spec.get(name) for name in shared], also], sort_keys=True))


def _pod(seen: Seen, role: str, component: Component) -> dict[str, Any]:
    config = config_map(seen, role)["metadata"]["name"]
    owner = seen.spec.run_as
    secrets = (*seen.spec.image_pull_secrets, *component.image_pull_secrets)
    pod: dict[str, Any] = {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": 30,
        "nodeSelector": component.node_selector,
        "imagePullSecrets": [dict(secret) for secret in secrets],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": owner.uid,
            "runAsGroup": owner.gid,
            "fsGroup": owner.gid,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": [_alluxio(seen, role, component)],
        "volumes": [{"name": "config", "configMap": {"name": config}}, *_volumes(seen, role)],
    }
    return pod | ({"initContainers": [_format(seen)]} if role == MASTER else {})


def _alluxio(seen: Seen, role: str, component: Component) -> dict[str, Any]:
    ports, (address, options) = _ports(role), variables(role)
    said = [(name, _literal(value)) for name, value in sorted(component.env.items()) if name not in (address, options)]
    return {
        **_container(role, seen.image, seen.spec.alluxio_version.image_pull_policy),
        "command": ["/entrypoint.sh"],
        "args": [f"{role}-only", "--no-format"],
        "env": [
            {"name": address, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}},
            {"name": options, "value": _java_options(seen, role, component)},
            *({"name": name, "value": value} for name, value in said),
        ],
        "ports": [{"name": name, "containerPort": port} for name, port in ports.items()],
        "readinessProbe": _probe(role, ports["web"]),
        "resources": component.resources,
        "volumeMounts": [_config_mount(), *_mounts(seen, role)],
    }


def _probe(role: str, port: int) -> dict[str, Any]:
    """Return how to see that it serves. A master that does not lead yet takes connections and breaks them off."""
    if role == WORKER:
        return {"tcpSocket": {"port": port}, "periodSeconds": 2}
    asked = {"httpGet": {"path": "/api/v1/master/info", "port": port}, "periodSeconds": 1}
    return {**asked, "timeoutSeconds": 5, "failureThreshold": 6}  # a pause of its JVM is no end of service


def _java_options(seen: Seen, role: str, component: Component) -> str:
    own = []
    if role == WORKER:
        # Where these options do not name the first tier, the image's entry point puts it into /dev/shm.
        first = f"-Dalluxio.worker.tieredstore.level0.dirs.path={cache_path(levels(seen.spec)[0])}"
        own = ["-Dalluxio.worker.hostname=$(POD_IP)", first]
    given = (*seen.spec.jvm_options, *component.jvm_options)
    said = [_literal(option) for option in given if not sets_reserved(option)]
    return " ".join([_JAVA, *said, *own])


def _format(seen: Seen) -> dict[str, Any]:
    journal = f"{JOURNAL_CLAIM_PATH}/{JOURNAL_DIRECTORY}"
    backup = f"{JOURNAL_CLAIM_PATH}/{RESTORE_FILE}" if seen.starts_from else ""
    return {
        **_container("format", seen.image, seen.spec.alluxio_version.image_pull_policy),
        "command": ["/bin/sh", "-c", _FORMAT, "format", journal, backup, ROOT_PATH],
        "resources": seen.spec.master.resources,
        "volumeMounts": [_config_mount(), *_mounts(seen, MASTER)],
    }


def _directories(seen: Seen) -> tuple[str, ...]:
    """Return what the root of a restored master must have: the backup knows of it, and no Mount makes it anew."""
    return seen.dataset.directories if seen.dataset and seen.starts_from else ()


def _agent(seen: Seen) -> dict[str, Any]:
    """Return the container that serves the master's backups; it needs little, and less must not starve the master."""
    made = _container("agent", seen.config.job_image, "IfNotPresent")
    made["securityContext"]["readOnlyRootFilesystem"] = True
    return {
        **made,
        "command": [
            "fluidctl",
            "agent",
            f"--bind=$(POD_IP):{names.AGENT_PORT}",
            f"--directory={STAGING_PATH}",
            f"--token-file={TOKEN_PATH}",
        ],
        "env": [{"name": "POD_IP", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}],
        "ports": [{"name": "agent", "containerPort": names.AGENT_PORT}],
        "readinessProbe": {"tcpSocket": {"port": names.AGENT_PORT}, "periodSeconds": 2},
        "resources": {"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "128Mi"}},
        "volumeMounts": [
            {"name": "staging", "mountPath": STAGING_PATH},
            {"name": "agent", "mountPath": TOKEN_PATH.rpartition("/")[0], "readOnly": True},
        ],
    }


def _container(name: str, image: str, policy: str) -> dict[str, Any]:
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": policy,
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }


def _volumes(seen: Seen, role: str) -> list[dict[str, Any]]:
    if role == WORKER:
        return [_cache(level.mediumtype, level.bytes) for level in levels(seen.spec)]
    return [
        {"name": "journal", "persistentVolumeClaim": {"claimName": names.journal_claim(seen.name)}},
        {"name": "staging", "emptyDir": {}},
        {"name": "agent", "secret": {"secretName": names.agent_secret(seen.name), "defaultMode": 0o440}},
    ]


def _cache(medium: str, quota: int) -> dict[str, Any]:
    # A tenth more than Alluxio may use: a worker at its quota is not to be evicted for a few directories.
    source: dict[str, Any] = {"sizeLimit": str(quota + quota // 10)}
    return {"name": medium.lower(), "emptyDir": source | ({"medium": "Memory"} if medium == "MEM" else {})}


def _mounts(seen: Seen, role: str) -> list[dict[str, Any]]:
    if role == WORKER:
        return [{"name": level.mediumtype.lower(), "mountPath": cache_path(level)} for level in levels(seen.spec)]
    paths = {"journal": JOURNAL_CLAIM_PATH, "staging": STAGING_PATH}
    return [{"name": name, "mountPath": path} for name, path in paths.items()]


def _config_mount() -> dict[str, Any]:
    return {"name": "config", "mountPath": f"{_CONF}/{_PROPERTIES}", "subPath": _PROPERTIES, "readOnly": True}


def _object(version: str, kind: str, name: str, seen: Seen) -> dict[str, Any]:
    owner = {
        "apiVersion": API_VERSION,
        "kind": "AlluxioRuntime",
        "name": seen.name,
        "uid": seen.uid,
        "controller": True,
        "blockOwnerDeletion": False,  # True would need the right to set finalizers
    }
    meta = {"name": name, "namespace": seen.namespace, "labels": labels(seen), "ownerReferences": [owner]}
    return {"apiVersion": version, "kind": kind, "metadata": meta}


def _service_name(seen: Seen, role: str) -> str:
    return names.master_service(seen.name) if role == MASTER else names.worker(seen.name)


def _ports(role: str) -> dict[str, int]:
    if role == MASTER:
        return {"rpc": names.MASTER_RPC_PORT, "web": names.MASTER_WEB_PORT}
    return {"rpc": names.WORKER_RPC_PORT, "web": names.WORKER_WEB_PORT}


def _literal(value: str) -> str:
    """Return what Kubernetes expands to exactly this: it reads $(NAME), and $$ as $."""
    return value.replace("$", "$$")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
