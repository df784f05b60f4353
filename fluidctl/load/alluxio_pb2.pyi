from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class SaslMessageType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CHALLENGE: _ClassVar[SaslMessageType]
    SUCCESS: _ClassVar[SaslMessageType]

class AuthenticationScheme(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NOSASL: _ClassVar[AuthenticationScheme]
    SIMPLE: _ClassVar[AuthenticationScheme]
    CUSTOM: _ClassVar[AuthenticationScheme]

class BackupState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NO_BACKUP: _ClassVar[BackupState]
    INITIATING: _ClassVar[BackupState]
    TRANSITIONING: _ClassVar[BackupState]
    RUNNING_BACKUP: _ClassVar[BackupState]
    COMPLETED: _ClassVar[BackupState]
    FAILED_BACKUP: _ClassVar[BackupState]

class LoadMetadataType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NEVER: _ClassVar[LoadMetadataType]
    ONCE: _ClassVar[LoadMetadataType]
    ALWAYS: _ClassVar[LoadMetadataType]

class TtlAction(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DELETE: _ClassVar[TtlAction]
    FREE: _ClassVar[TtlAction]

class WriteType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    MUST_CACHE: _ClassVar[WriteType]

class LoadDescendantType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NONE: _ClassVar[LoadDescendantType]
    ONE: _ClassVar[LoadDescendantType]
    ALL: _ClassVar[LoadDescendantType]

class DirectoryLoadType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SINGLE_LISTING: _ClassVar[DirectoryLoadType]
    BFS: _ClassVar[DirectoryLoadType]
    DFS: _ClassVar[DirectoryLoadType]

class SyncMetadataState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN: _ClassVar[SyncMetadataState]
    RUNNING: _ClassVar[SyncMetadataState]
    SUCCEEDED: _ClassVar[SyncMetadataState]
    FAILED: _ClassVar[SyncMetadataState]
    CANCELED: _ClassVar[SyncMetadataState]
CHALLENGE: SaslMessageType
SUCCESS: SaslMessageType
NOSASL: AuthenticationScheme
SIMPLE: AuthenticationScheme
CUSTOM: AuthenticationScheme
NO_BACKUP: BackupState
INITIATING: BackupState
TRANSITIONING: BackupState
RUNNING_BACKUP: BackupState
COMPLETED: BackupState
FAILED_BACKUP: BackupState
NEVER: LoadMetadataType
ONCE: LoadMetadataType
ALWAYS: LoadMetadataType
DELETE: TtlAction
FREE: TtlAction
MUST_CACHE: WriteType
NONE: LoadDescendantType
ONE: LoadDescendantType
ALL: LoadDescendantType
SINGLE_LISTING: DirectoryLoadType
BFS: DirectoryLoadType
DFS: DirectoryLoadType
UNKNOWN: SyncMetadataState
RUNNING: SyncMetadataState
SUCCEEDED: SyncMetadataState
FAILED: SyncMetadataState
CANCELED: SyncMetadataState

class SaslMessage(_message.Message):
    __slots__ = ("messageType", "message", "clientId", "authenticationScheme", "channelRef")
    MESSAGETYPE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    CLIENTID_FIELD_NUMBER: _ClassVar[int]
    AUTHENTICATIONSCHEME_FIELD_NUMBER: _ClassVar[int]
    CHANNELREF_FIELD_NUMBER: _ClassVar[int]
    messageType: SaslMessageType
    message: bytes
    clientId: str
    authenticationScheme: AuthenticationScheme
    channelRef: str
    def __init__(self, messageType: _Optional[_Union[SaslMessageType, str]] = ..., message: _Optional[bytes] = ..., clientId: _Optional[str] = ..., authenticationScheme: _Optional[_Union[AuthenticationScheme, str]] = ..., channelRef: _Optional[str] = ...) -> None: ...

class GetServiceVersionRequest(_message.Message):
    __slots__ = ("serviceType",)
    SERVICETYPE_FIELD_NUMBER: _ClassVar[int]
    serviceType: int
    def __init__(self, serviceType: _Optional[int] = ...) -> None: ...

class GetServiceVersionResponse(_message.Message):
    __slots__ = ("version",)
    VERSION_FIELD_NUMBER: _ClassVar[int]
    version: int
    def __init__(self, version: _Optional[int] = ...) -> None: ...

class GetMasterInfoRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMasterInfoResponse(_message.Message):
    __slots__ = ("masterInfo",)
    MASTERINFO_FIELD_NUMBER: _ClassVar[int]
    masterInfo: MasterInfo
    def __init__(self, masterInfo: _Optional[_Union[MasterInfo, _Mapping]] = ...) -> None: ...

class MasterInfo(_message.Message):
    __slots__ = ("leaderMasterAddress", "rpcPort", "safeMode", "startTimeMs", "upTimeMs", "version", "webPort", "clusterId")
    LEADERMASTERADDRESS_FIELD_NUMBER: _ClassVar[int]
    RPCPORT_FIELD_NUMBER: _ClassVar[int]
    SAFEMODE_FIELD_NUMBER: _ClassVar[int]
    STARTTIMEMS_FIELD_NUMBER: _ClassVar[int]
    UPTIMEMS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    WEBPORT_FIELD_NUMBER: _ClassVar[int]
    CLUSTERID_FIELD_NUMBER: _ClassVar[int]
    leaderMasterAddress: str
    rpcPort: int
    safeMode: bool
    startTimeMs: int
    upTimeMs: int
    version: str
    webPort: int
    clusterId: str
    def __init__(self, leaderMasterAddress: _Optional[str] = ..., rpcPort: _Optional[int] = ..., safeMode: _Optional[bool] = ..., startTimeMs: _Optional[int] = ..., upTimeMs: _Optional[int] = ..., version: _Optional[str] = ..., webPort: _Optional[int] = ..., clusterId: _Optional[str] = ...) -> None: ...

class BackupRequest(_message.Message):
    __slots__ = ("options", "targetDirectory")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    TARGETDIRECTORY_FIELD_NUMBER: _ClassVar[int]
    options: BackupOptions
    targetDirectory: str
    def __init__(self, options: _Optional[_Union[BackupOptions, _Mapping]] = ..., targetDirectory: _Optional[str] = ...) -> None: ...

class BackupOptions(_message.Message):
    __slots__ = ("localFileSystem", "runAsync", "allowLeader")
    LOCALFILESYSTEM_FIELD_NUMBER: _ClassVar[int]
    RUNASYNC_FIELD_NUMBER: _ClassVar[int]
    ALLOWLEADER_FIELD_NUMBER: _ClassVar[int]
    localFileSystem: bool
    runAsync: bool
    allowLeader: bool
    def __init__(self, localFileSystem: _Optional[bool] = ..., runAsync: _Optional[bool] = ..., allowLeader: _Optional[bool] = ...) -> None: ...

class BackupStatusRequest(_message.Message):
    __slots__ = ("backupId",)
    BACKUPID_FIELD_NUMBER: _ClassVar[int]
    backupId: str
    def __init__(self, backupId: _Optional[str] = ...) -> None: ...

class BackupStatus(_message.Message):
    __slots__ = ("backupId", "backupState", "backupHost", "backupUri", "entryCount", "backupError")
    BACKUPID_FIELD_NUMBER: _ClassVar[int]
    BACKUPSTATE_FIELD_NUMBER: _ClassVar[int]
    BACKUPHOST_FIELD_NUMBER: _ClassVar[int]
    BACKUPURI_FIELD_NUMBER: _ClassVar[int]
    ENTRYCOUNT_FIELD_NUMBER: _ClassVar[int]
    BACKUPERROR_FIELD_NUMBER: _ClassVar[int]
    backupId: str
    backupState: BackupState
    backupHost: str
    backupUri: str
    entryCount: int
    backupError: bytes
    def __init__(self, backupId: _Optional[str] = ..., backupState: _Optional[_Union[BackupState, str]] = ..., backupHost: _Optional[str] = ..., backupUri: _Optional[str] = ..., entryCount: _Optional[int] = ..., backupError: _Optional[bytes] = ...) -> None: ...

class GetMetricsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class GetMetricsResponse(_message.Message):
    __slots__ = ("metrics",)
    class MetricsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: MetricValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[MetricValue, _Mapping]] = ...) -> None: ...
    METRICS_FIELD_NUMBER: _ClassVar[int]
    metrics: _containers.MessageMap[str, MetricValue]
    def __init__(self, metrics: _Optional[_Mapping[str, MetricValue]] = ...) -> None: ...

