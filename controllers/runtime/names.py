"""Names, ports and addresses of an AlluxioRuntime's children. One master; a second one would be ``-master-1``."""

import re

#: Of a runtime: a pod's name, with what Kubernetes adds to it, must stay a label of 63 characters.
NAME = re.compile(r"[a-z]([-a-z0-9]{0,38}[a-z0-9])?")

MASTER_RPC_PORT, MASTER_WEB_PORT, AGENT_PORT = 19998, 19999, 19997
WORKER_RPC_PORT, WORKER_WEB_PORT = 29999, 30000


def master(runtime: str) -> str:
    """Return the name of the masters' StatefulSet."""
    return f"{runtime}-master"


def master_service(runtime: str) -> str:
    """Return the name of the first master's Service, as Fluid names it; of its pod, too."""
    return f"{runtime}-master-0"


def worker(runtime: str) -> str:
    """Return the name of the workers' StatefulSet."""
    return f"{runtime}-worker"


def config(runtime: str, role: str, digest: str) -> str:
    """Return the name of a ConfigMap: ``digest`` is of its content, so that it never changes under a running pod."""
    return f"{runtime}-{role}-config-{digest}"


def agent_secret(runtime: str) -> str:
    """Return the name of the Secret whose key ``token`` the agent asks for."""
    return f"{runtime}-agent"


def journal_claim(runtime: str) -> str:
    """Return the name of the first master's claim for its journal."""
    return f"{runtime}-master-0-journal"


def host(namespace: str, runtime: str) -> str:
    """Return the first master's name in the cluster's DNS."""
    return f"{master_service(runtime)}.{namespace}.svc"


def masters(namespace: str, runtime: str) -> tuple[str, ...]:
    """Return host:port of every master's RPC service."""
    return (f"{host(namespace, runtime)}:{MASTER_RPC_PORT}",)


def agent_url(namespace: str, runtime: str) -> str:
    """Return where the agent beside the first master serves its backups."""
    return f"http://{host(namespace, runtime)}:{AGENT_PORT}"
