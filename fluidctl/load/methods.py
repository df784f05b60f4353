"""The remote methods of an Alluxio master that we call: their full names (case matters), messages and shapes.

Names as in Alluxio 2.x's core/transport protos. There are no generated services: a service class would bind us to
Alluxio's package names in our own .proto and would bring a second import of grpc.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from google.protobuf.message import Message

from fluidctl.load import alluxio_pb2 as pb

Request = TypeVar("Request", bound=Message)
Response = TypeVar("Response", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Request, Response]):
    """One method: its path on the wire and the messages that go there and come back."""

    path: str
    request: type[Request]
    response: type[Response]


_FILE = "/alluxio.grpc.file.FileSystemMasterClientService"

AUTHENTICATE = Method("/alluxio.grpc.sasl.SaslAuthenticationService/authenticate", pb.SaslMessage, pb.SaslMessage)
GET_SERVICE_VERSION = Method(
    "/alluxio.grpc.version.ServiceVersionClientService/getServiceVersion",
    pb.GetServiceVersionRequest,
    pb.GetServiceVersionResponse,
)
GET_MASTER_INFO = Method(
    "/alluxio.grpc.meta.MetaMasterClientService/GetMasterInfo", pb.GetMasterInfoRequest, pb.GetMasterInfoResponse
)
BACKUP = Method("/alluxio.grpc.meta.MetaMasterClientService/Backup", pb.BackupRequest, pb.BackupStatus)
GET_BACKUP_STATUS = Method(
    "/alluxio.grpc.meta.MetaMasterClientService/GetBackupStatus", pb.BackupStatusRequest, pb.BackupStatus
)
GET_METRICS = Method(
    "/alluxio.grpc.metric.MetricsMasterClientService/GetMetrics", pb.GetMetricsRequest, pb.GetMetricsResponse
)
LIST_STATUS = Method(f"{_FILE}/ListStatus", pb.ListStatusRequest, pb.ListStatusResponse)  # answers with a stream
GET_STATUS = Method(f"{_FILE}/GetStatus", pb.GetStatusRequest, pb.GetStatusResponse)
GET_MOUNT_TABLE = Method(f"{_FILE}/GetMountTable", pb.GetMountTableRequest, pb.GetMountTableResponse)
CREATE_DIRECTORY = Method(f"{_FILE}/CreateDirectory", pb.CreateDirectoryRequest, pb.CreateDirectoryResponse)
MOUNT = Method(f"{_FILE}/Mount", pb.MountRequest, pb.MountResponse)
UPDATE_MOUNT = Method(f"{_FILE}/UpdateMount", pb.MountRequest, pb.MountResponse)
UNMOUNT = Method(f"{_FILE}/Unmount", pb.UnmountRequest, pb.UnmountResponse)
REMOVE = Method(f"{_FILE}/Remove", pb.RemoveRequest, pb.RemoveResponse)
# Since 2.9.4.
SYNC_METADATA_ASYNC = Method(f"{_FILE}/SyncMetadataAsync", pb.SyncMetadataRequest, pb.SyncMetadataAsyncResponse)
GET_SYNC_PROGRESS = Method(f"{_FILE}/GetSyncProgress", pb.GetSyncProgressRequest, pb.GetSyncProgressResponse)
CANCEL_SYNC_METADATA = Method(
    f"{_FILE}/CancelSyncMetadata", pb.CancelSyncMetadataRequest, pb.CancelSyncMetadataResponse
)