class MetricValue(_message.Message):
    __slots__ = ("doubleValue", "stringValue")
    DOUBLEVALUE_FIELD_NUMBER: _ClassVar[int]
    STRINGVALUE_FIELD_NUMBER: _ClassVar[int]
    doubleValue: float
    stringValue: str
    def __init__(self, doubleValue: _Optional[float] = ..., stringValue: _Optional[str] = ...) -> None: ...

class CommonOptions(_message.Message):
    __slots__ = ("syncIntervalMs", "ttl", "ttlAction")
    SYNCINTERVALMS_FIELD_NUMBER: _ClassVar[int]
    TTL_FIELD_NUMBER: _ClassVar[int]
    TTLACTION_FIELD_NUMBER: _ClassVar[int]
    syncIntervalMs: int
    ttl: int
    ttlAction: TtlAction
    def __init__(self, syncIntervalMs: _Optional[int] = ..., ttl: _Optional[int] = ..., ttlAction: _Optional[_Union[TtlAction, str]] = ...) -> None: ...

class FileInfo(_message.Message):
    __slots__ = ("path", "length", "creationTimeMs", "completed", "folder", "mode")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    CREATIONTIMEMS_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FOLDER_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    length: int
    creationTimeMs: int
    completed: bool
    folder: bool
    mode: int
    def __init__(self, path: _Optional[bytes] = ..., length: _Optional[int] = ..., creationTimeMs: _Optional[int] = ..., completed: _Optional[bool] = ..., folder: _Optional[bool] = ..., mode: _Optional[int] = ...) -> None: ...

