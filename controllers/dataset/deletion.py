"""The end of a Dataset: Jobs, then the claim, then the volume, then the finalizer. Data is never touched.

Nothing blocks for ever without saying on whom: every wait names what it waits for.
"""

from controllers.api.dataset import DatasetStatus
from controllers.dataset.seen import FINALIZER, Observed, VolumeView
from controllers.dataset.steps import Step
from controllers.decision import Delete
from controllers.jobs import JOB
from controllers.volumes import CLAIM, VOLUME


def wind_up(seen: Observed, status: DatasetStatus) -> Step | None:
    """Return the next step of the deletion, or None when nothing is left and the finalizer may go."""
    if FINALIZER not in seen.meta.finalizers:
        return None
    doomed = tuple(Delete(JOB, job.name, job.uid) for job in seen.jobs if job.state.name != "DELETING")
    if seen.jobs or seen.running_pods:
        names = [job.name for job in seen.jobs] or list(seen.running_pods)
        return _wait(status, "CancellingJobs", f"waiting for {_list(names)} to end", doomed)
    if seen.claim.uid:
        remove = () if seen.claim.deleting else (Delete(CLAIM, seen.claim.name, seen.claim.uid),)
        users = f"; it is in use by pods {_list(seen.claim_users)}" if seen.claim_users else ""
        text = f"waiting for claim {seen.claim.name} to go{users}{_held(seen.claim)}"
        return _wait(status, "DeletingClaim", text, remove)
    if seen.volume.uid:
        remove = () if seen.volume.deleting else (Delete(VOLUME, seen.volume.name, seen.volume.uid),)
        text = f"waiting for volume {seen.volume.name} to go{_held(seen.volume)}"
        return _wait(status, "DeletingVolume", text, remove)
    return None


def _wait(status: DatasetStatus, reason: str, message: str, children: tuple[Delete, ...]) -> Step:
    return Step(status, reason, message, children=children, requeue_after=10.0)


def _held(view: VolumeView) -> str:
    return f"; it is held by finalizer {_list(view.held_by)}" if view.held_by else ""


def _list(names: tuple[str, ...] | list[str]) -> str:
    shown = ", ".join(names[:5])
    return f"{shown} and {len(names) - 5} more" if len(names) > 5 else shown
