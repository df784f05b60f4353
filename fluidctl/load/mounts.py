"""The mounts a dataset wants, compared with those the master has. Pure; what is shown never holds credentials."""

import re
from collections.abc import Iterable, Mapping

from controllers.api.command import Mount
from controllers.api.spelling import encode

_URI = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*):)?(//)?(?:([^/@]*)@)?(.*)", re.DOTALL)
_SAME = {"s3a": "s3", "s3n": "s3", "file": "local", "": "local", "abfss": "abfs", "wasbs": "wasb"}


def driver_of(uri: str) -> str:
    """Return the storage driver of a URI: its scheme, where several schemes are one driver the shortest."""
    match = _URI.fullmatch(uri)
    scheme = (match.group(1) or "").lower() if match else ""
    return _SAME.get(scheme, scheme)


def normal(uri: str) -> str:
    """Return the form in which two URIs of one place are equal: no trailing slash, one scheme, no credentials."""
    match = _URI.fullmatch(uri)
    rest = match.group(4) if match else uri
    return f"{driver_of(uri)}://{re.sub('/+', '/', rest).rstrip('/')}"


def missing(wanted: Iterable[Mount], has: Mapping[bytes, str]) -> str:
    """Return one sentence about the first mount that the master lacks, or ""."""
    points = {(encode(point).rstrip("/") or "/"): normal(uri) for point, uri in has.items()}
    for mount in wanted:
        point = mount.path.rstrip("/") or "/"
        if points.get(point) != normal(mount.uri):
            table = ", ".join(f"{point} on {uri}" for point, uri in sorted(points.items())[:5]) or "nothing"
            return f"The master has no mount of {normal(mount.uri)} at {point}. It has: {table}."
    return ""
