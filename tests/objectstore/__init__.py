"""An object store that fails on request: S3 and OSS over HTTP on the loopback address. No signature is checked."""

from tests.objectstore.faults import Fault
from tests.objectstore.server import Counts, Driver, ObjectStore

__all__ = ["Counts", "Driver", "Fault", "ObjectStore"]
