"""What the controller is told at its start: plain values, read by fluidctl from flags and environment."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class VolumeProfile:
    """How a dataset becomes a PersistentVolume; set by whoever runs the controller, never by the writer of a Dataset.

    ``attributes`` and ``mount_options`` are handed to the CSI driver as they are. ``{path}`` and ``{masters}`` in a
    value become the dataset's path in Alluxio and its validated "host:port,host:port".
    Defaults: the CSI driver of Alluxio 2.x (integration/kubernetes helm chart, templates/csi/pv.yaml).
    """

    driver: str = "alluxio"
    attributes: dict[str, str] = field(
        default_factory=lambda: {
            "alluxioPath": "{path}",
            "mountInPod": "false",
            "javaOptions": "-Dalluxio.user.metadata.cache.enabled=true -Dalluxio.master.rpc.addresses={masters}",
        }
    )
    mount_options: tuple[str, ...] = (
        "direct_io",
        "allow_other",
        "entry_timeout=36000",
        "attr_timeout=36000",
        "max_readahead=0",
    )


@dataclass(frozen=True)
class ControllerConfig:
    """All settings of one controller process. Seconds unless a name says otherwise."""

    kubeconfig: str = ""  # empty: KUBECONFIG or ~/.kube/config, else in-cluster
    context: str = ""
    namespaces: tuple[str, ...] = ()  # empty: all
    selector: str = ""  # label selector on Datasets
    only: str = ""  # "namespace/name": handle this Dataset alone (debugging)
    workers: int = 16
    loads_per_master: int = 4
    global_loads: int = 0  # 0: no limit
    job_image: str = "fluidctl:dev"
    alluxio_image: str = "alluxio/alluxio:2.9.6"  # for loader AlluxioCLI
    alluxio_memory: str = "1Gi"  # of a container of that image: it starts a JVM
    journal_size: str = "10Gi"  # of the claim for the journal of an AlluxioRuntime's master
    journal_storage_class: str = ""  # empty: the cluster's default
    job_service_account: str = ""  # empty: the namespace's default
    job_cpu: str = "100m"
    job_memory: str = "256Mi"
    allowed_masters: tuple[str, ...] = ()  # host suffixes and CIDRs; empty: any
    allow_local_ufs: bool = False
    backup_directories: tuple[str, ...] = ()  # of existing masters, where Datasets may let them write; empty: nowhere
    volume: VolumeProfile = field(default_factory=VolumeProfile)
    leader_elect: bool = True
    lease_name: str = "fluidctl"
    lease_namespace: str = ""  # empty: the pod's own; outside of the cluster that of manifests/
    identity: str = ""  # empty: hostname and a random part
    metrics_bind: str = "0.0.0.0:8080"  # empty: none
    health_bind: str = "0.0.0.0:8081"
    resync_seconds: float = 36000.0
    cache_poll_seconds: float = 20.0
    progress_seconds: float = 5.0
    log_format: str = "json"  # or "text"
    log_level: str = "info"
    grace_seconds: float = 30.0
