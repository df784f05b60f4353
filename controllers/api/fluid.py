"""The fields of Fluid 1.0 that we read without serving them, so that its objects apply here as they are.

They are in the CRDs, because kubectl refuses a field that no schema knows. What is set of them in a spec is named in
the condition `Accepted` (reason `UnservedFields`); nothing else ever looks at them.
"""

from typing import Annotated, Any

from pydantic import Field

from controllers.api.core import FLAG, NODE_SELECTOR, NUMBER, TEXT, TEXTS, Shape, Toleration, kept, texts
from controllers.api.model import UNSERVED, Model

OWNER: Shape = texts("user group", uid=NUMBER, gid=NUMBER)
_RUNTIME = texts("name namespace category type", masterReplicas=NUMBER)
_ENCRYPT_OPTION = texts("name", valueFrom={"secretKeyRef": texts("name key")})
MOUNT = texts("mountPoint name path", options=TEXTS, encryptOptions=[_ENCRYPT_OPTION], readOnly=FLAG, shared=FLAG)

Owner = Annotated[dict[str, Any], kept(OWNER, "User", "Fluid")]
EncryptOption = Annotated[dict[str, Any], kept(_ENCRYPT_OPTION, "EncryptOption", "Fluid")]
Runtime = Annotated[dict[str, Any], kept(_RUNTIME, "Runtime", "Fluid")]
Nodes = Annotated[dict[str, Any], kept({"required": NODE_SELECTOR}, "CacheableNodeAffinity", "Fluid")]

#: What Fluid writes into a status and we do not; it is gone with our first write.
DATASET_STATUS: Shape = {
    "mounts": [MOUNT],
    "runtimes": [_RUNTIME],
    "hcfs": texts("endpoint underlayerFileSystemVersion"),
    "operationRef": TEXTS,
    "datasetRef": [TEXT],
    **texts("dataLoadRef dataBackupRef"),
}


class UnservedMountFields(Model):
    """Fields of one mount."""

    shared: Annotated[bool, UNSERVED] = Field(default=False, description="Share the mount between users.")


class UnservedRestoreFields(Model):
    """Fields of dataRestoreLocation."""

    node_name: Annotated[str, UNSERVED] = Field(default="", description="The node that holds a local backup.")


class UnservedDatasetFields(Model):
    """Fields of the spec of a Dataset."""

    owner: Annotated[Owner, UNSERVED] = Field(default={}, description="Who owns the files of the dataset.")
    node_affinity: Annotated[Nodes, UNSERVED] = Field(default={}, description="Nodes that hold the cache.")
    tolerations: Annotated[tuple[Toleration, ...], UNSERVED] = Field(
        default=(), description="Tolerations of the pods of the cache."
    )
    runtimes: Annotated[tuple[Runtime, ...], UNSERVED] = Field(default=(), description="Runtimes of the dataset.")
    placement: Annotated[str, UNSERVED] = Field(
        default="",
        description="Whether datasets share a node.",
        json_schema_extra={"enum": ["Exclusive", "", "Shared"]},
    )
    shared_options: Annotated[dict[str, str], UNSERVED] = Field(default={}, description="Options of every mount.")
    shared_encrypt_options: Annotated[tuple[EncryptOption, ...], UNSERVED] = Field(
        default=(), description="Options of every mount whose values are in Secrets."
    )
