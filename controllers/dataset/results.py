"""What a step that succeeded makes of the status: pure, from its Result."""

from typing import Any

from controllers.api.dataset import DatasetStatus, MasterStatus, printable_bytes
from controllers.api.result import Result
from controllers.dataset import refresh, restore
from controllers.dataset.attempts import changed, of, phase_of, plan
from controllers.dataset.seen import LOAD, MOUNT, SIZE, STAGE

_HEALED: dict[str, Any] = {
    "failures": 0,
    "last_failure_time": "",
    "last_reason": "",
    "last_error": "",
    "given_up": False,
}


def over(status: DatasetStatus, step: str, result: Result, ended: str) -> DatasetStatus:
    """Return the status once this step of the run has succeeded at ``ended`` (RFC 3339)."""
    made = {STAGE: _staged, MOUNT: _mounted, LOAD: _loaded, SIZE: _sized}[step]
    return made(status, result, ended)


def healed(status: DatasetStatus, step: str) -> DatasetStatus:
    """Return the status without the failures of that step."""
    return changed(status, step, **_HEALED)


def _staged(status: DatasetStatus, result: Result, ended: str) -> DatasetStatus:
    status = _done(status, STAGE, ended)
    if restore.under_way(status) and result.backup is not None:
        return restore.staged(status, result.backup)
    return status


def _mounted(status: DatasetStatus, result: Result, ended: str) -> DatasetStatus:
    return restore.mounted(_done(status, MOUNT, ended).model_copy(update=_master(result)))


def _loaded(status: DatasetStatus, result: Result, ended: str) -> DatasetStatus:
    update = {"evidence": result.evidence, "failed_directories": (), "failed_count": 0}
    status = _done(changed(status, LOAD, **_counts(result), **update), LOAD, ended)
    return refresh.loaded(status.model_copy(update=_master(result)), result)


def _done(status: DatasetStatus, step: str, ended: str) -> DatasetStatus:
    # Failures stay: a later step may send the run back here, and only a complete count shows that it is over with them.
    status = changed(status, step, completion_time=ended)
    after = plan(status)[plan(status).index(step) + 1]
    status = changed(status, after, attempt=max(1, of(status, after).attempt))
    return status.model_copy(update={"phase": phase_of(status, after)})


def _sized(status: DatasetStatus, result: Result, ended: str) -> DatasetStatus:
    honest = {"proved": result.proved, "loaded_by_size": result.loaded_by_size}
    for step in plan(status):
        status = healed(status, step)
    doubt = {} if result.proved else {"last_error": result.message}
    status = changed(status, SIZE, **{**_counts(result), **honest, **doubt}, completion_time=ended)
    totals = {
        "file_count": status.size.files,
        "ufs_total_bytes": status.size.bytes,
        "file_num": str(status.size.files),
        "ufs_total": printable_bytes(status.size.bytes),
    }
    status = status.model_copy(update={**totals, **_master(result)})
    return refresh.sized(restore.proved(status, ended))


def _counts(result: Result) -> dict[str, int]:
    if result.totals is None:
        return {}
    return {"files": result.totals.files, "directories": result.totals.directories, "bytes": result.totals.bytes}


def _master(result: Result) -> dict[str, MasterStatus]:
    if result.master is None:
        return {}
    found = result.master
    made = MasterStatus(address=found.address, version=found.version, cluster_id=found.cluster_id)
    return {"master": made.model_copy(update={"start_time_ms": found.start_time_ms})}
