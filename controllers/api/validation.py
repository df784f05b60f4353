"""What a schema cannot say about a Dataset: rules across fields, and what the cluster's administrator allows.

Every sentence is for the person who wrote the Dataset and says what to do. The CRD refuses part of this at once (CEL);
here all of it is checked again, because an object may be older than the rule.
"""

import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass

from controllers import schedule
from controllers.api.databackup import PathError, parse_claim_path
from controllers.api.dataset import DatasetSpec, Loader, MountSpec, SpecError

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.")
_PASSWORD = re.compile(r"[^/]*://[^/@]*:[^/@]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_LABEL = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?")
_SECRET = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_SECRET_KEY = re.compile(r"(?!\.\.?$)[A-Za-z0-9._-]{1,253}")
LOCAL_SCHEMES = ("local", "file")


@dataclass(frozen=True)
class Limits:
    """What the administrator allows (flags of the controller)."""

    allow_local_ufs: bool = False
    #: Host names, suffixes of host names (".alluxio.svc") and CIDRs that may be connected to; empty: all.
    allowed_masters: tuple[str, ...] = ()


def validate(spec: DatasetSpec, limits: Limits, *, runtime_exists: bool) -> None:
    """Raise SpecError with up to three sentences where the spec cannot be served."""
    problems = [*_mount_problems(spec, limits), *_alluxio_problems(spec, limits), *_restore_problems(spec)]
    if spec.load.refresh_schedule and (text := schedule.problem(spec.load.refresh_schedule, spec.load.time_zone)):
        problems.append(f"spec.load.refreshSchedule: {text}")
    if problems:
        raise SpecError(". ".join(problems[:3]))
    if spec.alluxio is None and not runtime_exists:
        raise SpecError(
            "there is no Alluxio for this dataset: create an AlluxioRuntime of the same name in its namespace (one "
            "that is being deleted, or that belongs to an earlier Dataset of this name, is none), or make the Dataset "
            "anew and name an existing Alluxio in spec.alluxio.masters",
            reason="RuntimeMissing",
            permanent=False,
        )


def parse_address(address: str) -> tuple[str, int]:
    """Return host and port of "host:port" or "[IPv6]:port"; raise ValueError, which says what is wrong."""
    host, colon, port = address.rpartition(":")
    if not colon or not (port.isascii() and port.isdigit()) or not 1 <= int(port) <= 65535:
        raise ValueError("it must end with a colon and a port from 1 to 65535, as in alluxio-master-0.alluxio:19998")
    if host.startswith("[") and host.endswith("]"):
        return str(ipaddress.IPv6Address(host[1:-1])), int(port)
    labels = host.removesuffix(".").split(".")
    if labels[-1].isdigit():  # a name never ends in a number, so this must be an address (RFC 3696, section 2)
        return str(ipaddress.IPv4Address(host)), int(port)
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("the part before the port is no host name; a URI scheme or a path does not belong here")
    return host, int(port)


def master_allowed(host: str, allowed: tuple[str, ...]) -> bool:
    """Return whether a host (a name, or an address as text) matches one of the suffixes or CIDRs; no look-ups."""
    name = host.removesuffix(".").lower()
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        suffixes = [entry.strip(".").lower() for entry in allowed if _network(entry) is None]
        return not allowed or any(name == suffix or name.endswith(f".{suffix}") for suffix in suffixes)
    return not allowed or any(address in network for network in map(_network, allowed) if network)


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None


def _mount_problems(spec: DatasetSpec, limits: Limits) -> Iterator[str]:
    if not spec.mounts and spec.alluxio is None:
        yield "spec.mounts is empty: add a mount, or name an existing Alluxio in spec.alluxio"
    taken: dict[str, int] = {}
    for index, mount in enumerate(spec.mounts):
        where = f"spec.mounts[{index}]"
        yield from (f"{where}.{problem}" for problem in _uri_problems(mount.mount_point, limits))
        if spec.alluxio is None:
            yield from (f"{where}.{problem}" for problem in _secret_problems(mount))
        if problem := _path_problem(mount):
            yield f"{where}.{problem}"
        elif (first := taken.setdefault(mount.dataset_path, index)) != index:
            yield f"{where} is at {mount.dataset_path}, as spec.mounts[{first}] is: give one of them another path"


