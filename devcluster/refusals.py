"""What the API server refuses, in the form of a metav1.Status: codes, reasons and messages are the real server's."""

from collections.abc import Sequence
from typing import Any

from devcluster.kinds import Kind

Cause = dict[str, str]


class ApiError(Exception):
    """A refusal; ``status`` is the metav1.Status that answers the request."""

    def __init__(self, code: int, reason: str, message: str, token: str = "", **details: Any) -> None:
        super().__init__(message)
        self.code, meta = code, {"continue": token} if token else {}
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": meta,
            "status": "Failure",
            "code": code,
        }
        self.status |= {"reason": reason, "message": message, "details": details}


def error(code: int, reason: str, kind: Kind, name: str, text: str, causes: Sequence[Cause] = ()) -> ApiError:
    """Return a refusal that says something about one object."""
    message = f'{kind} "{name}" {text}'
    return ApiError(code, reason, message, name=name, group=kind.group, kind=kind.plural, causes=list(causes))


def conflict(what: str, name: str, text: str) -> ApiError:
    """Return the refusal of a write whose precondition does not hold."""
    return ApiError(409, "Conflict", f'Operation cannot be fulfilled on {what} "{name}": {text}', name=name)


def invalid(kind: Kind, name: str, *causes: Cause) -> ApiError:
    """Return the refusal of content, with the fields that are wrong."""
    texts, who = [f"{cause['field']}: {cause['message']}" for cause in causes], f"{kind.kind}.{kind.group}".rstrip(".")
    text = texts[0] if len(texts) == 1 else f"[{', '.join(texts)}]"
    return ApiError(422, "Invalid", f'{who} "{name}" is invalid: {text}', name=name, kind=kind.kind, causes=causes)


def cause(field: str, message: str, reason: str = "FieldValueInvalid") -> Cause:
    """Return one field that is wrong."""
    return {"reason": reason, "field": field, "message": message}


def terminating(kind: Kind, name: str, namespace: str) -> ApiError:
    """Return the refusal of a creation in a namespace that is going away."""
    text = f"is forbidden: unable to create new content in namespace {namespace} because it is being terminated"
    why = cause("metadata.namespace", f"namespace {namespace} is being terminated", "NamespaceTerminating")
    return error(403, "Forbidden", kind, name, text, [why])
