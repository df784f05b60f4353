"""A real Kubernetes control plane on the loopback address: etcd, kube-apiserver, kube-controller-manager. No kubelet.

Flags and their reasons: envtest's set, with RBAC and the ServiceAccount admission plugin as in a real cluster.
"""

import base64
import json
import os
import secrets
import shutil
import ssl
import tempfile
import urllib.error
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import yaml

from tests.real import binaries
from tests.real.process import Process, free_ports, run

# What our resources meet in a real cluster: Jobs and their pods, claims and volumes, owners, namespaces, identities.
_CONTROLLERS = (
    "job-controller",
    "ttl-after-finished-controller",
    "garbage-collector-controller",
    "namespace-controller",
    "serviceaccount-controller",
    "root-ca-certificate-publisher-controller",
    "persistentvolume-binder-controller",
    "persistentvolume-protection-controller",
    "persistentvolumeclaim-protection-controller",
    "pod-garbage-collector-controller",
    "clusterrole-aggregation-controller",
    "statefulset-controller",
)
# Who wrote what, without the bodies.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "None", "verbs": ["get", "list", "watch"]}, {"level": "Metadata"}],
}
_START_SECONDS = 90.0  # 5 on an idle machine; a busy one may take its time


class ControlPlane:
    """Context manager: a control plane with its own temporary directory, ports and identities.

    Attributes:
        url: of the API server, https. directory: logs, data, HOME of kubectl.
    """

    def __init__(self, manifests: Sequence[Path] = ()) -> None:
        """``manifests`` (files or directories) are applied before the controller-manager starts.

        Give CRDs here: the garbage collector notices a new kind only every 30 s, except those that exist at its start.
        """
        self._manifests = manifests
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.directory = Path(tempfile.mkdtemp(prefix="fluidctl-controlplane-"))
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            self._etcd_port, etcd_peer_port, self._port, self._manager_port = free_ports(4)
            self.url = f"https://127.0.0.1:{self._port}"
            self._token = secrets.token_hex(16)
            self._start_etcd(stack, etcd_peer_port)
            self._start_apiserver(stack)
            if self._manifests:
                self.kubectl("apply", "--server-side", *(f"--filename={path}" for path in self._manifests))
            self._start_manager(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def kubectl(self, *arguments: str, stdin: str | None = None, seconds: float = 60) -> str:
        """Run kubectl as the administrator and return its stdout; errors as of ``process.run``."""
        return run([binaries.program("kubectl"), *arguments], self.environment(), seconds, stdin)

    def environment(self) -> dict[str, str]:
        """Return the environment in which kubectl talks to this API server, as the administrator."""
        return os.environ | {"KUBECONFIG": str(self.kubeconfig), "HOME": str(self.directory)}

    def token(self, namespace: str, service_account: str, seconds: int = 3600) -> str:
        """Return a token of a ServiceAccount, by TokenRequest: with the rights of its pods."""
        path = f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token"
        return str(self.request("POST", path, {"spec": {"expirationSeconds": seconds}})["status"]["token"])

    def token_kubeconfig(self, namespace: str, service_account: str, seconds: int = 3600) -> Path:
        """Return a kubeconfig with a token of a ServiceAccount."""
        target = self.directory / f"{namespace}-{service_account}.kubeconfig"
        return self._write_kubeconfig(target, self.token(namespace, service_account, seconds), namespace)

    def request(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        """Send one JSON request as the administrator and return the decoded answer. Raise urllib.error.HTTPError."""
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        trust = ssl.create_default_context(cafile=self.ca)
        with urllib.request.urlopen(request, timeout=60, context=trust) as answer:
            text = answer.read()
            return json.loads(text) if answer.headers.get_content_type() == "application/json" else text

    def audit(self) -> list[dict[str, Any]]:
        """Return every write so far, refused ones too, as an Event of audit.k8s.io/v1: user, verb, objectRef."""
        complete, _, _ = self._audit_log.read_text().rpartition("\n")
        return [json.loads(line) for line in complete.splitlines()]

    @property
    def kubeconfig(self) -> Path:
        """Return the kubeconfig of the administrator."""
        return self.directory / "admin.kubeconfig"

    @property
    def ca(self) -> Path:
        """Return the self-signed certificate that the API server makes in its --cert-dir, and that clients trust."""
        return self.directory / "certificates" / "apiserver.crt"

    @property
    def _audit_log(self) -> Path:
        return self.directory / "audit.log"

    def _start_etcd(self, stack: ExitStack, peer_port: int) -> None:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{peer_port}"
        options = {
            "data-dir": self.directory / "etcd",
            "listen-client-urls": client,
            "advertise-client-urls": client,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
            "log-level": "warn",
        }
        self._run(stack, "etcd", options)

    def _start_apiserver(self, stack: ExitStack) -> None:
        key = self.directory / "service-account.key"
        run(["openssl", "genrsa", "-out", key, "2048"], os.environ, 30)
        tokens = self.directory / "tokens.csv"
        tokens.write_text(f'{self._token},admin,1,"system:masters"\n')
        policy = self.directory / "audit-policy.json"
        policy.write_text(json.dumps(_AUDIT_POLICY))
        options = {
            "etcd-servers": f"http://127.0.0.1:{self._etcd_port}",
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self._port,
            "cert-dir": self.ca.parent,
            "service-cluster-ip-range": "10.0.0.0/24",
            "authorization-mode": "RBAC",
            "token-auth-file": tokens,
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": key,
            "service-account-signing-key-file": key,
            "allow-privileged": "true",
            "endpoint-reconciler-type": "none",
            "kubelet-preferred-address-types": "InternalIP",
            "enable-priority-and-fairness": "false",
            "audit-policy-file": policy,
            "audit-log-path": self._audit_log,
        }
        server = self._run(stack, "kube-apiserver", options)
        server.wait_ready(self._apiserver_ready, _START_SECONDS)
        self._write_kubeconfig(self.kubeconfig, self._token, "default")

    def _start_manager(self, stack: ExitStack) -> None:
        options = {
            "kubeconfig": self.kubeconfig,
            "authentication-kubeconfig": self.kubeconfig,
            "authorization-kubeconfig": self.kubeconfig,
            "bind-address": "127.0.0.1",
            "secure-port": self._manager_port,
            "cert-dir": self.directory / "manager-certificates",
            "service-account-private-key-file": self.directory / "service-account.key",
            "root-ca-file": self.ca,
            "use-service-account-credentials": "true",
            "leader-elect": "false",
            "controllers": ",".join(_CONTROLLERS),
            "pvclaimbinder-sync-period": "1s",  # by default a claim waits up to 15 s for its volume
            "kube-api-qps": 200,
            "kube-api-burst": 400,
            "concurrent-job-syncs": 20,
        }
        self._run(stack, "kube-controller-manager", options).wait_ready(self._manager_ready, _START_SECONDS)

    def _run(self, stack: ExitStack, name: str, options: dict[str, Any]) -> Process:
        """Start a program; the stack stops them in reverse: without etcd the API server would not hear SIGTERM."""
        command: list[str | Path] = [
            binaries.program(name),
            *(f"--{option}={value}" for option, value in options.items()),
        ]
        process = Process(command, self.directory / f"{name}.log", os.environ | {"HOME": str(self.directory)})
        stack.callback(process.stop)
        return process

    def _apiserver_ready(self) -> bool:
        return self.ca.exists() and self._answers("/readyz")

    def _manager_ready(self) -> bool:
        """Pods can be created once the default ServiceAccount is there."""
        return self._answers("/api/v1/namespaces/default/serviceaccounts/default")

    def _answers(self, path: str) -> bool:
        try:
            self.request("GET", path)
        except OSError:  # URLError, HTTPError, ssl.SSLError: not yet
            return False
        return True

    def _write_kubeconfig(self, target: Path, token: str, namespace: str) -> Path:
        authority = base64.b64encode(self.ca.read_bytes()).decode()
        context = {"cluster": "real", "user": "user", "namespace": namespace}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "real", "cluster": {"server": self.url, "certificate-authority-data": authority}}],
            "users": [{"name": "user", "user": {"token": token}}],
            "contexts": [{"name": "real", "context": context}],
            "current-context": "real",
        }
        target.touch(mode=0o600)
        target.write_text(yaml.safe_dump(content))
        return target
