"""The checks before a load or a count: does the dataset exist as it was described, and on which storage does it lie."""

from collections.abc import Sequence

import grpc

from controllers.api.command import Mount
from controllers.api.result import Exit
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import mounts, requests
from fluidctl.load.channel import Client, Gone, why
from fluidctl.load.errors import StepError
from fluidctl.load.methods import GET_MOUNT_TABLE, GET_STATUS
from fluidctl.load.names import alluxio_path
from fluidctl.load.verify import Rule, Storage


def parse_path(text: str) -> bytes:
    """Return the path that the controller spelled; raise StepError INVALID_PATH."""
    try:
        return alluxio_path(text)
    except ValueError as error:
        raise StepError(Exit.INVALID_PATH, f"The path {text!r} is not valid: {error}.") from error


def check(client: Client, path: bytes, wanted: Sequence[Mount]) -> Storage:
    """Return the storage under the master's tree.

    Raise StepError MOUNT_MISSING, PATH_NOT_FOUND, NOT_A_DIRECTORY, PERMISSION_DENIED or INVALID_PATH: all permanent;
    INCOMPLETE where the storage fails, or may have failed.
    """
    storage = mounted(client, wanted)
    if not _status(client, path, storage.rule_at(path)).folder:
        raise StepError(Exit.NOT_A_DIRECTORY, f"{encode(path)} is a file; a dataset is a directory.")
    return storage


def mounted(client: Client, wanted: Sequence[Mount]) -> Storage:
    """Return the storage under the master's tree, whether or not the dataset is there; raise MOUNT_MISSING."""
    table = client.call(GET_MOUNT_TABLE, pb.GetMountTableRequest(checkUfs=False)).mountPoints
    uris = {entry.key: entry.value.ufsUri.decode("utf-8", "replace") for entry in table}
    if lack := mounts.missing(wanted, uris):
        raise StepError(Exit.MOUNT_MISSING, lack)
    return Storage({point: mounts.driver_of(uri) for point, uri in uris.items()})


def denied(path: bytes, reason: str) -> StepError:
    """Return the end of a step whose dataset the master, or its storage, does not let us see."""
    return StepError(Exit.PERMISSION_DENIED, f"{encode(path)} may not be listed: {reason}")


def _status(client: Client, path: bytes, rule: Rule) -> pb.FileInfo:
    try:
        return _look(client, path)
    except Gone as error:
        gone = f"{encode(path)} does not exist in Alluxio, nor in the storage mounted there."
        if rule.proof == "objects":
            raise StepError(Exit.INCOMPLETE, f"{gone} Or that storage failed: its driver says the same.") from error
        raise StepError(Exit.PATH_NOT_FOUND, gone) from error
    except grpc.RpcError as error:
        code = error.code()
        if code is grpc.StatusCode.PERMISSION_DENIED:
            raise denied(path, why(error)) from error
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            raise StepError(Exit.INVALID_PATH, f"The master refuses the path {encode(path)}: {why(error)}") from error
        raise StepError(Exit.INCOMPLETE, f"{encode(path)} cannot be looked up: {why(error)}") from error


def _look(client: Client, path: bytes) -> pb.FileInfo:
    """Look a path up; the master remembers one that somebody missed before it existed, or while the storage failed."""
    try:
        return client.status(path)
    except Gone:
        return client.call(GET_STATUS, requests.get_status(path, requests.ALWAYS), timeout=300.0).fileInfo
