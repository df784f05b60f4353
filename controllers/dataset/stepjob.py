"""The Job of one attempt: its name, and what its container is told."""

from dataclasses import replace
from typing import Any

from controllers.api import job_commands as jc
from controllers.api.cli_result import cli_container_command, cli_environment
from controllers.api.command import RESULT_PATH, Mount, StepCommand
from controllers.api.dataset import DatasetSpec, Loader, MountSpec
from controllers.api.runs import mounts_hash
from controllers.api.spelling import encode
from controllers.dataset import refresh, restore
from controllers.dataset.attempts import of
from controllers.dataset.seen import INPUTS_CHANGED, LOAD, MOUNT, SIZE, STAGE, Observed
from controllers.jobs import Attached, Container, job_name, step_job
from controllers.runtime import names


def name(seen: Observed, step: str) -> str:
    """Return the name of the Job of the step's attempt."""
    attempt = of(seen.status, step).attempt
    return job_name(seen.meta.name, seen.meta.uid, step, seen.status.run.number, attempt)


def loader(seen: Observed, spec: DatasetSpec) -> Loader:
    """Return who loads. The commands of Alluxio cannot say what a refresh removes, so that one is always ours."""
    return Loader.GRPC if refresh.under_way(seen.status) else spec.load.loader


def job(seen: Observed, spec: DatasetSpec, step: str) -> dict[str, Any]:
    """Return the Job of the step's attempt, suspended."""
    cli = step == LOAD and loader(seen, spec) is Loader.ALLUXIO_CLI
    return step_job(
        namespace=seen.meta.namespace,
        dataset=seen.meta.name,
        uid=seen.meta.uid,
        step=step,
        loader=(Loader.ALLUXIO_CLI if cli else Loader.GRPC).value,
        run=seen.status.run.number,
        attempt=of(seen.status, step).attempt,
        spec=spec,
        container=_cli_container(seen) if cli else _container(seen, spec, step),
        masters=seen.masters,
        path=seen.path,
        config=seen.config,
    )


def _container(seen: Observed, spec: DatasetSpec, step: str) -> Container:
    argv, attached = _told(seen, spec, step)
    made = Container(("fluidctl", *argv), seen.config.job_image, attached=attached)
    # What is staged is read by the master, and by nobody else.
    return replace(made, user=seen.runtime.user, group=seen.runtime.group) if step == STAGE else made


def _told(seen: Observed, spec: DatasetSpec, step: str) -> tuple[list[str], tuple[Attached, ...]]:
    if step == STAGE:
        return _stage(seen, spec)
    if step == MOUNT:
        return _mount(seen, spec)
    return _command(seen, spec, step).argv(), ()


def _stage(seen: Observed, spec: DatasetSpec) -> tuple[list[str], tuple[Attached, ...]]:
    """Verify the backup and lay it beside the journal; of a restore that was abandoned, remove it again."""
    journal = Attached(jc.JOURNAL_CLAIM_PATH, claim=names.journal_claim(seen.meta.name), read_only=False)
    found = restore.source(seen, spec)
    if not restore.under_way(seen.status) or not isinstance(found, restore.Source):
        return jc.StageRestore(seen.meta.uid, discard=True).argv(), (journal,)
    wanted = jc.StageRestore(
        owner=seen.meta.uid,
        directory=found.directory,
        mounts_hash=mounts_hash(spec),
        engine_version=seen.runtime.engine_version,
        manifest_sha256=found.manifest_sha256,
        checksum=spec.data_restore_location.checksum if spec.data_restore_location else "",
    )
    return wanted.argv(), (Attached(jc.CLAIM_PATH, claim=found.claim), journal)


def _mount(seen: Observed, spec: DatasetSpec) -> tuple[list[str], tuple[Attached, ...]]:
    """Mount every storage. Only this pod sees the Secrets, and of them only the keys that are asked for."""
    keys: dict[str, set[str]] = {}
    for mount in spec.mounts:
        for _, secret, key in mount.secrets:
            keys.setdefault(secret, set()).add(key)
    attached = tuple(
        Attached(f"{jc.SECRETS_PATH}/{secret}", secret=secret, keys=tuple(sorted(wanted)))
        for secret, wanted in sorted(keys.items())
    )
    mounts = tuple(_wanted(spec, mount) for mount in spec.mounts)
    run = seen.status.run
    # Other options may lead to other files. Of a restore, the mounts hold what was restored.
    remount = run.reason == INPUTS_CHANGED and LOAD in run.plan and not refresh.under_way(seen.status)
    return jc.MountStorages(seen.masters, encode(seen.path.encode()), mounts, remount).argv(), attached


def _wanted(spec: DatasetSpec, mount: MountSpec) -> jc.WantedMount:
    return jc.WantedMount(
        path=encode(spec.alluxio_path(mount).encode()),
        uri=mount.mount_point,
        read_only=mount.read_only,
        options=mount.options,
        secrets={name: f"{secret}/{key}" for name, secret, key in mount.secrets},
    )


def _cli_container(seen: Observed) -> Container:
    command = cli_container_command(encode(seen.path.encode()), RESULT_PATH)
    environment = tuple(cli_environment(seen.masters).items())
    return Container(tuple(command), seen.config.alluxio_image, seen.config.alluxio_memory, environment)


def _command(seen: Observed, spec: DatasetSpec, step: str) -> StepCommand:
    load, master = seen.status.load, seen.status.master
    whole = load.failed_count != len(load.failed_directories)  # the list was cut: load everything
    return StepCommand(
        step=step,
        masters=seen.masters,
        path=encode(seen.path.encode()),
        mounts=tuple(Mount(encode(spec.alluxio_path(mount).encode()), mount.mount_point) for mount in spec.mounts),
        parallelism=spec.load.parallelism,
        no_progress_seconds=spec.load.no_progress_seconds,
        directories=() if step != LOAD or whole else load.failed_directories,
        evidence=load.evidence if step == SIZE else "",
        accept_unverified=spec.load.accept_unverified and step == SIZE,
        expected=restore.expected(seen.status) if step == SIZE else None,
        known_cluster=master.cluster_id if step == SIZE and master.checking else "",
        **(refresh.options(seen.status, spec) if step == LOAD and refresh.under_way(seen.status) else {}),
    )
