"""What the API server refuses, in the form of a metav1.Status: codes, reasons and messages are the real server's."""

from typing import Any

from controllers.kube.resources import Resource


class ApiError(Exception):
    """A refusal; ``status`` is the metav1.Status that answers the request."""

    def __init__(self, code: int, reason: str, message: str, **details: Any) -> None:
        super().__init__(message)
        self.code = code
        self.status: dict[str, Any] = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code}
        self.status |= {"reason": reason, "message": message, "details": details}


def conflict(resource: str, name: str, why: str) -> ApiError:
    """Return the refusal of a write whose precondition does not hold."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {resource} "{name}": {why}')


def invalid(kind: Resource, name: str, *wrong: tuple[str, str]) -> ApiError:
    """Return the refusal of content: which fields are wrong, and why."""
    causes = [{"reason": "FieldValueInvalid", "field": field, "message": why} for field, why in wrong]
    text, who = ", ".join(f"{field}: {why}" for field, why in wrong), f"{kind.kind}.{kind.group}".rstrip(".")
    return ApiError(422, "Invalid", f'{who} "{name}" is invalid: {text}', causes=causes)