def _secret_problems(mount: MountSpec) -> Iterator[str]:
    for index, (option, secret, key) in enumerate(mount.secrets):
        if not (option and _SECRET.fullmatch(secret) and _SECRET_KEY.fullmatch(key)):
            yield f"encryptOptions[{index}] needs a name, and valueFrom.secretKeyRef with name and key of a Secret"


def _path_problem(mount: MountSpec) -> str:
    field, path = ("path", mount.path) if mount.path else ("name", f"/{mount.name}")
    if field == "name" and "/" in mount.name:
        return f"name {mount.name!r} holds a slash: set path for that"
    return "" if (problem := _absolute_path_problem(path)) == "" else f"{field} {problem}"


def _absolute_path_problem(path: str) -> str:
    if not path.startswith("/"):
        return f"{path!r} must start with a slash, as in /images"
    if _CONTROL.search(path) or any(name in (".", "..") for name in path.split("/")):
        return f"{path!r} must hold no control characters and no part . or .."
    return ""


def _uri_problems(uri: str, limits: Limits) -> Iterator[str]:
    if _PASSWORD.match(uri):  # not repeated in the message: a status is read by more people than a spec
        yield "mountPoint holds a password: put it into encryptOptions"
        return
    local = uri.startswith("/") or uri.partition("://")[0].lower() in LOCAL_SCHEMES
    if local and not limits.allow_local_ufs:
        yield (
            f"mountPoint {uri!r} is a directory of the Alluxio master's own machine, which is not allowed here: "
            "use the URI of a storage, or ask the administrator for --allow-local-ufs"
        )
    elif uri.lower().startswith("dataset://"):
        yield "mountPoint names another dataset, which is not served: mount the storage itself"
    elif _CONTROL.search(uri) or not (local or _URI.match(uri)):
        yield f"mountPoint {uri!r} is not the URI of a directory: write it as s3://bucket/directory"


def _alluxio_problems(spec: DatasetSpec, limits: Limits) -> Iterator[str]:
    if spec.alluxio is None:
        return
    if not spec.alluxio.masters:
        yield "spec.alluxio.masters is empty: add host:port of every Alluxio master"
    for index, address in enumerate(spec.alluxio.masters):
        where = f"spec.alluxio.masters[{index}]"
        try:
            host, _ = parse_address(address)
        except ValueError as error:
            yield f"{where} {address!r} is not host:port: {error}"
            continue
        if not master_allowed(host, limits.allowed_masters):
            yield f"{where} {address!r} is not among the hosts of --allowed-masters: ask the administrator to add it"
    if problem := _absolute_path_problem(spec.alluxio.dataset_path):
        yield f"spec.alluxio.datasetPath {problem}"
    if spec.load.loader is Loader.ALLUXIO_CLI and "*" in spec.alluxio.dataset_path:
        yield "spec.alluxio.datasetPath holds a *, which Alluxio's shell expands: set spec.load.loader: Grpc"


def _restore_problems(spec: DatasetSpec) -> Iterator[str]:
    restore = spec.data_restore_location
    if restore is None:
        return
    if bool(restore.path) == bool(restore.backup_name):
        yield "spec.dataRestoreLocation needs exactly one of path and backupName"
    elif spec.alluxio is not None:
        yield (
            "spec.dataRestoreLocation needs an Alluxio of its own, with an empty journal: remove spec.alluxio and "
            "create an AlluxioRuntime of the same name"
        )
    elif restore.path:
        try:
            _, directory = parse_claim_path(restore.path)
        except PathError as error:
            yield f"spec.dataRestoreLocation.path: {error}"
        else:
            if not directory:
                yield "spec.dataRestoreLocation.path names a claim only: add the directory of the backup in it"