class ListStatusRequest(_message.Message):
    __slots__ = ("path", "options")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    options: ListStatusOptions
    def __init__(self, path: _Optional[bytes] = ..., options: _Optional[_Union[ListStatusOptions, _Mapping]] = ...) -> None: ...

class ListStatusOptions(_message.Message):
    __slots__ = ("loadMetadataType", "commonOptions", "recursive", "loadMetadataOnly", "excludeMountInfo")
    LOADMETADATATYPE_FIELD_NUMBER: _ClassVar[int]
    COMMONOPTIONS_FIELD_NUMBER: _ClassVar[int]
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    LOADMETADATAONLY_FIELD_NUMBER: _ClassVar[int]
    EXCLUDEMOUNTINFO_FIELD_NUMBER: _ClassVar[int]
    loadMetadataType: LoadMetadataType
    commonOptions: CommonOptions
    recursive: bool
    loadMetadataOnly: bool
    excludeMountInfo: bool
    def __init__(self, loadMetadataType: _Optional[_Union[LoadMetadataType, str]] = ..., commonOptions: _Optional[_Union[CommonOptions, _Mapping]] = ..., recursive: _Optional[bool] = ..., loadMetadataOnly: _Optional[bool] = ..., excludeMountInfo: _Optional[bool] = ...) -> None: ...

class ListStatusResponse(_message.Message):
    __slots__ = ("fileInfos",)
    FILEINFOS_FIELD_NUMBER: _ClassVar[int]
    fileInfos: _containers.RepeatedCompositeFieldContainer[FileInfo]
    def __init__(self, fileInfos: _Optional[_Iterable[_Union[FileInfo, _Mapping]]] = ...) -> None: ...

