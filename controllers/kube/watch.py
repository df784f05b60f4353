"""One open watch: the bytes of a response as decoded events."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import urllib3
import urllib3.exceptions

from controllers.kube import errors

_CHUNK = 1 << 16


class Silent(errors.NoAnswer):
    """Nothing came for ``silence`` seconds: an idle resource, or a half-open connection. Nobody can tell which."""


class Watch:
    """Iterates over the events, ``{"type": ..., "object": ...}``, bookmarks included, until the server ends the stream.

    An ERROR event and a broken stream (a cut line too) are raised as KubeError. ``stop``, from any thread, ends the
    iteration quietly.
    """

    def __init__(self, response: urllib3.BaseHTTPResponse, request: str, silence: float) -> None:
        # Until here the shorter limit for headers counted. urllib3 sets it anew for the connection's next user.
        if (sock := getattr(response.connection, "sock", None)) is not None:
            sock.settimeout(silence)
        self._response = response
        self._request = request
        self._stopped = threading.Event()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        rest = b""
        try:
            for chunk in self._response.stream(_CHUNK):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in filter(None, lines):
                    if self._stopped.is_set():
                        return
                    yield self._event(line)
            if rest and not self._stopped.is_set():
                raise errors.NoAnswer("ConnectionLost", f"{self._request}: the stream ended within a line")
        except urllib3.exceptions.ReadTimeoutError as error:
            raise Silent("Timeout", f"{self._request}: silent for too long") from error
        except (urllib3.exceptions.HTTPError, OSError, ValueError, AttributeError) as error:
            # The last two are what the standard library makes of a TLS socket that is shut down while it is read.
            if not self._stopped.is_set():
                raise errors.from_exception(error, self._request) from error
        finally:
            self._response.close()

    def stop(self) -> None:
        """End the iteration at once, also one that waits for bytes in another thread."""
        self._stopped.set()
        try:
            # Not close(): it would wait for the lock that the reading thread holds.
            self._response.shutdown()
        except (OSError, ValueError, RuntimeError):
            return  # already over, which is all that was wanted

    def _event(self, line: bytes) -> dict[str, Any]:
        try:
            event = json.loads(line)
            kind, obj = event["type"], event["object"]
            if kind != "ERROR":
                obj["metadata"]["resourceVersion"]
        except (ValueError, KeyError, TypeError) as error:
            raise errors.ServerError(0, "BadAnswer", f"{self._request}: not a watch event: {error}") from error
        if kind == "ERROR":
            raise errors.from_status(obj, self._request)
        return {"type": kind, "object": obj}
