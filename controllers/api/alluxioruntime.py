"""The AlluxioRuntime: an Alluxio that is run for a dataset of the same name, with all fields that Fluid 1.0 has.

Only its shape; no controller serves it yet. What Kubernetes itself defines (volumes, resources) is kept as written.
"""

import enum

from pydantic import Field

from controllers.api.core import NodeAffinity, Quantity, Reference, Resources, Volume, VolumeMount, VolumeSource
from controllers.api.dataset_status import Conditions
from controllers.api.fluid import MountInPlace, User
from controllers.api.model import Count, Model, Time

KIND = "AlluxioRuntime"
PLURAL = "alluxioruntimes"


class MediumType(enum.StrEnum):
    """Kinds of storage of a worker."""

    MEM = "MEM"
    SSD = "SSD"
    HDD = "HDD"


class NetworkMode(enum.StrEnum):
    """Network of the pods."""

    HOST = "HostNetwork"
    DEFAULT = ""
    CONTAINER = "ContainerNetwork"


class Image(Model):
    """A container image."""

    image: str = Field(default="", description="Name of the image.")
    image_tag: str = Field(default="", description="Tag of the image.")
    image_pull_policy: str = Field(default="", description="Always, IfNotPresent or Never.")


class PodMetadata(Model):
    """Labels and annotations of pods."""

    labels: dict[str, str] = Field(default={}, description="Labels of the pods.")
    annotations: dict[str, str] = Field(default={}, description="Annotations of the pods.")


class Process(Model):
    """What every part of Alluxio can be given."""

    jvm_options: tuple[str, ...] = Field(default=(), description="Options of the JVM.")
    properties: dict[str, str] = Field(default={}, description="Properties of Alluxio.")
    env: dict[str, str] = Field(default={}, description="Environment variables.")
    image_pull_secrets: tuple[Reference, ...] = Field(default=(), description="Secrets for the image registry.")
    node_selector: dict[str, str] = Field(default={}, description="Labels that a node must have.")
    network_mode: NetworkMode = Field(default=NetworkMode.DEFAULT, description="Network of the pods.")
    pod_metadata: PodMetadata = Field(default=PodMetadata(), description="Labels and annotations of the pods.")
    resources: Resources = Field(default={}, description="Container.resources.")
    volume_mounts: tuple[VolumeMount, ...] = Field(default=(), description="Container.volumeMounts.")


class Component(Process):
    """One part of Alluxio: masters, workers and their job services, the gateway."""

    enabled: bool | None = Field(default=None, description="Whether there is this part.")
    replicas: int | None = Field(
        default=None, description="How many pods.", ge=1, le=10_000, json_schema_extra={"format": "int32"}
    )
    ports: dict[str, int] = Field(default={}, description="Ports by name.")


class Fuse(Process, Image):
    """The client that makes the dataset a file system on a node."""

    args: tuple[str, ...] = Field(default=(), description="Arguments of the client.")
    clean_policy: str = Field(default="", description="When its pods go: OnRuntimeDeleted or OnDemand.")


class InitUsers(Image):
    """The container that prepares users."""

    env: dict[str, str] = Field(default={}, description="Environment variables.")
    resources: Resources = Field(default={}, description="Container.resources.")


class Level(Model):
    """One level of a worker's storage."""

    mediumtype: MediumType = Field(description="MEM, SSD or HDD.")
    volume_type: str = Field(
        default="hostPath",
        description="hostPath or emptyDir.",
        json_schema_extra={"enum": ["hostPath", "emptyDir"]},
    )
    volume_source: VolumeSource = Field(default={}, description="A volume source of core/v1.")
    path: str = Field(default="", description="Directories, separated by commas.")
    quota: Quantity | None = Field(default=None, description="Capacity of the level.")
    quota_list: str = Field(default="", description="Capacity of each directory, separated by commas.")
    high: str = Field(default="", description="Fraction of use at which data is evicted.")
    low: str = Field(default="", description="Fraction of use at which eviction ends.")


class TieredStore(Model):
    """The storage of a worker."""

    levels: tuple[Level, ...] = Field(default=(), description="Levels, the fastest first.", max_length=16)


class Data(Model):
    """How data is kept in the cache."""

    replicas: int = Field(default=0, description="Copies of every block.", json_schema_extra={"format": "int32"})
    pin: bool = Field(default=False, description="Whether data is pinned.")


class CleanCachePolicy(Model):
    """How the cache is emptied at the end."""

    grace_period_seconds: int = Field(
        default=60, description="How long one try may take.", json_schema_extra={"format": "int32"}
    )
    max_retry_attempts: int = Field(
        default=3, description="How often it is tried.", json_schema_extra={"format": "int32"}
    )


