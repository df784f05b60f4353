"""Times as the API server writes them: RFC 3339, UTC, whole seconds. Inside, seconds since the epoch."""

from datetime import UTC, datetime


def rfc3339(seconds: float) -> str:
    """Return ``2026-01-31T12:00:00Z`` for seconds since the epoch; a fraction is cut off."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def epoch(text: str | None) -> float | None:
    """Return seconds since the epoch for an RFC 3339 text, or None where it is empty or not a time."""
    try:
        return datetime.fromisoformat(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None