class GetStatusRequest(_message.Message):
    __slots__ = ("path", "options")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    options: GetStatusOptions
    def __init__(self, path: _Optional[bytes] = ..., options: _Optional[_Union[GetStatusOptions, _Mapping]] = ...) -> None: ...

class GetStatusOptions(_message.Message):
    __slots__ = ("loadMetadataType", "commonOptions", "updateTimestamps")
    LOADMETADATATYPE_FIELD_NUMBER: _ClassVar[int]
    COMMONOPTIONS_FIELD_NUMBER: _ClassVar[int]
    UPDATETIMESTAMPS_FIELD_NUMBER: _ClassVar[int]
    loadMetadataType: LoadMetadataType
    commonOptions: CommonOptions
    updateTimestamps: bool
    def __init__(self, loadMetadataType: _Optional[_Union[LoadMetadataType, str]] = ..., commonOptions: _Optional[_Union[CommonOptions, _Mapping]] = ..., updateTimestamps: _Optional[bool] = ...) -> None: ...

class GetStatusResponse(_message.Message):
    __slots__ = ("fileInfo",)
    FILEINFO_FIELD_NUMBER: _ClassVar[int]
    fileInfo: FileInfo
    def __init__(self, fileInfo: _Optional[_Union[FileInfo, _Mapping]] = ...) -> None: ...

class GetMountTableRequest(_message.Message):
    __slots__ = ("checkUfs",)
    CHECKUFS_FIELD_NUMBER: _ClassVar[int]
    checkUfs: bool
    def __init__(self, checkUfs: _Optional[bool] = ...) -> None: ...

class GetMountTableResponse(_message.Message):
    __slots__ = ("mountPoints",)
    MOUNTPOINTS_FIELD_NUMBER: _ClassVar[int]
    mountPoints: _containers.RepeatedCompositeFieldContainer[MountEntry]
    def __init__(self, mountPoints: _Optional[_Iterable[_Union[MountEntry, _Mapping]]] = ...) -> None: ...

class MountEntry(_message.Message):
    __slots__ = ("key", "value")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: MountPointInfo
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[_Union[MountPointInfo, _Mapping]] = ...) -> None: ...

class MountPointInfo(_message.Message):
    __slots__ = ("ufsUri", "ufsType", "readOnly", "shared")
    UFSURI_FIELD_NUMBER: _ClassVar[int]
    UFSTYPE_FIELD_NUMBER: _ClassVar[int]
    READONLY_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    ufsUri: bytes
    ufsType: str
    readOnly: bool
    shared: bool
    def __init__(self, ufsUri: _Optional[bytes] = ..., ufsType: _Optional[str] = ..., readOnly: _Optional[bool] = ..., shared: _Optional[bool] = ...) -> None: ...

class CreateDirectoryRequest(_message.Message):
    __slots__ = ("path", "options")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    options: CreateDirectoryOptions
    def __init__(self, path: _Optional[bytes] = ..., options: _Optional[_Union[CreateDirectoryOptions, _Mapping]] = ...) -> None: ...

class CreateDirectoryOptions(_message.Message):
    __slots__ = ("recursive", "allowExists", "writeType", "commonOptions")
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    ALLOWEXISTS_FIELD_NUMBER: _ClassVar[int]
    WRITETYPE_FIELD_NUMBER: _ClassVar[int]
    COMMONOPTIONS_FIELD_NUMBER: _ClassVar[int]
    recursive: bool
    allowExists: bool
    writeType: WriteType
    commonOptions: CommonOptions
    def __init__(self, recursive: _Optional[bool] = ..., allowExists: _Optional[bool] = ..., writeType: _Optional[_Union[WriteType, str]] = ..., commonOptions: _Optional[_Union[CommonOptions, _Mapping]] = ...) -> None: ...

class CreateDirectoryResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class MountRequest(_message.Message):
    __slots__ = ("alluxioPath", "ufsPath", "options")
    ALLUXIOPATH_FIELD_NUMBER: _ClassVar[int]
    UFSPATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    alluxioPath: bytes
    ufsPath: bytes
    options: MountOptions
    def __init__(self, alluxioPath: _Optional[bytes] = ..., ufsPath: _Optional[bytes] = ..., options: _Optional[_Union[MountOptions, _Mapping]] = ...) -> None: ...

