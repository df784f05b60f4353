"""What a real API server asks a kubelet for and our process node has no port for: the logs of its pods, by HTTPS."""

import ssl
import subprocess
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from controllers.kube.client import Cluster
from devcluster.http import Call, Server
from devcluster.kinds import NODES
from devcluster.node import NAME, ProcessNode


class LoggingNode(ProcessNode):
    """A process node for a real API server; ``directory`` also gets the certificate, which openssl makes."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        super().__init__(cluster, directory)
        directory.mkdir(parents=True, exist_ok=True)
        self._api, self._logs = cluster, Server(self._answer, _tls(directory / "node.pem"))

    def __enter__(self) -> "LoggingNode":
        super().__enter__()
        ports = {"kubeletEndpoint": {"Port": self._logs.port}}
        status = {"addresses": [{"type": "InternalIP", "address": "127.0.0.1"}], "daemonEndpoints": ports}
        self._api.merge_patch(NODES, "", NAME, {"status": status}, "status")
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._logs.stop()

    def _answer(self, call: Call) -> None:
        url = urlsplit(call.path)
        _, _, namespace, pod, container = url.path.split("/")
        call.answer(200, [self.logs(namespace, pod, {"container": container, **dict(parse_qsl(url.query))})])


def _tls(file: Path) -> ssl.SSLContext:
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=process-node"]
    subprocess.run([*make, "-keyout", str(file), "-out", str(file)], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(str(file))
    return context
