"""The mount Job: what it is told, and what it may say of a refusal, which repeats the credentials."""

import json

import pytest

from controllers.api.job_commands import MountStorages, WantedMount
from fluidctl.load.mount import _parser, said_at_last

MOUNT = WantedMount("/dataset/a", "s3://b/a", True, {"endpoint": "http://x"}, {"s3a.secretKey": "creds/secret"})
# As a real 2.9.6 answers Mount.
REPEATED = (
    "mount command: alluxio fs mount /a s3://b/a option MountContext{ProtoOptions=readOnly: true\n"
    'properties {\n  key: "s3a.secretKey"\n  value: "hunter2"\n}\nshared: false\ncommonOptions {\n  ttl: -1\n}\n}\n'
)


@pytest.mark.parametrize("remount", [False, True])
def test_the_job_reads_what_the_controller_writes(remount: bool) -> None:
    command = MountStorages(("a:1", "b:2"), "/dataset", (MOUNT, WantedMount("/dataset", "s3://b/")), remount)
    options = _parser().parse_args(command.argv())
    assert (tuple(options.master), options.path, tuple(options.mount)) == (command.masters, "/dataset", command.mounts)
    assert options.remount is remount


def test_no_value_of_a_secret_is_in_the_command() -> None:
    assert json.loads(MountStorages(("a:1",), "/d", (MOUNT,)).argv()[-2].partition("=")[2])["secrets"] == MOUNT.secrets


@pytest.mark.parametrize(
    ("details", "said"),
    [
        (REPEATED + "Ufs path s3://b/a does not exist", "Ufs path s3://b/a does not exist"),
        (REPEATED + "Acquired mount ID for the new mount point: 7\nNoSuchBucket:x", "NoSuchBucket:x"),
        ("Path /a does not exist", "Path /a does not exist"),
        (REPEATED + "x" * 1000, "x" * 400),
        (REPEATED, ""),
    ],
)
def test_of_an_error_only_what_is_not_the_request_is_said(details: str, said: str) -> None:
    assert said_at_last(details) == said
