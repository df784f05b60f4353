"""The Dataset: what a user asks for, and what the controller found.

The models are the source of the CRD (`controllers.api.crd`) and of `kubectl explain`. Numbers are exact integers; the
printable forms beside them (`ufsTotal`, `fileNum`, `cacheStates`) are what users of Fluid know.
"""

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from controllers.api.dataset_spec import (
    DatasetSpec,
    Loader,
    MountSpec,
    OnRestoreFailure,
    PodTemplate,
    Publish,
    RestoreSpec,
)
from controllers.api.dataset_status import (
    CacheStatus,
    CountStatus,
    DatasetStatus,
    LoadStatus,
    MasterStatus,
    Phase,
    ProgressStatus,
    RefreshStatus,
    RestorePhase,
    RestoreStatus,
    RunStatus,
    SizeStatus,
    StepStatus,
    VolumeStatus,
)
from controllers.api.model import Model, is_unserved

__all__ = [
    "CacheStatus", "CountStatus", "DatasetSpec", "DatasetStatus", "LoadStatus", "Loader", "MasterStatus",
    "MountSpec", "OnRestoreFailure", "Phase", "PodTemplate", "ProgressStatus", "Publish", "RefreshStatus",
    "RestorePhase", "RestoreSpec", "RestoreStatus", "RunStatus", "SizeStatus", "SpecError", "StepStatus",
    "VolumeStatus", "parse_spec", "parse_status", "printable_bytes", "status_dict", "unserved_fields",
]  # fmt: skip

KIND = "Dataset"
PLURAL = "datasets"


class SpecError(Exception):
    """A spec that cannot be served. ``message`` is for the person who wrote it and says what to do.

    Permanent means that only a change of the spec helps; otherwise something else may still appear (a runtime).
    """

    def __init__(self, message: str, *, reason: str = "InvalidSpec", permanent: bool = True) -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason
        self.permanent = permanent


def parse_spec(obj: dict[str, Any]) -> DatasetSpec:
    """Read the spec of a Dataset; raise SpecError where a value does not fit its field."""
    try:
        return DatasetSpec.read(obj.get("spec") or {})
    except ValidationError as error:
        raise SpecError("; ".join(_sentences(error))) from error


def _sentences(error: ValidationError) -> list[str]:
    lines = []
    for problem in error.errors(include_url=False)[:3]:
        where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        given = str(problem["input"])
        shown = "" if problem["type"] == "missing" or len(given) > 80 else f" (it is {given!r})"
        lines.append(f"spec{where}: {problem['msg'][:1].lower()}{problem['msg'][1:]}{shown}")
    return lines


def parse_status(obj: dict[str, Any]) -> DatasetStatus:
    """Read the status of a Dataset. Never raises: what another hand made unreadable reads as not there."""
    return DatasetStatus.read(obj.get("status"), lenient=True)


def status_dict(status: Model) -> dict[str, Any]:
    """Return the JSON form without what has its default, so that it reads back to the same status."""
    return status.model_dump(mode="json", by_alias=True, exclude_defaults=True)


def unserved_fields(obj: dict[str, Any]) -> tuple[str, ...]:
    """Return the paths, as `spec.mounts[0].shared`, of fields that are set and that this release does not act on."""
    spec = DatasetSpec.read(obj.get("spec"), lenient=True)
    return tuple(_unserved(spec, "spec", managed=spec.alluxio is None))


def _unserved(value: object, where: str, *, managed: bool) -> Iterator[str]:
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _unserved(item, f"{where}[{index}]", managed=managed)
    if isinstance(value, Model):
        for name, info in type(value).model_fields.items():
            item, path = getattr(value, name), f"{where}.{info.alias or name}"
            if not is_unserved(info, managed=managed):
                yield from _unserved(item, path, managed=managed)
            elif item != info.default:
                yield path


def printable_bytes(count: int) -> str:
    """Return the count as Fluid prints it: two decimals and a binary unit, for example 443.89MiB."""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.2f}{units[0]}"
