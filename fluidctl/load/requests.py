"""The only place that builds requests for files and folders.

Every request carries ``commonOptions {syncIntervalMs: -1, ttl: -1, ttlAction: FREE}``, for a refresh with interval 0. A
master of 2.9.1 to 2.9.6 takes an unset ttl as 0 and an unset action as DELETE, stores both on every inode it loads, and
its hourly checker then deletes the files from the storage (InodeTtlChecker; seen on 2.9.6). A test pins the bytes.
"""

from collections.abc import Mapping

from fluidctl.load import alluxio_pb2 as pb

ONCE = pb.ONCE  # a directory that is loaded already is answered from memory
ALWAYS = pb.ALWAYS  # the storage is listed again; adds, never removes
NEVER = pb.NEVER


def list_status(
    path: bytes,
    load: pb.LoadMetadataType = ONCE,
    *,
    recursive: bool = False,
    load_only: bool = False,
    sync: bool = False,
) -> pb.ListStatusRequest:
    """Return the request for one directory or, if ``recursive``, for the tree below it.

    ``load_only``: the master loads and answers nothing (2.5 and later). ``sync``: it compares with the storage first,
    and forgets what that does not show: never for a storage whose driver answers errors with nothing.
    """
    options = pb.ListStatusOptions(
        loadMetadataType=load,
        commonOptions=_common(0 if sync else -1),
        recursive=recursive,
        loadMetadataOnly=load_only,
        excludeMountInfo=True,
    )
    return pb.ListStatusRequest(path=path, options=options)


def get_status(path: bytes, load: pb.LoadMetadataType = ONCE) -> pb.GetStatusRequest:
    """Return the request for one entry."""
    options = pb.GetStatusOptions(loadMetadataType=load, commonOptions=_common(), updateTimestamps=False)
    return pb.GetStatusRequest(path=path, options=options)


def sync_metadata(path: bytes, descend: pb.LoadDescendantType = pb.ALL) -> pb.SyncMetadataRequest:
    """Return the request that loads a tree (or ``pb.ONE`` level) by flat listings; Alluxio sets no ttl on this way."""
    options = pb.SyncMetadataOptions(loadDescendantType=descend, directoryLoadType=pb.SINGLE_LISTING)
    return pb.SyncMetadataRequest(path=path, options=options)


def create_directory(path: bytes) -> pb.CreateDirectoryRequest:
    """Return the request for a directory in Alluxio alone, with those above it; one that is there is as good."""
    options = pb.CreateDirectoryOptions(
        recursive=True, allowExists=True, writeType=pb.MUST_CACHE, commonOptions=_common()
    )
    return pb.CreateDirectoryRequest(path=path, options=options)


def mount(path: bytes, uri: str, properties: Mapping[str, str], *, read_only: bool = False) -> pb.MountRequest:
    """Return the request that mounts a storage or, without a URI, changes the properties of a mount."""
    options = pb.MountOptions(readOnly=read_only, properties=properties, shared=False, commonOptions=_common())
    return pb.MountRequest(alluxioPath=path, ufsPath=uri.encode() or None, options=options)


def unmount(path: bytes) -> pb.UnmountRequest:
    """Return the request that ends a mount: what Alluxio knows below it is forgotten, the storage is not touched."""
    return pb.UnmountRequest(alluxioPath=path, options=pb.UnmountOptions(commonOptions=_common()))


def remove_directory(path: bytes) -> pb.RemoveRequest:
    """Return the request that removes a directory, in its storage too: for those of Alluxio's root alone."""
    options = pb.RemoveOptions(recursive=True, alluxioOnly=False, commonOptions=_common())
    return pb.RemoveRequest(path=path, options=options)


def _common(sync_interval_ms: int = -1) -> pb.CommonOptions:
    return pb.CommonOptions(syncIntervalMs=sync_interval_ms, ttl=-1, ttlAction=pb.FREE)
