"""The Jobs of a DataBackup: their names, and what their containers are told."""

from pathlib import PurePosixPath
from typing import Any

from controllers.api.databackup import KIND, BackupLocation, DataBackupSpec, parse_claim_path
from controllers.api.dataset import PodTemplate
from controllers.api.job_commands import (
    CLAIM_PATH,
    REMOVE,
    TAKE,
    TOKEN_PATH,
    VERIFY,
    DeleteBackup,
    TakeBackup,
    VerifyBackup,
)
from controllers.api.spelling import encode
from controllers.backup.seen import Meta, Observed
from controllers.jobs import (
    ATTEMPT,
    BACKUP,
    BACKUP_UID,
    GROUP,
    MANAGED_BY,
    MANAGER,
    STEP,
    USER,
    Attached,
    Container,
    owner_reference,
    suspended_job,
)

_WORDS = {TAKE: "take", VERIFY: "verify", REMOVE: "delete"}
#: A verification or a removal that takes longer, in seconds, is ended by Kubernetes even where no controller runs.
_LONGEST = {VERIFY: 86_400, REMOVE: 3_600}


def name(meta: Meta, step: str, attempt: int) -> str:
    """Return the Job's name: at most 63 characters, and one name for the same attempt for ever."""
    return f"{meta.name[:35].rstrip('-.').replace('.', '-')}-{meta.uid[:5]}-{_WORDS[step]}-{attempt}"


def location(meta: Meta, spec: DataBackupSpec) -> BackupLocation:
    """Return the directory of the backup, which no other object will ever have; raise PathError.

    The name is cut: with the uid and the mark of an unfinished one it is the name of one directory, of 255 bytes.
    """
    claim, parent = parse_claim_path(spec.backup_storage_location_spec.mount_path)
    last = f"{meta.name[:200].rstrip('-.')}-{meta.uid[:8]}"
    return BackupLocation(pvc_name=claim, path="/".join(part for part in (parent, spec.dataset.name, last) if part))


def take(seen: Observed, spec: DataBackupSpec, attempt: int) -> dict[str, Any]:
    """Return the Job that asks the master for a backup. Admission runs it beside no load of the same Alluxio."""
    meta, dataset, place = seen.meta, seen.dataset, location(seen.meta, spec)
    described = {
        "namespace": meta.namespace,
        "name": spec.dataset.name,
        "uid": dataset.uid,
        "mountsHash": dataset.mounts_hash,
        "path": encode(dataset.path.encode()),
    }
    command = TakeBackup(
        masters=dataset.masters,
        directory=place.path,
        dataset=described,
        backup={"namespace": meta.namespace, "name": meta.name, "uid": meta.uid},
        agent=dataset.agent,
        shared_directory="" if dataset.agent else dataset.shared_directory,
        no_progress_seconds=dataset.no_progress_seconds,
    )
    token = Attached(str(PurePosixPath(TOKEN_PATH).parent), secret=dataset.agent_secret)
    attached = (_claim(place), token) if dataset.agent else (_claim(place),)
    return _job(seen, TAKE, attempt, command.argv(), attached, spec.active_deadline_seconds, dataset.masters)


def verify(seen: Observed, place: BackupLocation, attempt: int) -> dict[str, Any]:
    """Return the Job that reads the whole backup again, and compares it with what the status says."""
    command = VerifyBackup(place.path, seen.status.manifest_sha256)
    return _job(seen, VERIFY, attempt, command.argv(), (_claim(place, read_only=True),), _LONGEST[VERIFY])


def remove(seen: Observed, place: BackupLocation, attempt: int, *, partial_only: bool) -> dict[str, Any]:
    """Return the Job that removes what the backup left in the claim, or of that only what was not finished."""
    command = DeleteBackup(place.path, partial_only, seen.meta.uid)
    return _job(seen, REMOVE, attempt, command.argv(), (_claim(place),), _LONGEST[REMOVE])


def _claim(place: BackupLocation, *, read_only: bool = False) -> Attached:
    return Attached(CLAIM_PATH, claim=place.pvc_name, read_only=read_only)


def _job(
    seen: Observed,
    step: str,
    attempt: int,
    arguments: list[str],
    attached: tuple[Attached, ...],
    deadline: int,
    masters: tuple[str, ...] = (),
) -> dict[str, Any]:
    meta, wanted = seen.meta, seen.spec.run_as if seen.spec else None
    labels = {MANAGED_BY: MANAGER, BACKUP: meta.name[:63].rstrip("-."), BACKUP_UID: meta.uid}
    return suspended_job(
        namespace=meta.namespace,
        name=name(meta, step, attempt),
        labels=labels | {STEP: step, ATTEMPT: str(attempt)},
        masters=masters,
        path="/",
        owner=owner_reference(meta.name, meta.uid, KIND),
        container=Container(
            ("fluidctl", *arguments),
            seen.config.job_image,
            attached=attached,
            user=wanted.uid if wanted else USER,
            group=wanted.gid if wanted else GROUP,
        ),
        template=seen.dataset.pod_template if seen.dataset.uid else PodTemplate(),
        deadline=deadline,
        config=seen.config,
    )