class MountOptions(_message.Message):
    __slots__ = ("readOnly", "properties", "shared", "commonOptions")
    class PropertiesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    READONLY_FIELD_NUMBER: _ClassVar[int]
    PROPERTIES_FIELD_NUMBER: _ClassVar[int]
    SHARED_FIELD_NUMBER: _ClassVar[int]
    COMMONOPTIONS_FIELD_NUMBER: _ClassVar[int]
    readOnly: bool
    properties: _containers.ScalarMap[str, str]
    shared: bool
    commonOptions: CommonOptions
    def __init__(self, readOnly: _Optional[bool] = ..., properties: _Optional[_Mapping[str, str]] = ..., shared: _Optional[bool] = ..., commonOptions: _Optional[_Union[CommonOptions, _Mapping]] = ...) -> None: ...

class MountResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class UnmountRequest(_message.Message):
    __slots__ = ("alluxioPath", "options")
    ALLUXIOPATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    alluxioPath: bytes
    options: UnmountOptions
    def __init__(self, alluxioPath: _Optional[bytes] = ..., options: _Optional[_Union[UnmountOptions, _Mapping]] = ...) -> None: ...

class UnmountOptions(_message.Message):
    __slots__ = ("commonOptions",)
    COMMONOPTIONS_FIELD_NUMBER: _ClassVar[int]
    commonOptions: CommonOptions
    def __init__(self, commonOptions: _Optional[_Union[CommonOptions, _Mapping]] = ...) -> None: ...

class UnmountResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("path", "options")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    options: RemoveOptions
    def __init__(self, path: _Optional[bytes] = ..., options: _Optional[_Union[RemoveOptions, _Mapping]] = ...) -> None: ...

class RemoveOptions(_message.Message):
    __slots__ = ("recursive", "alluxioOnly", "commonOptions")
    RECURSIVE_FIELD_NUMBER: _ClassVar[int]
    ALLUXIOONLY_FIELD_NUMBER: _ClassVar[int]
    COMMONOPTIONS_FIELD_NUMBER: _ClassVar[int]
    recursive: bool
    alluxioOnly: bool
    commonOptions: CommonOptions
    def __init__(self, recursive: _Optional[bool] = ..., alluxioOnly: _Optional[bool] = ..., commonOptions: _Optional[_Union[CommonOptions, _Mapping]] = ...) -> None: ...

class RemoveResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SyncMetadataRequest(_message.Message):
    __slots__ = ("path", "options")
    PATH_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    path: bytes
    options: SyncMetadataOptions
    def __init__(self, path: _Optional[bytes] = ..., options: _Optional[_Union[SyncMetadataOptions, _Mapping]] = ...) -> None: ...

class SyncMetadataOptions(_message.Message):
    __slots__ = ("loadDescendantType", "directoryLoadType")
    LOADDESCENDANTTYPE_FIELD_NUMBER: _ClassVar[int]
    DIRECTORYLOADTYPE_FIELD_NUMBER: _ClassVar[int]
    loadDescendantType: LoadDescendantType
    directoryLoadType: DirectoryLoadType
    def __init__(self, loadDescendantType: _Optional[_Union[LoadDescendantType, str]] = ..., directoryLoadType: _Optional[_Union[DirectoryLoadType, str]] = ...) -> None: ...

class SyncMetadataAsyncResponse(_message.Message):
    __slots__ = ("submitted", "taskGroupId", "taskIds")
    SUBMITTED_FIELD_NUMBER: _ClassVar[int]
    TASKGROUPID_FIELD_NUMBER: _ClassVar[int]
    TASKIDS_FIELD_NUMBER: _ClassVar[int]
    submitted: bool
    taskGroupId: int
    taskIds: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, submitted: _Optional[bool] = ..., taskGroupId: _Optional[int] = ..., taskIds: _Optional[_Iterable[int]] = ...) -> None: ...

