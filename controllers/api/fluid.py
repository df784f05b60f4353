"""The fields of Fluid 1.0 that we read without serving them, so that its objects apply here as they are.

They are in the CRDs, because kubectl refuses a field that no schema knows. What is set of them in a spec is named in
the condition `Accepted` (reason `UnservedFields`); nothing else ever looks at them.
"""

from typing import Annotated

from pydantic import Field

from controllers.api.core import NodeSelector, Toleration
from controllers.api.model import UNSERVED, Model


class User(Model):
    """A POSIX user and group."""

    uid: int = Field(description="Numeric id of the user.", json_schema_extra={"format": "int64"})
    gid: int = Field(description="Numeric id of the group.", json_schema_extra={"format": "int64"})
    user: str = Field(description="Name of the user.")
    group: str = Field(description="Name of the group.")


class SecretKeySelector(Model):
    """One key of a Secret in the namespace of the object."""

    name: str = Field(description="Name of the Secret.")
    key: str = Field(default="", description="Key in the Secret.")


class EncryptOptionSource(Model):
    """Where the value of a secret option comes from."""

    secret_key_ref: SecretKeySelector | None = Field(
        default=None, description="The key of a Secret that holds the value."
    )


class EncryptOption(Model):
    """A mount option whose value is kept in a Secret."""

    name: str = Field(description="Name of the option, for example s3a.secretKey.")
    value_from: EncryptOptionSource | None = Field(default=None, description="Where the value is.")


class CacheableNodes(Model):
    """Which nodes may hold the cache."""

    required: NodeSelector = Field(default={}, description="A NodeSelector of core/v1.")


class RuntimeReference(Model):
    """A runtime that serves a dataset."""

    name: str = Field(default="", description="Name of the runtime.")
    namespace: str = Field(default="", description="Namespace of the runtime.")
    category: str = Field(default="", description="Category, for example Accelerate.")
    type: str = Field(default="", description="Type, for example alluxio.")
    master_replicas: int = Field(
        default=0, description="How many masters it has.", json_schema_extra={"format": "int32"}
    )


class HCFS(Model):
    """A file system that Hadoop clients can use."""

    endpoint: str = Field(default="", description="Endpoint for Hadoop clients.")
    underlayer_file_system_version: str = Field(default="", description="Version of the storage below.")


class UnservedMountFields(Model):
    """Fields of one mount."""

    shared: Annotated[bool, UNSERVED] = Field(default=False, description="Share the mount between users.")


class UnservedRestoreFields(Model):
    """Fields of dataRestoreLocation."""

    node_name: Annotated[str, UNSERVED] = Field(default="", description="The node that holds a local backup.")


class UnservedDatasetFields(Model):
    """Fields of the spec of a Dataset."""

    owner: Annotated[User | None, UNSERVED] = Field(default=None, description="Who owns the files of the dataset.")
    node_affinity: Annotated[CacheableNodes | None, UNSERVED] = Field(
        default=None, description="Nodes that hold the cache."
    )
    tolerations: Annotated[tuple[Toleration, ...], UNSERVED] = Field(
        default=(), description="Tolerations of the pods of the cache."
    )
    runtimes: Annotated[tuple[RuntimeReference, ...], UNSERVED] = Field(
        default=(), description="Runtimes of the dataset."
    )
    placement: Annotated[str, UNSERVED] = Field(
        default="",
        description="Whether datasets share a node.",
        json_schema_extra={"enum": ["Exclusive", "", "Shared"]},
    )
    shared_options: Annotated[dict[str, str], UNSERVED] = Field(default={}, description="Options of every mount.")
    shared_encrypt_options: Annotated[tuple[EncryptOption, ...], UNSERVED] = Field(
        default=(), description="Options of every mount whose values are in Secrets."
    )


class MountInPlace(UnservedMountFields):
    """A mount that Fluid has made."""

    mount_point: str = Field(default="", description="URI of the directory in the storage.")
    name: str = Field(default="", description="Name of the mount.")
    path: str = Field(default="", description="Where it appears.")
    options: dict[str, str] = Field(default={}, description="Options of the mount.")
    encrypt_options: tuple[EncryptOption, ...] = Field(default=(), description="Options whose values are in Secrets.")
    read_only: bool = Field(default=False, description="Whether it is read-only.")


class UnservedDatasetStatus(Model):
    """Fields of the status of a Dataset that Fluid writes and we do not."""

    mounts: tuple[MountInPlace, ...] = Field(default=(), description="Written by Fluid only: mounts that are in place.")
    runtimes: tuple[RuntimeReference, ...] = Field(default=(), description="Written by Fluid only.")
    hcfs: HCFS | None = Field(default=None, description="Written by Fluid only.")
    data_load_ref: str = Field(default="", description="Written by Fluid only.")
    data_backup_ref: str = Field(default="", description="Written by Fluid only.")
    operation_ref: dict[str, str] = Field(default={}, description="Written by Fluid only: running operations by kind.")
    dataset_ref: tuple[str, ...] = Field(default=(), description="Written by Fluid only: datasets that mount this one.")
