"""Every answer, and every failure to answer, becomes one error of the tree with one clear line."""

import json

import pytest
import urllib3.exceptions as http

from controllers.kube import errors

TABLE = [
    (404, {"reason": "NotFound", "message": 'jobs "a" not found'}, errors.NotFound),
    (409, {"reason": "AlreadyExists"}, errors.AlreadyExists),
    (409, {"reason": "Conflict"}, errors.Conflict),
    (409, {}, errors.Conflict),
    (410, {"reason": "Expired"}, errors.Expired),
    (422, {"reason": "Invalid"}, errors.Invalid),
    (400, {"reason": "BadRequest"}, errors.Invalid),
    (415, {}, errors.Invalid),
    (403, {"reason": "Forbidden"}, errors.Forbidden),
    (401, {"reason": "Unauthorized"}, errors.Unauthorized),
    (429, {"reason": "TooManyRequests"}, errors.TooManyRequests),
    (500, {"reason": "InternalError"}, errors.ServerError),
    (503, {}, errors.ServerError),
    (504, {"reason": "Timeout"}, errors.ServerError),
    (405, {"reason": "MethodNotAllowed"}, errors.KubeError),
    (301, {}, errors.KubeError),
]


@pytest.mark.parametrize(("status", "body", "kind"), TABLE)
def test_the_status_and_its_reason_decide_the_class(status: int, body: dict[str, str], kind: type) -> None:
    error = errors.from_answer(status, json.dumps(body).encode(), {}, "get jobs a/b")
    assert type(error) is kind
    assert error.status == status
    assert error.reason == body.get("reason", f"HTTP{status}")
    assert str(error) == error.message
    assert error.message.startswith("get jobs a/b: " + body.get("message", ""))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"404 page not found\n",
        b"<html>\n<h1>Bad\n gateway</h1>",
        b"\xff\xfe",
        b'"text"',
        b"[1]",
        b"7",
        b"x" * 9000,
    ],
)
@pytest.mark.parametrize("status", [404, 502])
def test_whatever_the_body_is_the_message_is_one_short_line(status: int, body: bytes) -> None:
    error = errors.from_answer(status, body, {}, "list datasets")
    assert error.status == status
    assert "\n" not in error.message
    assert len(error.message) <= 500


@pytest.mark.parametrize(
    ("headers", "details", "seconds"),
    [
        ({"Retry-After": "7"}, {}, 7.0),
        ({}, {"retryAfterSeconds": 3}, 3.0),
        ({"Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"}, {}, 0.0),
        ({"Retry-After": "-4"}, {}, 0.0),
        ({"Retry-After": "86400"}, {}, 300.0),
        ({"Retry-After": "inf"}, {}, 300.0),
        ({"Retry-After": "nan"}, {}, 0.0),
        ({}, {}, 0.0),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_read_from_the_header_or_the_status(
    status: int, headers: dict[str, str], details: dict[str, int], seconds: float
) -> None:
    error = errors.from_answer(status, json.dumps({"details": details}).encode(), headers, "list pods")
    assert isinstance(error, (errors.TooManyRequests, errors.ServerError))
    assert error.retry_after == seconds


def test_a_namespace_that_is_going_away_can_be_told_from_other_refusals() -> None:
    causes = {"details": {"causes": [{"reason": "NamespaceTerminating", "message": "is being terminated"}]}}
    going = errors.from_answer(403, json.dumps(causes).encode(), {}, "create jobs a/b")
    other = errors.from_answer(403, b"{}", {}, "create jobs a/b")
    assert isinstance(going, errors.Forbidden)
    assert going.namespace_terminating
    assert isinstance(other, errors.Forbidden)
    assert not other.namespace_terminating


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        ({"code": 410, "reason": "Expired"}, errors.Expired),
        ({"reason": "Gone"}, errors.Expired),
        ({"code": 429}, errors.TooManyRequests),
        ({"code": 500}, errors.ServerError),
        ({}, errors.ServerError),
    ],
)
def test_an_error_event_of_a_watch_is_the_same_as_an_answer(status: dict[str, object], kind: type) -> None:
    assert type(errors.from_status(status, "watch jobs")) is kind


POOL = None
BROKEN = [
    (http.ReadTimeoutError(POOL, "/", "read timed out"), "Timeout", True),
    (http.ConnectTimeoutError("timed out"), "Unreachable", False),
    (http.NewConnectionError(POOL, "<x at 0x7f>: Connection refused"), "Unreachable", False),
    (http.MaxRetryError(POOL, "/", http.ConnectTimeoutError("t")), "Unreachable", False),
    (http.SSLError("CERTIFICATE_VERIFY_FAILED"), "TLS", False),
    (http.ProtocolError("Connection aborted.", ConnectionResetError(104)), "ConnectionLost", True),
    (ConnectionResetError(104, "reset by peer"), "ConnectionLost", True),
]


@pytest.mark.parametrize(("raised", "reason", "maybe"), BROKEN)
def test_a_broken_transport_says_whether_a_write_may_have_been_applied(
    raised: Exception, reason: str, maybe: bool
) -> None:
    error = errors.from_exception(raised, "update datasets a/b")
    assert (error.status, error.reason, error.maybe_applied) == (0, reason, maybe)
    assert error.message.startswith("update datasets a/b: ")
    assert "0x" not in error.message
    assert "\n" not in error.message
