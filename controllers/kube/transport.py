"""One HTTP exchange with the API server: limits, repeats of reads, and every failure as a KubeError."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import urllib3.exceptions
from kubernetes import client
from kubernetes.config import ConfigException
from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_attempt, wait_random_exponential

from controllers.kube import errors
from controllers.kube.connect import Connection

#: ``observe(method, host, code, seconds)`` is called for each answer; code is "<error>" where none came (client-go).
Observe = Callable[[str, str, str, float], None]

CONNECT_SECONDS = 3.0
_ATTEMPTS = 3
_CHUNK = 1 << 16
_FAILURES = (urllib3.exceptions.HTTPError, client.ApiException, OSError)
_REPEATED = (errors.NoAnswer, errors.TooManyRequests, errors.ServerError)


@dataclass(frozen=True)
class Request:
    """What to send. ``what`` ("get datasets a/b") begins every message about it; empty query values are left out."""

    method: str
    path: str
    what: str
    query: Mapping[str, object] = field(default_factory=dict)
    body: Mapping[str, Any] | None = None
    content_type: str = "application/json"


class Transport:
    """The connections to one API server, shared by all threads."""

    def __init__(
        self,
        connection: Connection,
        *,
        pool_size: int,
        user_agent: str,
        observe: Observe | None,
        sleep: Callable[[float], None],
    ) -> None:
        configuration = connection.configuration
        configuration.retries = False  # urllib3's own would repeat writes, and sleep unseen
        configuration.keep_alive = True
        configuration.connection_pool_maxsize = pool_size
        self.host: str = configuration.host
        self._api: Any = client.ApiClient(configuration)
        self._api.user_agent = user_agent
        self._observe = observe
        self._sleep = sleep

    def close(self) -> None:
        """Close the idle connections."""
        self._api.close()

    def exchange(self, request: Request, timeout: float) -> bytes:
        """Send and return the body of the 2xx answer.

        A GET is tried up to three times, after a random wait or the one the server asks for, as far as ``timeout``
        allows. Anything else is sent once: whoever wants to write again looks first.
        """
        if request.method != "GET":
            return self._once(request, timeout)
        deadline = time.monotonic() + timeout
        backoff = wait_random_exponential(multiplier=0.2, max=2.0)

        def wait(state: RetryCallState) -> float:
            error = state.outcome.exception() if state.outcome else None
            return max(backoff(state), getattr(error, "retry_after", 0.0))

        def enough(state: RetryCallState) -> bool:
            return stop_after_attempt(_ATTEMPTS)(state) or time.monotonic() + state.upcoming_sleep >= deadline

        again = retry_if_exception_type(_REPEATED)
        retrying = Retrying(retry=again, wait=wait, stop=enough, sleep=self._sleep, reraise=True)
        return retrying(lambda: self._once(request, deadline - time.monotonic()))

    def send(self, request: Request, silence: float) -> urllib3.BaseHTTPResponse:
        """Send and return the 2xx response, its body unread; no read from its socket takes over ``silence`` seconds."""
        begin, code = time.monotonic(), "<error>"
        arguments = self._serialize(request)
        try:
            limits = (CONNECT_SECONDS, max(silence, 0.001))
            response = self._api.call_api(*arguments, _request_timeout=limits).response
            code = str(response.status)
            if not 200 <= response.status < 300:
                raise _refusal(request, response)
            return response  # type: ignore[no-any-return]
        except _FAILURES as error:
            raise errors.from_exception(error, request.what) from error
        finally:
            if self._observe:
                self._observe(request.method, urlsplit(self.host).netloc, code, time.monotonic() - begin)

    def _once(self, request: Request, timeout: float) -> bytes:
        deadline = time.monotonic() + timeout
        response = self.send(request, timeout)
        chunks = []
        try:
            for chunk in response.stream(_CHUNK):
                chunks.append(chunk)
                # The socket's limit is for one read: a server that trickles would hold us for ever.
                if time.monotonic() > deadline:
                    raise errors.NoAnswer("Timeout", f"{request.what}: the answer did not end within {timeout:.1f} s")
        except _FAILURES as error:
            raise errors.from_exception(error, request.what) from error
        finally:
            response.close()  # a connection whose answer was read to its end is back in the pool and stays open
        return b"".join(chunks)

    def _serialize(self, request: Request) -> tuple[Any, ...]:
        headers = {"Accept": "application/json, */*"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        query = {name: value for name, value in request.query.items() if value != ""}
        try:
            serialized = self._api.param_serialize(
                request.method,
                request.path,
                query_params=query,
                header_params=headers,
                body=request.body,
                auth_settings=["BearerToken"],
            )
        except (ConfigException, OSError) as error:
            # The token is read again, from its file or a plugin, when it has grown old.
            message = f"{request.what}: our credentials cannot be read: {error}"
            raise errors.Unauthorized(0, "NoCredentials", message) from error
        return tuple(serialized[:4])


def _refusal(request: Request, response: urllib3.BaseHTTPResponse) -> errors.KubeError:
    try:
        return errors.from_answer(response.status, response.read(_CHUNK), response.headers, request.what)
    finally:
        response.close()
