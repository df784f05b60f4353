"""The one spelling of a directory's name that survives argv, JSON and a status (see controllers.api.command)."""

import re
import unicodedata

_ESCAPE = re.compile(rb"%(..?)?", re.DOTALL)


def encode(path: bytes) -> str:
    """Return the text of ``path``: "%XX" for "%", for control characters and for bytes that are not UTF-8."""
    return "".join(map(_spell, path.decode("utf-8", "surrogateescape")))


def decode(text: str) -> bytes:
    """Return the bytes that ``encode`` spelled; raise ValueError where a "%" is not followed by two hex digits."""
    return _ESCAPE.sub(_byte, text.encode("utf-8", "surrogateescape"))


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


def _spell(char: str) -> str:
    if char != "%" and unicodedata.category(char) not in ("Cc", "Cs"):
        return char
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _byte(match: re.Match[bytes]) -> bytes:
    digits = match.group(1) or b""
    if not re.fullmatch(rb"[0-9A-Fa-f]{2}", digits):
        raise ValueError("a % in a path is written %25")
    return bytes([int(digits, 16)])
