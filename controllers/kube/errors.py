"""What can go wrong between us and the API server, as one tree.

    KubeError                 status, reason, message: one clear line for a person
    |- NotFound               404
    |- AlreadyExists          409, reason AlreadyExists
    |- Conflict               409, any other: read again, decide again
    |- Expired                410: the resourceVersion or continue token is too old; list again
    |- Invalid                400, 413, 415, 422: the same request would fail again
    |- Forbidden              403
    |- Unauthorized           401, or our own credentials cannot be read (status 0)
    |- TooManyRequests        429, retry_after
    |- ServerError            5xx, retry_after; also an answer that makes no sense (status 0)
    '- NoAnswer               timeout, refused, reset, TLS; maybe_applied says whether a write may have been applied

Everything that a call of this package raises is in this tree; nothing of urllib3 or ``kubernetes`` leaks out.
"""

import json
from collections.abc import Mapping
from typing import Any

import urllib3.exceptions as http

_MAX_MESSAGE = 500
_LONGEST_WAIT = 300.0


class KubeError(Exception):
    """A request to the API server failed. ``status`` is the HTTP status, 0 where there was none."""

    def __init__(self, status: int, reason: str, message: str, *, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.message = message
        self.details = dict(details or {})


class NotFound(KubeError):
    """The object, or the whole resource, does not exist."""


class AlreadyExists(KubeError):
    """An object of this name exists; whose it is must be looked up."""


class Conflict(KubeError):
    """The precondition (resourceVersion, uid) does not hold any more, or another field manager owns the field."""


class Expired(KubeError):
    """The server has forgotten this resourceVersion or continue token."""


class Invalid(KubeError):
    """The server refuses the content; trying again changes nothing."""


class Forbidden(KubeError):
    """RBAC, quota or admission says no, or the namespace is going away."""

    @property
    def namespace_terminating(self) -> bool:
        """Whether the reason is only that the namespace is being deleted."""
        return any(cause.get("reason") == "NamespaceTerminating" for cause in self.details.get("causes") or ())


class Unauthorized(KubeError):
    """The server does not know who we are, or our credentials cannot be read."""


class _RetryLater(KubeError):
    """``retry_after``: seconds the server asks us to wait, 0 where it does not say."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        details: Mapping[str, Any] | None = None,
        retry_after: float = 0.0,
    ) -> None:
        super().__init__(status, reason, message, details=details)
        self.retry_after = retry_after


class TooManyRequests(_RetryLater):
    """Priority and fairness turned the request away; it was not applied."""


class ServerError(_RetryLater):
    """The server, or a proxy before it, failed. A write may have been applied."""


class NoAnswer(KubeError):
    """No answer came, or half of one."""

    def __init__(self, reason: str, message: str, *, maybe_applied: bool = True) -> None:
        super().__init__(0, reason, message)
        self.maybe_applied = maybe_applied


_BY_STATUS: dict[int, type[KubeError]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Expired,
    413: Invalid,
    415: Invalid,
    422: Invalid,
}


def from_answer(status: int, body: bytes, headers: Mapping[str, str], request: str) -> KubeError:
    """Return the error for an answer that is not 2xx. ``request`` ("GET datasets a/b") begins the message.

    The body may be a metav1.Status, text of a proxy, HTML or nothing.
    """
    try:
        found = json.loads(body)
    except ValueError:
        found = body[: 2 * _MAX_MESSAGE].decode(errors="replace")
    details = found if isinstance(found, dict) else {"message": found if isinstance(found, str) else ""}
    return _make(status, details, _seconds(headers.get("Retry-After")), request)


def from_status(found: Mapping[str, Any], request: str) -> KubeError:
    """Return the error for a metav1.Status that came as an ERROR event of a watch."""
    code = found.get("code")
    status = code if isinstance(code, int) else 0
    if not status and found.get("reason") in ("Expired", "Gone"):
        status = 410
    return _make(status or 500, found, 0.0, request)


def from_exception(error: Exception, request: str) -> NoAnswer:
    """Return the error for a failure of the transport: an exception of urllib3, of the socket, or of TLS."""
    if isinstance(error, http.MaxRetryError) and error.reason is not None:
        error = error.reason
    if isinstance(error, http.ReadTimeoutError):
        return NoAnswer("Timeout", f"{request}: the API server did not answer in time")
    if isinstance(error, (http.NewConnectionError, http.ConnectTimeoutError, http.ProxyError, http.LocationParseError)):
        return NoAnswer("Unreachable", _line(f"{request}: cannot connect: {_cause(error)}"), maybe_applied=False)
    if isinstance(error, http.SSLError) or type(error).__name__ == "ApiException":
        return NoAnswer("TLS", _line(f"{request}: TLS failed: {_cause(error)}"), maybe_applied=False)
    return NoAnswer("ConnectionLost", _line(f"{request}: the connection broke: {_cause(error)}"))


def _make(status: int, found: Mapping[str, Any], retry_after: float, request: str) -> KubeError:
    raw = found.get("details")
    details: Mapping[str, Any] = raw if isinstance(raw, dict) else {}
    reason = str(found.get("reason") or f"HTTP{status}")
    message = _line(f"{request}: {found.get('message') or 'no explanation'} (HTTP {status})")
    later = retry_after or _seconds(details.get("retryAfterSeconds"))
    if status == 429:
        return TooManyRequests(status, reason, message, details=details, retry_after=later)
    if status >= 500:
        return ServerError(status, reason, message, details=details, retry_after=later)
    if status == 409 and reason == "AlreadyExists":
        return AlreadyExists(status, reason, message, details=details)
    return _BY_STATUS.get(status, KubeError)(status, reason, message, details=details)


def _cause(error: Exception) -> str:
    # urllib3 puts an object's address in front of the reason, the kubernetes package a status; neither helps anybody.
    return str(error).rpartition(">: ")[2].removeprefix("(0)\nReason: SSLError\n") or type(error).__name__


def _line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MAX_MESSAGE else line[: _MAX_MESSAGE - 3] + "..."


def _seconds(value: object) -> float:
    # RFC 9110 also allows a date; Kubernetes always sends seconds, and a date would need a clock that agrees. What a
    # proxy asks for in its own name may be a day, or no number at all: nobody is left asleep for that.
    try:
        return min(max(0.0, float(str(value))), _LONGEST_WAIT)
    except ValueError:
        return 0.0
