"""Where the API server is and who we are: a kubeconfig, else the pod's service account."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from kubernetes import client, config
from kubernetes.config.incluster_config import SERVICE_HOST_ENV_NAME

_DEFAULT_KUBECONFIG = "~/.kube/config"
_POD_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
# What the loaders raise for files that are missing, not YAML, or YAML of another shape.
_UNUSABLE = (config.ConfigException, OSError, yaml.YAMLError, ValueError, TypeError, KeyError, AttributeError)


class ConfigError(Exception):
    """No usable way to an API server; the message is one line that says what to change."""


@dataclass(frozen=True)
class Connection:
    """A loaded configuration of the transport, and the namespace to use where none is named."""

    configuration: Any
    namespace: str
    in_cluster: bool


def load(kubeconfig: str | None, context: str | None) -> Connection:
    """Read the kubeconfig named, else KUBECONFIG, else ~/.kube/config, else the service account; raise ConfigError."""
    named = kubeconfig or os.environ.get("KUBECONFIG", "")
    if named or context or Path(_DEFAULT_KUBECONFIG).expanduser().exists():
        return _from_kubeconfig(named or _DEFAULT_KUBECONFIG, context)
    if SERVICE_HOST_ENV_NAME in os.environ:
        return _from_service_account()
    raise ConfigError(
        f"no way to a Kubernetes API server: no --kubeconfig, no KUBECONFIG, no {_DEFAULT_KUBECONFIG}, and not in a pod"
    )


def _from_kubeconfig(paths: str, context: str | None) -> Connection:
    missing = [path for path in paths.split(os.pathsep) if path and not Path(path).expanduser().is_file()]
    if missing and len(missing) == len([path for path in paths.split(os.pathsep) if path]):
        raise ConfigError(f"kubeconfig {paths}: there is no such file")
    configuration = client.Configuration()
    try:
        contexts, current = config.list_kube_config_contexts(paths)  # type: ignore[no-untyped-call]
        config.load_kube_config(paths, context or None, configuration)  # type: ignore[no-untyped-call]
        chosen = next((each for each in contexts if each["name"] == context), current) if context else current
        namespace = chosen["context"].get("namespace") or "default"
    except _UNUSABLE as error:
        raise ConfigError(f"kubeconfig {paths} is not usable: {_line(error)}") from error
    return Connection(configuration, str(namespace), in_cluster=False)


def _from_service_account() -> Connection:
    configuration = client.Configuration()
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
        namespace = _POD_NAMESPACE.read_text().strip()
    except _UNUSABLE as error:
        raise ConfigError(f"the pod's service account is not usable: {_line(error)}") from error
    return Connection(configuration, namespace or "default", in_cluster=True)


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
