"""The Jobs that are built, and how a Job and its pods are read back."""

import json
import re
from typing import Any

import pytest

from controllers.api.cli_result import cli_container_command, cli_environment, parse_cli_message
from controllers.api.command import RESULT_PATH, SPILL_PATH
from controllers.api.result import Result, Totals
from controllers.api.spelling import decode
from controllers.config import ControllerConfig
from controllers.dataset import JobState, decide
from controllers.jobs import CONTAINER, JOB, child_labels, job_name, masters_and_path
from controllers.jobview import job_view, pods_of, waiting_reason
from tests.builders import MASTERS, UID, made, observed, spec


def created(**changes: Any) -> dict[str, Any]:
    """The Job that is created for a new Dataset."""
    (job,) = made(decide(observed(**changes)), JOB)
    return job


def test_a_job_starts_suspended_and_never_repeats_itself() -> None:
    """Admission alone releases it, and the status is the one place where attempts are counted."""
    job = created()["spec"]

    assert job["suspend"] is True
    assert (job["backoffLimit"], job["completions"], job["parallelism"]) == (0, 1, 1)
    assert job["template"]["spec"]["restartPolicy"] == "Never"
    assert "ttlSecondsAfterFinished" not in job


def test_a_pod_that_was_disturbed_costs_no_attempt() -> None:
    """Eviction and drain are ignored by the Job, which makes a new pod."""
    (rule,) = created()["spec"]["podFailurePolicy"]["rules"]

    assert rule["action"] == "Ignore"
    assert rule["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]


def test_a_pod_has_no_credentials_and_no_privileges() -> None:
    """Pod Security Standard "restricted", and no token."""
    pod = created()["spec"]["template"]["spec"]
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"] == ControllerConfig().job_memory


def test_what_the_container_writes_to_is_mounted() -> None:
    """The paths in its argv are those of the volumes and of the termination message."""
    (container,) = created()["spec"]["template"]["spec"]["containers"]

    assert container["terminationMessagePath"] == RESULT_PATH
    assert f"--result-path={RESULT_PATH}" in container["command"]
    assert f"--spill-path={SPILL_PATH}" in container["command"]
    assert SPILL_PATH in {mount["mountPath"] for mount in container["volumeMounts"]}


def test_the_pod_template_adds_but_does_not_take_our_labels() -> None:
    """A tenant's labels cannot hide the pod from us or claim that it is another Dataset's."""
    mine = child_labels("imagenet", UID)
    forged = {"data.fluid.io/dataset-uid": "forged", "data.fluid.io/backup-uid": "forged"}
    template = {"labels": {"team": "vision", **forged}, "nodeSelector": {"disk": "ssd"}}
    pod = created(spec=spec(load={"podTemplate": template}))["spec"]["template"]

    assert pod["metadata"]["labels"].items() >= {**mine, "team": "vision"}.items()
    assert "forged" not in pod["metadata"]["labels"].values()
    assert pod["spec"]["nodeSelector"] == {"disk": "ssd"}


def test_job_and_pod_say_where_they_work() -> None:
    """Admission reads it from the objects, also from a pod whose Job is gone."""
    job = created()
    pod = {"metadata": job["spec"]["template"]["metadata"]}

    assert masters_and_path(job) == masters_and_path(pod) == (MASTERS, "/imagenet")
    assert masters_and_path({"metadata": {"annotations": {"data.fluid.io/masters": "junk"}}}) == ((), "/")


@pytest.mark.parametrize("name", ["a", "a" * 253, "with.dots.in-it", "a" * 34 + "-.-" + "b" * 40])
def test_names_and_labels_are_valid_for_every_dataset_name(name: str) -> None:
    """A Job's name becomes a label: RFC 1123, 63 characters."""
    found = job_name(name, UID, "size", 9_999, 99)

    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", found)
    assert len(found) <= 63
    for value in child_labels(name, UID).values():
        assert re.fullmatch(r"[a-z0-9]([-.a-z0-9]*[a-z0-9])?", value)
        assert len(value) <= 63


def test_steps_runs_and_attempts_have_names_of_their_own() -> None:
    """No two pieces of work share a name, and two Datasets whose names are cut alike differ by uid."""
    names = {
        job_name("d", UID, step, run, attempt) for step in ("load", "size") for run in (1, 2) for attempt in (1, 2)
    }

    assert len(names) == 8
    assert job_name("a" * 40, "11111-x", "load", 1, 1) != job_name("a" * 40, "22222-x", "load", 1, 1)


# --- the loader AlluxioCLI --------------------------------------------------------------------------------------------


def test_the_cli_container_gets_the_path_as_an_argument_never_as_code() -> None:
    """A directory may be called what it likes."""
    hostile = "/a\"; rm -rf $HOME; echo `id` '\n"
    command = cli_container_command(hostile, "/dev/termination-log")

    assert command[-2:] == [hostile, "/dev/termination-log"]
    assert hostile not in command[2]


def test_the_cli_loader_runs_in_the_alluxio_image_and_the_count_in_ours() -> None:
    """It proves nothing, so the size Job is always our own."""
    (container,) = created(spec=spec(load={"loader": "AlluxioCLI"}))["spec"]["template"]["spec"]["containers"]

    assert container["image"] == ControllerConfig().alluxio_image
    assert container["command"][:2] == ["/bin/sh", "-c"]
    assert {"name": "ALLUXIO_LOGS_DIR", "value": "/tmp"} in container["env"]


def test_the_cli_finds_one_master_by_name_and_several_by_their_list() -> None:
    """Properties of alluxio.conf.PropertyKey."""
    assert (
        "-Dalluxio.master.hostname=m -Dalluxio.master.rpc.port=19998"
        in cli_environment(["m:19998"])["ALLUXIO_USER_JAVA_OPTS"]
    )
    assert "-Dalluxio.master.rpc.addresses=m:1,n:2" in cli_environment(["m:1", "n:2"])["ALLUXIO_USER_JAVA_OPTS"]


@pytest.mark.parametrize(
    ("text", "code", "reason", "part"),
    [
        (
            "Time elapsed 959\nFile Size     In Alluxio       Path\n309           0 (0%)           /\n",
            0,
            "Complete",
            "309 bytes",
        ),
        ('Path "/nope" does not exist.', 10, "PathNotFound", "does not exist"),
        (
            "Failed to connect to master (GrpcServerAddress{…}) after 8 attempts.",
            20,
            "Unreachable",
            "Failed to connect",
        ),
        ("", 255, "ExitCode255", "255"),
        ("Time elapsed 1", 0, "Complete", "no total"),
    ],
)
def test_the_last_words_of_the_cli_are_understood(text: str, code: int, reason: str, part: str) -> None:
    """Outputs as a real 2.9.6 prints them; it is never a proof."""
    found = parse_cli_message(text, code)

    assert found.reason == reason
    assert part in found.message
    assert found.proved is False


# --- reading Jobs back ------------------------------------------------------------------------------------------------


def _job(status: dict[str, Any], **spec_: Any) -> dict[str, Any]:
    job = created()
    meta = {**job["metadata"], "uid": "job-uid", "creationTimestamp": "2026-01-01T00:00:00Z"}
    return {**job, "metadata": meta, "spec": {**job["spec"], "suspend": False, **spec_}, "status": status}


def _pod(name: str, phase: str, state: dict[str, Any], created_at: str = "2026-01-01T00:00:01Z") -> dict[str, Any]:
    return {
        "metadata": {"name": name, "creationTimestamp": created_at, "ownerReferences": [{"uid": "job-uid"}]},
        "status": {"phase": phase, "containerStatuses": [{"name": CONTAINER, "state": state}]},
    }


def _condition(kind: str, **more: str) -> dict[str, Any]:
    return {"conditions": [{"type": kind, "status": "True", "lastTransitionTime": "2026-01-01T00:01:00Z", **more}]}


RUNNING = _pod("p", "Running", {"running": {}})
COMPLETE = Result("load", "Complete", totals=Totals(1, 2, 3))
ENDED = _pod("p", "Succeeded", {"terminated": {"exitCode": 0, "message": COMPLETE.to_json()}})


@pytest.mark.parametrize(
    ("job", "pods", "state"),
    [
        (_job({}, suspend=True), [], JobState.SUSPENDED),
        (_job({"startTime": "2026-01-01T00:00:02Z"}), [], JobState.STARTING),
        (_job({}), [_pod("p", "Pending", {"waiting": {"reason": "ImagePullBackOff"}})], JobState.STARTING),
        (_job({}), [RUNNING], JobState.RUNNING),
        (_job(_condition("SuccessCriteriaMet")), [ENDED], JobState.RUNNING),
        (_job({}), [_pod("p", "Succeeded", {"terminated": {}})], JobState.RUNNING),
        (_job({}), [ENDED, RUNNING], JobState.RUNNING),
        (_job({}, suspend=True), [ENDED], JobState.SUSPENDED),
        (_job({}), [_pod("p", "Failed", {"terminated": {}})], JobState.RUNNING),
        (_job(_condition("Complete")), [], JobState.SUCCEEDED),
        (_job(_condition("Failed", reason="BackoffLimitExceeded")), [], JobState.FAILED),
    ],
    ids=lambda value: value.name if isinstance(value, JobState) else "",
)
def test_the_state_of_a_job_follows_from_its_conditions_and_newest_pod(
    job: dict[str, Any], pods: list[dict[str, Any]], state: JobState
) -> None:
    """A Job is over only when its condition says so: its pods may still be cleaned up before."""
    assert job_view(job, pods).state is state


def test_a_job_that_is_being_deleted_is_nothing_else() -> None:
    """Whatever its conditions say."""
    job = _job(_condition("Complete"))
    job["metadata"]["deletionTimestamp"] = "2026-01-01T00:02:00Z"

    assert job_view(job, []).state is JobState.DELETING


def test_the_result_is_that_of_the_newest_pod_that_ended() -> None:
    """After an eviction there are two pods; the first one's last words are old."""
    old = _pod("old", "Failed", {"terminated": {"exitCode": 143, "message": ""}}, "2026-01-01T00:00:01Z")
    new = _pod(
        "new", "Succeeded", {"terminated": {"exitCode": 0, "message": COMPLETE.to_json()}}, "2026-01-01T00:00:09Z"
    )

    found = job_view(_job(_condition("Complete")), [new, old])

    assert (found.pod, found.exit_code, found.result) == ("new", 0, COMPLETE)


def test_a_container_that_was_killed_has_an_exit_code_and_no_result() -> None:
    """Out of memory is told apart from other ends."""
    killed = _pod("p", "Failed", {"terminated": {"exitCode": 137, "reason": "OOMKilled", "message": "{"}})

    found = job_view(_job(_condition("Failed")), [killed])

    assert (found.exit_code, found.oom_killed, found.result) == (137, True, None)


def test_pods_of_a_job_of_the_same_name_before_it_are_not_its_own() -> None:
    """By uid, not by name."""
    other = {"metadata": {"name": "p", "ownerReferences": [{"uid": "before"}]}}

    assert pods_of(_job({}), [RUNNING, other]) == [RUNNING]


def test_why_a_pod_waits_is_told_in_the_words_of_kubernetes() -> None:
    """The container's reason, or the scheduler's."""
    unschedulable = {
        "status": {
            "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}
            ]
        }
    }
    pulling = _pod("p", "Pending", {"waiting": {"reason": "ImagePullBackOff", "message": "no such image"}})

    assert waiting_reason(unschedulable) == "Unschedulable: 0/3 nodes"
    assert waiting_reason(pulling) == "ImagePullBackOff: no such image"
    assert waiting_reason(RUNNING) == waiting_reason(None) == ""


