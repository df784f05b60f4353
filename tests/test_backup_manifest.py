"""The manifest of a backup: what is written is read, and nothing else is."""

import json
import random
from contextlib import suppress
from typing import Any

import pytest

from fluidctl.backup.errors import BackupError
from fluidctl.backup.manifest import MAX_BYTES, Content, Manifest, parse, version
from tests.backup_files import BACKUP, DATASET, NOW

CONTENT = Content(size=2822, sha256="0f" * 32, entries=201_004, files=100_000, directories=1_000, bytes=2**40)
MANIFEST = Manifest("2.9.6", DATASET | {"path": "/dünn \x01"}, BACKUP, NOW, CONTENT)


def test_what_is_written_is_read() -> None:
    """Also a path that is not ASCII; and its facts are those of a result."""
    assert parse(MANIFEST.to_bytes()) == MANIFEST
    facts = MANIFEST.facts("a/b")
    assert (facts.entries, facts.files, facts.checksum) == (201_004, 100_000, f"sha256:{'0f' * 32}")
    assert facts.format_version == json.loads(MANIFEST.to_bytes())["formatVersion"] == 1


def changed(**fields: Any) -> bytes:
    return json.dumps(json.loads(MANIFEST.to_bytes()) | fields, indent=2).encode()


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "BackupForeign"),
        (b"\xff\xfe", "BackupForeign"),
        (b"[]", "BackupForeign"),
        (b"[" * 60_000, "BackupForeign"),
        (b'{"engine": "alluxio", "engine": "alluxio"}', "BackupForeign"),
        (changed(engine="juicefs"), "BackupForeign"),
        (changed(engine=None, formatVersion=2), "BackupForeign"),
        (changed(formatVersion=2), "UnknownFormat"),
        (changed(formatVersion="1"), "UnknownFormat"),
        (changed(formatVersion=True), "UnknownFormat"),
        (changed(formatVersion=1.0), "UnknownFormat"),
        (changed(formatVersion=[1]), "UnknownFormat"),
        (b'{"engine": "alluxio"}', "UnknownFormat"),
        (changed(more=1), "BackupForeign"),
        (changed(entryCount=-1), "BackupForeign"),
        (changed(entryCount=2**63), "BackupForeign"),
        (changed(entryCount=1e300), "BackupForeign"),
        (changed(entryCount=float("nan")), "BackupForeign"),
        (changed(bytes=True), "BackupForeign"),
        (changed(files="1"), "BackupForeign"),
        (changed(engineVersion="new"), "BackupForeign"),
        (changed(engineVersion="2.9" + "x" * 200), "BackupForeign"),
        (changed(createdAt="yesterday"), "BackupForeign"),
        (changed(dataset=DATASET | {"path": "relative"}), "BackupForeign"),
        (changed(dataset=DATASET | {"mountsHash": "f" * 65}), "BackupForeign"),
        (changed(dataset=DATASET | {"mountsHash": "\ud800"}), "BackupForeign"),
        (changed(backup={"name": "a"}), "BackupForeign"),
        (changed(file={"name": "../metadata.gz", "size": 1, "sha256": "0f" * 32}), "BackupForeign"),
        (changed(file={"name": "metadata.gz", "size": 1, "sha256": "0F" * 32}), "BackupForeign"),
        (MANIFEST.to_bytes() + b"\n", "BackupForeign"),
        (MANIFEST.to_bytes()[:-1], "BackupForeign"),
        (changed(entryCount=int("9" * 4000)), "BackupForeign"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_anything_else_is_refused_in_words(data: bytes, reason: str) -> None:
    """With the reason that a person finds in the documentation."""
    with pytest.raises(BackupError) as caught:
        parse(data)
    assert (caught.value.reason, caught.value.code.name) == (reason, "BACKUP_REFUSED")
    assert len(caught.value.message) < 600


def test_a_flipped_bit_is_refused_or_changes_one_text_or_number() -> None:
    """No flip makes another manifest of the same meaning: there is one spelling of each."""
    whole, rng = MANIFEST.to_bytes(), random.Random(1)
    for _ in range(500):
        data = bytearray(whole)
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        with suppress(BackupError):
            assert parse(bytes(data)) != MANIFEST


def test_versions_are_compared_as_numbers() -> None:
    """As texts, 2.10 would be older than 2.9."""
    assert version("2.10.0") > version("2.9.6") == version("2.9.0-SNAPSHOT") == (2, 9)
    for odd in ("", "2", "latest", "2.x", "v2.9", "2.9 6"):
        with pytest.raises(ValueError, match="is no version"):
            version(odd)


def test_a_manifest_with_the_longest_texts_fits_where_it_is_read() -> None:
    """What take-backup writes, verify-backup reads: names of 253 characters, a path of 1,024 that is not ASCII."""
    names = dict.fromkeys(("namespace", "name", "uid"), "n" * 253)
    dataset = names | {"mountsHash": "f" * 64, "path": "/" + "ü" * 4095}
    longest = Manifest("2.9.6", dataset, names, NOW, CONTENT)
    assert parse(longest.to_bytes()) == longest
    assert len(longest.to_bytes()) < MAX_BYTES
