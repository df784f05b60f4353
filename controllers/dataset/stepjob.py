"""The Job of one attempt: its name, and what its container is told."""

from typing import Any

from controllers.api.cli_result import cli_container_command, cli_environment
from controllers.api.command import RESULT_PATH, Mount, StepCommand
from controllers.api.dataset import DatasetSpec, Loader
from controllers.api.spelling import encode
from controllers.dataset import refresh
from controllers.dataset.attempts import of
from controllers.dataset.seen import LOAD, SIZE, Observed
from controllers.jobs import Container, job_name, step_job


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
    return Container(("fluidctl", *_command(seen, spec, step).argv()), seen.config.job_image)


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
        known_cluster=master.cluster_id if step == SIZE and master.checking else "",
        **(refresh.options(seen.status, spec) if step == LOAD and refresh.under_way(seen.status) else {}),
    )