def test_argv_of_the_size_job_carries_the_evidence_of_the_load() -> None:
    """Opaque to us, handed on as it is."""
    from controllers.api.dataset import Phase
    from tests.builders import at

    status = at(Phase.SIZING)
    status = status.model_copy(update={"load": status.load.model_copy(update={"evidence": json.dumps({"x": 1})})})
    (container,) = created(status=status)["spec"]["template"]["spec"]["containers"]

    assert container["command"][:2] == ["fluidctl", "size"]
    assert '--evidence={"x": 1}' in container["command"]


@pytest.mark.parametrize("loader", ["Grpc", "AlluxioCLI"])
def test_a_path_reaches_the_container_as_it_is_whatever_it_holds(loader: str) -> None:
    """Kubernetes expands $(NAME) and $$, our argv spells % as %25: both are undone on the way."""
    path = "/a$(HOME)/$$/100%/b c"
    (container,) = created(path=path, spec=spec(load={"loader": loader}))["spec"]["template"]["spec"]["containers"]
    words = [word.replace("$$", "$") for word in container["command"]]

    if loader == "AlluxioCLI":
        assert path in words
    else:
        (given,) = (word.removeprefix("--path=") for word in words if word.startswith("--path="))
        assert decode(given).decode() == path
    assert all(not re.search(r"(?<!\$)(\$\$)*\$\(", word) for word in container["command"])
