"""Long answers in small parts: a master puts 10,000 entries into one message, of 3 MB and more with long names."""

from collections.abc import Iterator

PART = 500  # entries


def parts(raw: bytes, entries: int = PART) -> Iterator[bytes]:
    """Yield a serialized message in pieces that are messages themselves and give, merged, the whole.

    Each holds at most ``entries`` fields as long as these are strings, bytes or messages; from the first field of
    another kind on, the rest is one piece.
    """
    start = at = count = 0
    while at < len(raw) and raw[at] & 0x87 == 2:  # one byte of tag; wire type 2: a length follows
        at += 1
        length = shift = 0
        while raw[at] & 0x80:
            length |= (raw[at] & 0x7F) << shift
            shift += 7
            at += 1
        at += 1 + (length | raw[at] << shift)
        count += 1
        if count == entries:
            yield raw[start:at]
            start, count = at, 0
    if start < len(raw):
        yield raw[start:]
