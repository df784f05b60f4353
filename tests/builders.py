"""Small builders of what the decisions see; every test names only what it is about."""

from dataclasses import replace
from typing import Any

from controllers.api.dataset import DatasetSpec, DatasetStatus, LoadStatus, Phase, RunStatus, SizeStatus, parse_spec
from controllers.api.result import Master, Result, Totals
from controllers.api.times import rfc3339
from controllers.config import ControllerConfig
from controllers.dataset import FINALIZER, JobState, JobView, MasterView, Meta, Observed, VolumeView
from controllers.decision import Create, Decision, Delete
from controllers.jobs import ATTEMPT, JOB, RUN, STEP, job_name
from controllers.volumes import VOLUME, volume_name

NOW = 1_800_000_000.0
UID = "3f9c2a7e-1111-4222-8333-944455556666"
MASTERS = ("alluxio-0.alluxio:19998",)
REACHABLE = MasterView(True, "Reachable", "the master answers", "2.9.6", start_time_ms=1_000, total_paths=10**6)


def spec(**changes: Any) -> DatasetSpec:
    """A valid spec at an existing Alluxio; changes in the form of YAML."""
    given = {
        "mounts": [{"mountPoint": "s3://bucket/imagenet", "path": "/"}],
        "alluxio": {"masters": list(MASTERS), "datasetPath": "/imagenet"},
        **changes,
    }
    return parse_spec({"spec": given})


def managed(restore: dict[str, Any] | None = None, **changes: Any) -> DatasetSpec:
    """A valid spec for an Alluxio of its own; ``restore`` is spec.dataRestoreLocation."""
    wanted = {"dataRestoreLocation": restore} if restore else {}
    return parse_spec({"spec": {"mounts": [{"mountPoint": "s3://bucket/imagenet", "path": "/"}], **wanted, **changes}})


def observed(**changes: Any) -> Observed:
    """A Dataset of that spec which nobody has touched yet."""
    base = Observed(
        now=NOW,
        meta=Meta("default", "imagenet", UID, finalizers=(FINALIZER,)),
        config=ControllerConfig(),
        status=DatasetStatus(),
        spec=spec(),
        masters=MASTERS,
        path="/imagenet",
        inputs="aaaa",
        master=REACHABLE,
    )
    return replace(base, **changes)


def at(phase: Phase, **changes: Any) -> DatasetStatus:
    """The status of run 1 in that phase, observed at generation 1."""
    load, size = LoadStatus(attempt=1), SizeStatus(attempt=1)
    if phase in (Phase.SIZING, Phase.READY):
        load = LoadStatus(attempt=1, completion_time=rfc3339(NOW - 60), loader="Grpc", evidence="{}")
    if phase is Phase.READY:
        size = SizeStatus(attempt=1, completion_time=rfc3339(NOW - 30), files=3, directories=1, bytes=42, proved=True)
    if phase is Phase.FAILED:
        load = LoadStatus(
            attempt=5, failures=4, last_failure_time=rfc3339(NOW - 60), last_reason="Incomplete", last_error="no"
        )
    status = DatasetStatus(
        phase=phase,
        observed_generation=1,
        run=RunStatus(number=1, inputs="aaaa", start_time=rfc3339(NOW - 90), reason="Created"),
        load=load,
        size=size,
    )
    return status.model_copy(update=changes)


def job(step: str, state: JobState, *, attempt: int = 1, run: int = 1, **changes: Any) -> JobView:
    """A Job of the Dataset. One that ended did so a minute ago."""
    name = job_name("imagenet", UID, step, run, attempt)
    base = JobView(name, f"uid-of-{name}", step, run, attempt, state, created=NOW - 80, started=NOW - 70)
    if base.ended:
        base = replace(base, finished=NOW - 60)
    return replace(base, **changes)


def good(step: str, **changes: Any) -> Result:
    """The last words of a step that found three files."""
    base = Result(
        step,
        "Complete",
        totals=Totals(3, 1, 42),
        master=Master("alluxio-0.alluxio:19998", "2.9.6", "cluster-1", 1_000),
        proved=step == "size",
        evidence="{}",
    )
    return replace(base, **changes)


def published(**changes: Any) -> dict[str, Any]:
    """PV and PVC as they are when all is well."""
    volume = VolumeView(volume_name(UID), "uid-of-pv", bound=True)
    claim = VolumeView("imagenet", "uid-of-pvc", bound=True)
    return {"volume": replace(volume, **changes), "claim": replace(claim, **changes)}


def applied(seen: Observed, decision: Decision, status: bool = True, children: bool = True) -> Observed:
    """What is seen after the decision was carried out, or a part of it."""
    if status and decision.finalizers:
        seen = replace(seen, meta=replace(seen.meta, finalizers=decision.finalizers.finalizers))
    if status and decision.status is not None:
        seen = replace(seen, status=decision.status)
    jobs = list(seen.jobs)
    for child in decision.children if children else ():
        match child:
            case Create(kind, body) if kind == JOB:
                labels = body["metadata"]["labels"]
                jobs.append(job(labels[STEP], JobState.SUSPENDED, attempt=int(labels[ATTEMPT]), run=int(labels[RUN])))
            case Delete(kind, _, uid) if kind == JOB:
                jobs = [found for found in jobs if found.uid != uid]
            case Delete(kind):
                seen = _with_volume(seen, kind, VolumeView())
            case Create(kind):
                seen = _with_volume(seen, kind, published()["volume" if kind == VOLUME else "claim"])
    return replace(seen, jobs=tuple(jobs))


def made(decision: Decision, *kinds: str) -> list[dict[str, Any]]:
    """What the decision creates; of these kinds alone, where some are named."""
    created = [child for child in decision.children if isinstance(child, Create)]
    return [child.body for child in created if not kinds or child.kind in kinds]


def doomed(decision: Decision, *kinds: str) -> list[Delete]:
    """What the decision deletes; of these kinds alone, where some are named."""
    return [child for child in decision.children if isinstance(child, Delete) and (not kinds or child.kind in kinds)]


def _with_volume(seen: Observed, kind: str, found: VolumeView) -> Observed:
    return replace(seen, volume=found) if kind == VOLUME else replace(seen, claim=found)
