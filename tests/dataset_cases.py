"""Specs of Datasets that must be refused: by our validation in words and, where marked, by the API server at once."""

from dataclasses import dataclass
from typing import Any

ALLUXIO = {"masters": ["alluxio-master-0.alluxio:19998"]}
MOUNT = {"mountPoint": "s3://bucket/images", "name": "images"}
GOOD: dict[str, Any] = {"mounts": [MOUNT], "alluxio": ALLUXIO}


@dataclass(frozen=True)
class Refused:
    """One spec, a part of the sentence that its author reads, and a part of what the API server says (if it does)."""

    name: str
    spec: dict[str, Any]
    sentence: str
    server: str = ""


def mounts(*given: dict[str, Any]) -> dict[str, Any]:
    """Return a spec that is good but for these mounts."""
    return {"mounts": list(given), "alluxio": ALLUXIO}


def alluxio(**given: Any) -> dict[str, Any]:
    """Return a spec that is good but for these fields of spec.alluxio."""
    return {"mounts": [MOUNT], "alluxio": {**ALLUXIO, **given}}


def load(**given: Any) -> dict[str, Any]:
    """Return a spec that is good but for these fields of spec.load."""
    return {**GOOD, "load": given}


def secret(name: str, key: str) -> dict[str, Any]:
    """Return an option of a mount whose value is in a Secret."""
    return {"name": "s3a.accessKeyId", "valueFrom": {"secretKeyRef": {"name": name, "key": key}}}


def managed(mount: dict[str, Any] | None = None, **restore: Any) -> dict[str, Any]:
    """Return a spec for an Alluxio of its own, good but for what is added to its mount, or its restore."""
    return {"mounts": [{**MOUNT, **(mount or {})}]} | ({"dataRestoreLocation": restore} if restore else {})


REFUSED = (
    Refused("nothing to load", {}, "spec.mounts is empty", "there is nothing to load"),
    Refused("mountPoint without scheme", mounts({"mountPoint": "bucket/images"}), "not the URI", "must be a URI"),
    Refused("mountPoint too short", mounts({"mountPoint": "s3:/"}), "at least 5 characters", "at least 5 chars"),
    Refused("mountPoint missing", mounts({"name": "x"}), "spec.mounts[0].mountPoint: field required", "Required value"),
    Refused("mountPoint with a line feed", mounts({"mountPoint": "s3://a\nb"}), "not the URI"),
    Refused("mountPoint with a password", mounts({"mountPoint": "ftp://me:secret@host/d"}), "into encryptOptions"),
    Refused("mountPoint of this machine", mounts({"mountPoint": "local:///etc", "path": "/"}), "--allow-local-ufs"),
    Refused("mountPoint as file URI", mounts({"mountPoint": "FILE:///etc", "path": "/"}), "--allow-local-ufs"),
    Refused("mountPoint as bare path", mounts({"mountPoint": "/etc/ssl", "path": "/"}), "--allow-local-ufs"),
    Refused("mountPoint of a dataset", mounts({"mountPoint": "dataset://ns/other"}), "mount the storage itself"),
    Refused("two mounts on one path", mounts(MOUNT, MOUNT), "as spec.mounts[0] is", "two mounts appear at one path"),
    Refused(
        "default path equal to a path",
        mounts(MOUNT, {"mountPoint": "s3://other", "path": "/images"}),
        "as spec.mounts[0] is",
        "two mounts appear at one path",
    ),
    Refused("paths equal but for a slash", mounts(MOUNT, {**MOUNT, "path": "/images/"}), "as spec.mounts[0] is"),
    Refused("relative path", mounts({**MOUNT, "path": "images"}), "must start with a slash"),
    Refused("path that climbs", mounts({**MOUNT, "path": "/a/../b"}), "no part . or .."),
    Refused("name with a slash", mounts({"mountPoint": "s3://b/c", "name": "a/b"}), "holds a slash"),
    Refused("no masters", alluxio(masters=[]), "at least 1 item", "at least 1 item"),
    Refused("master without port", alluxio(masters=["alluxio"]), "is not host:port", "must be host:port"),
    Refused("master as URI", alluxio(masters=["alluxio://m:19998"]), "is not host:port", "must be host:port"),
    Refused("master with port 0", alluxio(masters=["m:0"]), "port from 1 to 65535"),
    Refused("master with a huge port", alluxio(masters=["m:99999"]), "port from 1 to 65535"),
    Refused("master as half an address", alluxio(masters=["10.1:19998"]), "is not host:port"),
    Refused(
        "datasetPath without slash", alluxio(datasetPath="images"), "must start with a slash", "start with a slash"
    ),
    Refused("web port out of range", alluxio(webPort=0), "greater than or equal to 1", "greater than or equal to 1"),
    Refused("unknown loader", load(loader="Magic"), "'Grpc' or 'AlluxioCLI'", "supported values"),
    Refused("absurd parallelism", load(parallelism=10**9), "less than or equal to 256", "less than or equal to 256"),
    Refused("text for a number", load(maxAttempts="many"), "valid integer", "must be of type integer"),
    Refused("fraction above one", load(maxRemovedFraction="1.5"), "spec.load.maxRemovedFraction", "should match"),
    Refused(
        "schedule of four fields", load(refreshSchedule="0 3 * *"), "must have five cron fields", "five cron fields"
    ),
    Refused("schedule with a word of its own", load(refreshSchedule="@daily"), "must have five", "five cron fields"),
    Refused("schedule that is no time", load(refreshSchedule="0 25 * * *"), "is no cron schedule: bad hour"),
    Refused("schedule that never comes", load(refreshSchedule="0 0 30 2 *"), "bad day-of-month"),
    Refused("unknown time zone", load(refreshSchedule="0 3 * * *", timeZone="Mars/Base"), "use an IANA name"),
    Refused("capacity of no unit", {**GOOD, "volume": {"capacity": "much"}}, "spec.volume.capacity", "should match"),
    Refused(
        "restore from two places",
        managed(path="pvc://a/b", backupName="b"),
        "exactly one of path and backupName",
        "exactly one of path and backupName",
    ),
    Refused("restore from nowhere", managed(onFailure="Fail"), "exactly one of path", "exactly one of path"),
    Refused(
        "restore into an Alluxio that exists",
        {**GOOD, "dataRestoreLocation": {"backupName": "b"}},
        "remove spec.alluxio and create an AlluxioRuntime",
    ),
    Refused("restore from a node", managed(path="local:///backup"), "only a PersistentVolumeClaim holds backups"),
    Refused("restore from outside of the claim", managed(path="pvc://a/b/../../c"), "no part . or .."),
    Refused("restore from a whole claim", managed(path="pvc://a/"), "add the directory of the backup"),
    Refused("pin of another kind", managed(path="pvc://a/b", checksum="md5:1"), "should match", "should match"),
    Refused("Secret without key", managed({"encryptOptions": [secret("aws", "")]}), "with name and key of a Secret"),
    Refused("Secret that climbs", managed({"encryptOptions": [secret("../etc", "k")]}), "with name and key"),
    Refused("key that climbs", managed({"encryptOptions": [secret("aws", "..")]}), "with name and key"),
)
