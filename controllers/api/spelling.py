"""The one spelling of a path that survives argv, JSON and a status, as ``command`` promises it."""

import re
import unicodedata

_ESCAPE = re.compile(rb"%(..?)?", re.DOTALL)


def encode(path: bytes) -> str:
    """Return the text of ``path``: "%XX" for "%", for control characters and for bytes that are not UTF-8."""
    return "".join(map(_spell, path.decode("utf-8", "surrogateescape")))


def decode(text: str) -> bytes:
    """Return the bytes that ``encode`` spelled; raise ValueError where a "%" is not followed by two hex digits."""
    return _ESCAPE.sub(_byte, text.encode("utf-8", "surrogateescape"))


def _spell(char: str) -> str:
    if char != "%" and unicodedata.category(char) not in ("Cc", "Cs"):
        return char
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))


def _byte(match: re.Match[bytes]) -> bytes:
    digits = match.group(1) or b""
    if not re.fullmatch(rb"[0-9A-Fa-f]{2}", digits):
        raise ValueError("a % in a path is written %25")
    return bytes([int(digits, 16)])