class GetSyncProgressRequest(_message.Message):
    __slots__ = ("taskGroupId",)
    TASKGROUPID_FIELD_NUMBER: _ClassVar[int]
    taskGroupId: int
    def __init__(self, taskGroupId: _Optional[int] = ...) -> None: ...

class GetSyncProgressResponse(_message.Message):
    __slots__ = ("task",)
    TASK_FIELD_NUMBER: _ClassVar[int]
    task: _containers.RepeatedCompositeFieldContainer[SyncMetadataTask]
    def __init__(self, task: _Optional[_Iterable[_Union[SyncMetadataTask, _Mapping]]] = ...) -> None: ...

class CancelSyncMetadataRequest(_message.Message):
    __slots__ = ("taskGroupId",)
    TASKGROUPID_FIELD_NUMBER: _ClassVar[int]
    taskGroupId: int
    def __init__(self, taskGroupId: _Optional[int] = ...) -> None: ...

class CancelSyncMetadataResponse(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class SyncMetadataTask(_message.Message):
    __slots__ = ("id", "state", "syncDurationMs", "exception", "successOpCount", "taskInfoString", "taskStatString")
    ID_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SYNCDURATIONMS_FIELD_NUMBER: _ClassVar[int]
    EXCEPTION_FIELD_NUMBER: _ClassVar[int]
    SUCCESSOPCOUNT_FIELD_NUMBER: _ClassVar[int]
    TASKINFOSTRING_FIELD_NUMBER: _ClassVar[int]
    TASKSTATSTRING_FIELD_NUMBER: _ClassVar[int]
    id: int
    state: SyncMetadataState
    syncDurationMs: int
    exception: SyncFailure
    successOpCount: int
    taskInfoString: bytes
    taskStatString: bytes
    def __init__(self, id: _Optional[int] = ..., state: _Optional[_Union[SyncMetadataState, str]] = ..., syncDurationMs: _Optional[int] = ..., exception: _Optional[_Union[SyncFailure, _Mapping]] = ..., successOpCount: _Optional[int] = ..., taskInfoString: _Optional[bytes] = ..., taskStatString: _Optional[bytes] = ...) -> None: ...

class SyncFailure(_message.Message):
    __slots__ = ("exceptionType", "exceptionMessage")
    EXCEPTIONTYPE_FIELD_NUMBER: _ClassVar[int]
    EXCEPTIONMESSAGE_FIELD_NUMBER: _ClassVar[int]
    exceptionType: bytes
    exceptionMessage: bytes
    def __init__(self, exceptionType: _Optional[bytes] = ..., exceptionMessage: _Optional[bytes] = ...) -> None: ...

class JournalEntry(_message.Message):
    __slots__ = ("inodeDirectory", "inodeFile")
    INODEDIRECTORY_FIELD_NUMBER: _ClassVar[int]
    INODEFILE_FIELD_NUMBER: _ClassVar[int]
    inodeDirectory: InodeDirectoryEntry
    inodeFile: InodeFileEntry
    def __init__(self, inodeDirectory: _Optional[_Union[InodeDirectoryEntry, _Mapping]] = ..., inodeFile: _Optional[_Union[InodeFileEntry, _Mapping]] = ...) -> None: ...

class InodeDirectoryEntry(_message.Message):
    __slots__ = ("id", "parentId", "name")
    ID_FIELD_NUMBER: _ClassVar[int]
    PARENTID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    id: int
    parentId: int
    name: bytes
    def __init__(self, id: _Optional[int] = ..., parentId: _Optional[int] = ..., name: _Optional[bytes] = ...) -> None: ...

class InodeFileEntry(_message.Message):
    __slots__ = ("parentId", "name", "length")
    PARENTID_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    LENGTH_FIELD_NUMBER: _ClassVar[int]
    parentId: int
    name: bytes
    length: int
    def __init__(self, parentId: _Optional[int] = ..., name: _Optional[bytes] = ..., length: _Optional[int] = ...) -> None: ...
