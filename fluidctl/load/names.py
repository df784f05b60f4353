"""Paths in Alluxio, as bytes."""

from controllers.api.spelling import decode


def alluxio_path(text: str) -> bytes:
    """Return the bytes of an absolute, normal path without a trailing slash; raise ValueError with the reason."""
    path = decode(text)
    parts = path.rstrip(b"/").split(b"/")
    if not path.startswith(b"/"):
        raise ValueError("it does not start with /")
    if b"\0" in path or any(part in (b"", b".", b"..") for part in parts[1:]):
        raise ValueError("it has an empty, '.' or '..' component, or a NUL")
    return b"/".join(parts) or b"/"


def parent(path: bytes) -> bytes:
    """Return the path of the directory that holds ``path``."""
    return path.rpartition(b"/")[0] or b"/"


def covers(root: bytes, path: bytes) -> bool:
    """Whether ``path`` is ``root`` or lies below it."""
    return root == b"/" or path == root or path.startswith(root + b"/")
