"""The verbs of the Kubernetes API: plain dicts in and out, hard time limits, every failure a KubeError.

Of the ``kubernetes`` package only configuration, authentication and transport are used. Its informer, watch and leader
election have no time limits, lose events, or never sync.
"""

import json
import time
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import quote

from controllers.kube import connect, errors
from controllers.kube.connect import ConfigError
from controllers.kube.resources import NAMESPACES, PODS, Resource
from controllers.kube.transport import Observe, Request, Transport
from controllers.kube.watch import Watch

__all__ = ["Cluster", "ConfigError", "Watch"]

Object = dict[str, Any]

READ_SECONDS = 10.0


class Cluster:
    """One API server, shared by all threads.

    Every call raises KubeError, and is over ``timeout`` seconds after it was connected (3 s at most), or one read from
    the socket later. Only reads are repeated, within the same limit; after NoAnswer or ServerError a write may have
    been applied. The namespace of a cluster-wide object is "".
    """

    def __init__(
        self,
        connection: connect.Connection,
        *,
        pool_size: int,
        user_agent: str,
        observe: Observe | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._transport = Transport(
            connection, pool_size=pool_size, user_agent=user_agent, observe=observe, sleep=sleep
        )
        self.host = self._transport.host
        self.in_cluster = connection.in_cluster
        self.default_namespace = connection.namespace

    @classmethod
    def connect(
        cls,
        kubeconfig: str | None = None,
        context: str | None = None,
        *,
        pool_size: int,
        user_agent: str,
        observe: Observe | None = None,
    ) -> Self:
        """Find the API server (see ``connect.load``) or raise ConfigError. Sends nothing yet.

        ``pool_size``: how many threads send at one time, watches included.
        """
        return cls(connect.load(kubeconfig, context), pool_size=pool_size, user_agent=user_agent, observe=observe)

    def close(self) -> None:
        """Close the idle connections."""
        self._transport.close()

    def get(self, res: Resource, namespace: str, name: str, *, timeout: float = READ_SECONDS) -> Object:
        """Return one object."""
        return self._object(Request("GET", res.path(namespace, name), _what("get", res, namespace, name)), timeout)

    def list_page(
        self,
        res: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        limit: int = 500,
        continue_token: str = "",
        resource_version: str = "",
        *,
        field_selector: str = "",
        timeout: float = READ_SECONDS,
    ) -> tuple[list[Object], str, str]:
        """Return a page: objects (apiVersion and kind filled in), the list's resourceVersion, the next token or ""."""
        query = {
            "labelSelector": label_selector,
            "fieldSelector": field_selector,
            "limit": limit,
            "continue": continue_token,
            "resourceVersion": resource_version,
        }
        found = self._object(Request("GET", res.path(namespace), f"list {res}", query), timeout)
        items: list[Object] = found.get("items") or []
        for item in items:
            item.setdefault("apiVersion", res.api_version)
            item.setdefault("kind", res.kind)
        metadata = found.get("metadata", {})
        return items, metadata.get("resourceVersion", ""), metadata.get("continue", "")

    def list_all(
        self, res: Resource, namespace: str | None = None, label_selector: str = "", *, timeout: float = READ_SECONDS
    ) -> tuple[list[Object], str]:
        """Return all objects, read in pages, and the list's resourceVersion; ``timeout`` is for each page.

        Expired is raised where the pages took so long that the server forgot the token: begin again.
        """
        everything: list[Object] = []
        token = ""
        while True:
            page, version, token = self.list_page(res, namespace, label_selector, continue_token=token, timeout=timeout)
            everything += page
            if not token:
                return everything, version

    def create(self, res: Resource, namespace: str, body: Object, *, timeout: float = READ_SECONDS) -> Object:
        """Create an object and return it."""
        what = _what("create", res, namespace, body["metadata"].get("name", ""))
        return self._object(Request("POST", res.path(namespace), what, body=_typed(res, body)), timeout)

    def replace(self, res: Resource, body: Object, subresource: str = "", *, timeout: float = READ_SECONDS) -> Object:
        """Replace an object; Conflict where metadata.resourceVersion is not the current one."""
        namespace, name = body["metadata"].get("namespace", ""), body["metadata"]["name"]
        path, what = res.path(namespace, name, subresource), _what("update", res, namespace, name, subresource)
        return self._object(Request("PUT", path, what, body=_typed(res, body)), timeout)

    def replace_status(self, res: Resource, body: Object, *, timeout: float = READ_SECONDS) -> Object:
        """Replace the status alone; Conflict where metadata.resourceVersion is not the current one."""
        return self.replace(res, body, "status", timeout=timeout)

    def merge_patch(
        self,
        res: Resource,
        namespace: str,
        name: str,
        body: Object,
        subresource: str = "",
        *,
        timeout: float = READ_SECONDS,
    ) -> Object:
        """Apply a merge patch (RFC 7386); with metadata.resourceVersion in it only to that version, else Conflict."""
        path, what = res.path(namespace, name, subresource), _what("patch", res, namespace, name, subresource)
        return self._object(Request("PATCH", path, what, {}, body, "application/merge-patch+json"), timeout)

    def delete(
        self,
        res: Resource,
        namespace: str,
        name: str,
        uid: str = "",
        propagation: str = "Background",
        resource_version: str = "",
        *,
        grace_seconds: int | None = None,
        timeout: float = READ_SECONDS,
    ) -> Object:
        """Delete an object; Conflict where the uid or resourceVersion given is not the current one.

        Returns what the server answers: a Status, or the object where finalizers hold it.
        """
        wanted = {"uid": uid, "resourceVersion": resource_version}
        body: Object = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": propagation}
        if preconditions := {field: value for field, value in wanted.items() if value}:
            body["preconditions"] = preconditions
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        path, what = res.path(namespace, name), _what("delete", res, namespace, name)
        return self._object(Request("DELETE", path, what, body=body), timeout)

    def watch(
        self,
        res: Resource,
        namespace: str | None = None,
        label_selector: str = "",
        resource_version: str = "",
        *,
        timeout_seconds: int = 300,
        silence: float = 120.0,
    ) -> Watch:
        """Open a watch with bookmarks, which the server ends after ``timeout_seconds``.

        Iterating raises Silent where nothing comes for ``silence`` seconds.
        """
        query = {
            "watch": "true",
            "allowWatchBookmarks": "true",
            "labelSelector": label_selector,
            "resourceVersion": resource_version,
            "timeoutSeconds": timeout_seconds,
        }
        request = Request("GET", res.path(namespace), f"watch {res}", query)
        return Watch(self._transport.send(request, READ_SECONDS), request.what, silence)

    def pod_log(
        self,
        namespace: str,
        pod: str,
        container: str = "",
        *,
        tail_lines: int = 10,
        limit_bytes: int = 65536,
        timeout: float = READ_SECONDS,
    ) -> str:
        """Return the end of a container's log; bytes that are not UTF-8 are replaced."""
        query = {"container": container, "tailLines": tail_lines, "limitBytes": limit_bytes}
        what = _what("read", PODS, namespace, pod, "log")
        body = self._transport.exchange(Request("GET", PODS.path(namespace, pod, "log"), what, query), timeout)
        return body.decode(errors="replace")

    def service_proxy_get(
        self, namespace: str, service: str, port: int | str, path: str, timeout: float = READ_SECONDS
    ) -> bytes:
        """GET a path (with its query) of a Service through the API server; an error may be the Service's own."""
        target = f"{NAMESPACES.path(name=namespace)}/services/{quote(f'{service}:{port}', safe=':')}/proxy"
        what = f"reach service {namespace}/{service}:{port}"
        return self._transport.exchange(Request("GET", f"{target}/{path.lstrip('/')}", what), timeout)

    def server_version(self, *, timeout: float = READ_SECONDS) -> Object:
        """Return what /version says (``gitVersion``)."""
        return self._object(Request("GET", "/version", "read the version"), timeout)

    def _object(self, request: Request, timeout: float) -> Object:
        body = self._transport.exchange(request, timeout)
        try:
            found = json.loads(body)
        except ValueError as error:
            raise errors.ServerError(0, "BadAnswer", f"{request.what}: the answer is not JSON: {error}") from error
        if not isinstance(found, dict):
            raise errors.ServerError(0, "BadAnswer", f"{request.what}: the answer is not a JSON object")
        return found


def _typed(res: Resource, body: Object) -> Object:
    return {"apiVersion": res.api_version, "kind": res.kind, **body}


def _what(verb: str, res: Resource, namespace: str, name: str, subresource: str = "") -> str:
    return f"{verb} {res}{subresource and '/' + subresource} {namespace and namespace + '/'}{name}"