class MetadataSyncPolicy(Model):
    """Whether Fluid loads metadata. Ours is in the Dataset: spec.load."""

    auto_sync: bool | None = Field(default=None, description="Whether metadata is loaded by itself.")


class Management(Model):
    """How the runtime is looked after."""

    clean_cache_policy: CleanCachePolicy = Field(
        default=CleanCachePolicy(), description="How the cache is emptied at the end."
    )
    metadata_sync_policy: MetadataSyncPolicy = Field(
        default=MetadataSyncPolicy(), description="Whether Fluid loads metadata."
    )


class AlluxioRuntimeSpec(Model):
    """The parts of the Alluxio."""

    alluxio_version: Image = Field(default=Image(), description="Image of every part of Alluxio.")
    replicas: int = Field(default=0, description="How many workers.", ge=0, le=10_000)
    master: Component = Field(default=Component(), description="The masters.")
    job_master: Component = Field(default=Component(), description="The masters of the job service.")
    worker: Component = Field(default=Component(), description="The workers.")
    job_worker: Component = Field(default=Component(), description="The workers of the job service.")
    api_gateway: Component = Field(default=Component(), description="The REST gateway.")
    init_users: InitUsers = Field(default=InitUsers(), description="The container that prepares users.")
    fuse: Fuse = Field(default=Fuse(), description="The client that makes the dataset a file system.")
    properties: dict[str, str] = Field(default={}, description="Properties of every part of Alluxio.")
    jvm_options: tuple[str, ...] = Field(default=(), description="Options of every JVM.")
    tieredstore: TieredStore = Field(default=TieredStore(), description="The storage of the workers.")
    data: Data = Field(default=Data(), description="How data is kept in the cache.")
    run_as: User | None = Field(default=None, description="The user of the pods.")
    disable_prometheus: bool = Field(default=False, description="Whether metrics are left out.")
    hadoop_config: str = Field(default="", description="Name of a ConfigMap with configuration of Hadoop.")
    volumes: tuple[Volume, ...] = Field(default=(), description="PodSpec.volumes that components can mount.")
    pod_metadata: PodMetadata = Field(default=PodMetadata(), description="Labels and annotations of all pods.")
    management: Management = Field(default=Management(), description="How the runtime is looked after.")
    image_pull_secrets: tuple[Reference, ...] = Field(default=(), description="Secrets for the image registry.")


class ApiGatewayStatus(Model):
    """The REST gateway."""

    endpoint: str = Field(default="", description="Where it answers.")


class AlluxioRuntimeStatus(Model):
    """The state of the Alluxio, with Fluid's names."""

    conditions: Conditions = Field(default=(), description="The state in detail.")
    observed_generation: Count = Field(default=0, description="Generation that this status belongs to.")
    master_phase: str = Field(default="", description="State of the masters.")
    master_reason: str = Field(default="", description="Why they are in it.")
    worker_phase: str = Field(default="", description="State of the workers.")
    worker_reason: str = Field(default="", description="Why they are in it.")
    fuse_phase: str = Field(default="", description="State of the clients.")
    fuse_reason: str = Field(default="", description="Why they are in it.")
    desired_master_number_scheduled: Count = Field(default=0, description="Masters wanted.")
    current_master_number_scheduled: Count = Field(default=0, description="Masters that exist.")
    master_number_ready: Count = Field(default=0, description="Masters that are ready.")
    desired_worker_number_scheduled: Count = Field(default=0, description="Workers wanted.")
    current_worker_number_scheduled: Count = Field(default=0, description="Workers that exist.")
    worker_number_ready: Count = Field(default=0, description="Workers that are ready.")
    worker_number_available: Count = Field(default=0, description="Workers that are available.")
    worker_number_unavailable: Count = Field(default=0, description="Workers that are not available.")
    desired_fuse_number_scheduled: Count = Field(default=0, description="Clients wanted.")
    current_fuse_number_scheduled: Count = Field(default=0, description="Clients that exist.")
    fuse_number_ready: Count = Field(default=0, description="Clients that are ready.")
    fuse_number_available: Count = Field(default=0, description="Clients that are available.")
    fuse_number_unavailable: Count = Field(default=0, description="Clients that are not available.")
    value_file: str = Field(default="", description="Written by Fluid only.")
    setup_duration: str = Field(default="", description="How long the start took.")
    selector: str = Field(default="", description="Label selector of the workers.")
    mount_time: Time = Field(default="", description="When mounts were last applied.")
    mounts: tuple[MountInPlace, ...] = Field(default=(), description="Mounts that are in place.")
    cache_states: dict[str, str] = Field(default={}, description="State of the cache for people.")
    cache_affinity: NodeAffinity = Field(default={}, description="Where the cache is, as a NodeAffinity of core/v1.")
    api_gateway: ApiGatewayStatus | None = Field(default=None, description="The REST gateway.")
