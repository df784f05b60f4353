"""The XML of the two dialects. OSS's listing is that of S3's first version, with an owner and always a next marker."""

import re
from urllib.parse import quote
from xml.sax.saxutils import escape

from tests.objectstore.keys import Page

_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_DATE = "2026-01-01T00:00:00.000Z"
_OWNER = "<Owner><ID>1</ID><DisplayName>owner</DisplayName></Owner>"
_PLAIN = re.compile(rb"[A-Za-z0-9/_.~-]*")
_CODES = {
    ("s3", 403): ("AccessDenied", "Access Denied"),
    ("s3", 404): ("NoSuchKey", "The specified key does not exist."),
    ("s3", 500): ("InternalError", "We encountered an internal error. Please try again."),
    ("s3", 503): ("SlowDown", "Please reduce your request rate."),
    ("oss", 403): ("AccessDenied", "You have no right to access this object because of bucket acl."),
    ("oss", 404): ("NoSuchKey", "The specified key does not exist."),
    ("oss", 500): ("InternalError", "Please contact the server administrator."),
    ("oss", 503): ("ServiceUnavailable", "Please reduce your request rate."),
}


def headers(size: int) -> dict[str, str]:
    """Return the headers of a key of that size."""
    kind = {"Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT", "Content-Type": "binary/octet-stream"}
    return kind | {"ETag": f'"{_etag(size)}"'}


def _etag(size: int) -> str:
    """Return what changes with the content: a driver that compares nothing else must see that a size changed."""
    return f"{size:032x}"


def error(dialect: str, status: int, code: str = "") -> bytes:
    """Return the body of an error; a ``code`` of its own replaces the usual one."""
    usual, message = _CODES[dialect, status]
    where = "<HostId>127.0.0.1</HostId>"
    return f"{_HEAD}<Error><Code>{code or usual}</Code><Message>{message}</Message>{where}</Error>".encode()


def listing(dialect: str, bucket: str, query: dict[str, str], page: Page, token: str) -> bytes:
    """Return one page of a listing, ``token`` being what asks for the next one."""
    url = query.get("encoding-type") == "url"
    plain = _PLAIN.fullmatch(b"".join(name for name, _ in page.keys)) is not None
    second = query.get("list-type") == "2"
    owner = "" if second else _OWNER
    rest = f"<LastModified>{_DATE}</LastModified><StorageClass>STANDARD</StorageClass>{owner}"
    parts = [
        f"{_HEAD}<ListBucketResult><Name>{bucket}</Name><MaxKeys>{query.get('max-keys', 1000)}</MaxKeys>",
        _echo("Prefix", query.get("prefix", ""), url),
        _echo("Delimiter", query.get("delimiter", ""), url) if query.get("delimiter") else "",
        "<EncodingType>url</EncodingType>" if url else "",
        f"<IsTruncated>{'true' if page.last else 'false'}</IsTruncated>",
        _next(dialect, query, page, token, url),
    ]
    names = [name.decode() if plain else _text(name, url) for name, _ in page.keys]
    parts += [
        f"<Contents><Key>{name}</Key><Size>{size}</Size><ETag>&quot;{_etag(size)}&quot;</ETag>{rest}</Contents>"
        for name, (_, size) in zip(names, page.keys, strict=True)
    ]
    parts += [f"<CommonPrefixes><Prefix>{_text(name, url)}</Prefix></CommonPrefixes>" for name in page.prefixes]
    return "".join([*parts, "</ListBucketResult>"]).encode()


def acl() -> bytes:
    """Return the answer to ``?acl``: the owner may do everything."""
    kind = 'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="CanonicalUser"'
    grantee = f"<Grantee {kind}><ID>1</ID><DisplayName>owner</DisplayName></Grantee>"
    grant = f"<Grant>{grantee}<Permission>FULL_CONTROL</Permission></Grant>"
    body = f"{_OWNER}<AccessControlList>{grant}</AccessControlList>"
    return f"{_HEAD}<AccessControlPolicy>{body}</AccessControlPolicy>".encode()


def location() -> bytes:
    """Return the answer to ``?location``: the oldest region."""
    return f"{_HEAD}<LocationConstraint></LocationConstraint>".encode()


def bucket_info(bucket: str) -> bytes:
    """Return OSS's answer to ``?bucketInfo``."""
    what = f"<Name>{bucket}</Name><Location>oss-test</Location><CreationDate>{_DATE}</CreationDate>"
    kind = "<StorageClass>Standard</StorageClass><DataRedundancyType>LRS</DataRedundancyType>"
    more = f"{kind}{_OWNER}<AccessControlList><Grant>private</Grant></AccessControlList>"
    return f"{_HEAD}<BucketInfo><Bucket>{what}{more}</Bucket></BucketInfo>".encode()


def _next(dialect: str, query: dict[str, str], page: Page, token: str, url: bool) -> str:
    if query.get("list-type") == "2":
        more = f"<NextContinuationToken>{token}</NextContinuationToken>" if page.last else ""
        return f"<KeyCount>{len(page)}</KeyCount>{more}"
    marker = _echo("Marker", query.get("marker", ""), url)
    if page.last and (dialect == "oss" or query.get("delimiter")):
        return f"{marker}<NextMarker>{_text(page.last, url)}</NextMarker>"
    return marker


def _echo(name: str, value: str, url: bool) -> str:
    return f"<{name}>{_text(value.encode('utf-8', 'surrogateescape'), url)}</{name}>"


def _text(name: bytes, url: bool) -> str:
    return quote(name, safe="/") if url else escape(name.decode("utf-8", "replace"), {"\n": "&#10;", "\r": "&#13;"})
