"""What others see of an AlluxioRuntime: whether its master serves, and why not."""

from dataclasses import dataclass


@dataclass(frozen=True)
class RuntimeView:
    """The AlluxioRuntime of one name, with its pods. ``exists`` False: there is none, or it is being deleted."""

    exists: bool = False
    uid: str = ""
    engine_version: str = ""  # of its image, such as "2.9.6"; empty where the tag does not say
    master_ready: bool = False
    master_gone: bool = False  # no pod of a master exists, and none will: its StatefulSet is at 0, or is not there
    started_from: str = ""  # "sha256:..." of the backup's file from which the master's StatefulSet starts; "": none
    reason: str = ""  # why a master or worker is not ready; CamelCase, empty where all are
    message: str = ""
