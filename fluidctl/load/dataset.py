"""The checks before a load or a count: does the dataset exist as it was described, and on which storage does it lie."""

from collections.abc import Sequence

import grpc

from controllers.api.command import Mount
from controllers.api.result import Exit
from controllers.api.spelling import encode
from fluidctl.load import alluxio_pb2 as pb
from fluidctl.load import mounts
from fluidctl.load.channel import Client, Gone, why
from fluidctl.load.errors import StepError
from fluidctl.load.methods import GET_MOUNT_TABLE
from fluidctl.load.names import alluxio_path
from fluidctl.load.verify import Storage


def parse_path(text: str) -> bytes:
    """Return the path that the controller spelled; raise StepError INVALID_PATH."""
    try:
        return alluxio_path(text)
    except ValueError as error:
        raise StepError(Exit.INVALID_PATH, f"The path {text!r} is not valid: {error}.") from error


def check(client: Client, path: bytes, wanted: Sequence[Mount]) -> Storage:
    """Return the storage under the master's tree.

    Raise StepError MOUNT_MISSING, PATH_NOT_FOUND, NOT_A_DIRECTORY, PERMISSION_DENIED or INVALID_PATH: all permanent.
    """
    table = client.call(GET_MOUNT_TABLE, pb.GetMountTableRequest(checkUfs=False)).mountPoints
    uris = {entry.key: entry.value.ufsUri.decode("utf-8", "replace") for entry in table}
    if lack := mounts.missing(wanted, uris):
        raise StepError(Exit.MOUNT_MISSING, lack)
    if not _status(client, path).folder:
        raise StepError(Exit.NOT_A_DIRECTORY, f"{encode(path)} is a file; a dataset is a directory.")
    return Storage({point: mounts.driver_of(uri) for point, uri in uris.items()})


def denied(path: bytes, reason: str) -> StepError:
    """Return the end of a step whose dataset the master, or its storage, does not let us see."""
    return StepError(Exit.PERMISSION_DENIED, f"{encode(path)} may not be listed: {reason}")


def _status(client: Client, path: bytes) -> pb.FileInfo:
    try:
        return client.status(path)
    except Gone as error:
        raise StepError(
            Exit.PATH_NOT_FOUND, f"{encode(path)} does not exist in Alluxio, nor in the storage mounted there."
        ) from error
    except grpc.RpcError as error:
        code = error.code()
        if code is grpc.StatusCode.PERMISSION_DENIED:
            raise denied(path, why(error)) from error
        if code is grpc.StatusCode.INVALID_ARGUMENT:
            raise StepError(Exit.INVALID_PATH, f"The master refuses the path {encode(path)}: {why(error)}") from error
        raise
