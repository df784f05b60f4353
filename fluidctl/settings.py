"""The flags and environment variables of ``fluidctl controller``: one for each field of ControllerConfig.

Flags are derived from the fields, so that a new setting is one field and one line of help here.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

from controllers.config import ControllerConfig, VolumeProfile
from fluidctl.exits import Code, Failure

_HELP = {
    "kubeconfig": "File that names the cluster. Default: KUBECONFIG or ~/.kube/config, else the pod's own account.",
    "context": "Context of the kubeconfig. Default: its current one.",
    "namespaces": "Namespaces to serve, comma-separated. Default: all.",
    "selector": "Serve only Datasets with these labels (kubectl's syntax), and what is about them.",
    "only": "Serve this one Dataset, NAMESPACE/NAME, with its runtime and backups, without a Lease: to debug it while "
    "no other controller runs.",
    "workers": "Datasets handled at the same moment.",
    "loads_per_master": "Most Jobs that run at once against one Alluxio cluster.",
    "global_loads": "Most Jobs that run at once in all; 0: no limit.",
    "job_image": "Image of load and size Jobs: the controller's own, by digest.",
    "alluxio_image": "Image of an AlluxioRuntime that names none, and of Jobs with the loader AlluxioCLI.",
    "alluxio_memory": "Memory of such a Job; it starts a JVM.",
    "journal_size": "Size of the claim for the journal of an AlluxioRuntime's master.",
    "journal_storage_class": "Storage class of that claim. Default: the cluster's own.",
    "job_service_account": "Service account of Jobs. Default: the namespace's default. Its token is not mounted.",
    "job_cpu": "CPU request of a Job.",
    "job_memory": "Memory request and limit of a Job.",
    "allowed_masters": "Hosts that Datasets may name as masters: suffixes and CIDRs, comma-separated. Default: any.",
    "backup_directories": "Directories that a backupDirectory may be in, comma-separated. Default: none.",
    "allow_local_ufs": "Allow mounts of local paths: every tenant could then read the masters' disks.",
    "volume": "YAML file with driver, attributes and mountOptions of the volumes. Default: Alluxio's CSI driver.",
    "leader_elect": "Take part in leader election. Without it there must be one controller only.",
    "lease_name": "Name of the Lease.",
    "lease_namespace": "Namespace of the Lease; it must exist. Default: the pod's own, from a laptop fluidctl-system.",
    "identity": "Name of this process in the Lease. Default: the host's name and a random part.",
    "metrics_bind": "HOST:PORT of /metrics; empty: none.",
    "health_bind": "HOST:PORT of /healthz and /readyz; empty: none.",
    "resync_seconds": "How often every Dataset is looked at again without an event.",
    "cache_poll_seconds": "How often a master is asked for the state of its cache.",
    "progress_seconds": "How often the progress of a running Job is read.",
    "log_format": "json or text.",
    "log_level": "debug, info, warning or error.",
    "grace_seconds": "How long SIGTERM waits for work in hand.",
}
#: Where the flag does not follow from the field's name.
_FLAGS = {"volume": "volume-profile"}
_MOST = 1e8


@dataclass(frozen=True)
class Setting:
    """One flag. ``kind`` is the type of the field; ``default`` is written as the flag takes it (a,b for a tuple)."""

    field: str
    flag: str
    env: str
    kind: type
    default: Any
    help: str


def settings() -> list[Setting]:
    """Return the flags in the order of ControllerConfig."""
    defaults = ControllerConfig()
    return [_setting(field.name, getattr(defaults, field.name)) for field in fields(ControllerConfig)]


def _setting(name: str, default: Any) -> Setting:
    flag = _FLAGS.get(name, name.replace("_", "-"))
    given = "" if isinstance(default, VolumeProfile) else ",".join(default) if isinstance(default, tuple) else default
    return Setting(
        name, f"--{flag}", "FLUIDCTL_" + flag.upper().replace("-", "_"), type(default), given, _HELP.get(name, "")
    )


def to_config(values: Mapping[str, Any]) -> ControllerConfig:
    """Return the configuration for values by field name, as the flags gave them; a Failure names the wrong flag."""
    made = {setting.field: _read(setting, values[setting.field]) for setting in settings() if setting.field in values}
    return ControllerConfig(**made)


def _read(setting: Setting, value: Any) -> Any:
    if setting.kind is tuple:
        value = tuple(part.strip() for part in value.split(",") if part.strip())
    elif setting.kind is VolumeProfile:
        value = _volume(value) if value else VolumeProfile()
    check = _CHECKS.get(setting.field)
    if check and (wrong := check(value)):
        raise Failure(Code.USAGE, f"{setting.flag} ({setting.env}): {wrong}")
    return value


def _at_least(least: float) -> Callable[[Any], str]:
    # No wait of Python's takes more than some centuries, "inf" least of all; nan is nothing at all.
    return lambda value: "" if least <= value <= _MOST else f"must be from {least:g} to {_MOST:g}, not {value:g}"


def _masters(values: tuple[str, ...]) -> str:
    """A mistyped CIDR would be taken for a suffix of host names, and silently fit nobody."""
    try:
        for value in values:
            if "/" in value or ":" in value:
                ip_network(value, strict=False)
    except ValueError as error:
        return f"must be host suffixes and CIDRs: {error}"
    return ""


def _one_of(*words: str) -> Callable[[Any], str]:
    return lambda value: "" if value in words else f"must be {', '.join(words[:-1])} or {words[-1]}, not {value!r}"


def _bind(value: str) -> str:
    host, _, port = value.rpartition(":")
    if not value or (port.isdigit() and int(port) < 65536 and _is_address(host.strip("[]"))):
        return ""
    return f"must be ADDRESS:PORT, such as 127.0.0.1:8080, not {value!r}"


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return host == "localhost"
    return True


def _only(value: str) -> str:
    wrong = value and not re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", value)
    return f"must be NAMESPACE/NAME, not {value!r}" if wrong else ""


def _volume(path: str) -> VolumeProfile:
    import yaml

    try:
        data = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        unknown = set(data) - {"driver", "attributes", "mountOptions"}
        if unknown:
            raise ValueError(f"unknown field {sorted(unknown)[0]!r}")
        default = VolumeProfile()
        return VolumeProfile(
            driver=str(data.get("driver", default.driver)),
            attributes={str(key): str(value) for key, value in data.get("attributes", default.attributes).items()},
            mount_options=tuple(str(option) for option in data.get("mountOptions", default.mount_options)),
        )
    except (OSError, ValueError, TypeError, AttributeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise Failure(Code.USAGE, f"--volume-profile: {path} is not a volume profile: {reason}") from error


_CHECKS: dict[str, Callable[[Any], str]] = {
    "only": _only,
    "allowed_masters": _masters,
    "workers": _at_least(1),
    "loads_per_master": _at_least(1),
    "global_loads": _at_least(0),
    "metrics_bind": _bind,
    "health_bind": _bind,
    "resync_seconds": _at_least(1),
    "cache_poll_seconds": _at_least(1),
    "progress_seconds": _at_least(0.1),
    "grace_seconds": _at_least(0),
    "log_format": _one_of("json", "text"),
    "log_level": _one_of("debug", "info", "warning", "error"),
}
