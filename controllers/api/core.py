"""Parts of foreign APIs, Kubernetes' own above all, that we keep as written: checked where they are used, if at all.

Their shapes are spelled out, because a field of free form may nest without end: an object of 1,500 levels is accepted
by the API server and ends `json.loads` with RecursionError, so that one tenant's Dataset would blind the controller.
"""

from typing import Annotated, Any

from pydantic import WithJsonSchema

Shape = str | list[Any] | dict[str, Any]

TEXT, NUMBER, FLAG, QUANTITY, TEXTS = "text", "number", "flag", "quantity", "texts"
_INT_OR_STRING = {"x-kubernetes-int-or-string": True}
_SIMPLE: dict[str, dict[str, Any]] = {
    TEXT: {"type": "string"},
    NUMBER: {"type": "integer", "format": "int64"},
    FLAG: {"type": "boolean"},
    QUANTITY: _INT_OR_STRING,
    TEXTS: {"type": "object", "additionalProperties": {"type": "string"}},
    "time": {"type": "string", "format": "date-time"},
    "numbers": {"type": "object", "additionalProperties": {"type": "integer", "format": "int64"}},
    "quantities": {"type": "object", "additionalProperties": _INT_OR_STRING},
}


def schema(shape: Shape, what: str, api: str = "core/v1") -> dict[str, Any]:
    """Return the structural schema of a shape; ``what`` names its type in the API that defines it."""
    if isinstance(shape, str):
        found = _SIMPLE[shape]
    elif isinstance(shape, list):
        found = {"type": "array", "items": schema(shape[0], what, api)}
    else:
        found = {
            "type": "object",
            "properties": {name: schema(part, f"{what}.{name}", api) for name, part in shape.items()},
        }
    return {"description": f"{what} of {api}.", **found}


def kept(shape: Shape, what: str, api: str = "core/v1") -> WithJsonSchema:
    """Return what makes ``dict[str, Any]`` a field of that shape."""
    return WithJsonSchema(schema(shape, what, api))


def texts(names: str, **others: Shape) -> dict[str, Shape]:
    """Return the shape of an object of these texts, and of other fields."""
    return {**dict.fromkeys(names.split(), TEXT), **others}


REFERENCE: Shape = {"name": TEXT}
_REQUIREMENT = {"key": TEXT, "operator": TEXT, "values": [TEXT]}
_TERM = {"matchExpressions": [_REQUIREMENT], "matchFields": [_REQUIREMENT]}
NODE_SELECTOR: Shape = {"nodeSelectorTerms": [_TERM]}
_SELECTOR = {"matchLabels": TEXTS, "matchExpressions": [_REQUIREMENT]}
_REQUIRED, _PREFERRED = (f"{kind}DuringSchedulingIgnoredDuringExecution" for kind in ("required", "preferred"))
NODE_AFFINITY: Shape = {_REQUIRED: NODE_SELECTOR, _PREFERRED: [{"weight": NUMBER, "preference": _TERM}]}
_POD_TERM = {
    "labelSelector": _SELECTOR,
    "namespaces": [TEXT],
    "namespaceSelector": _SELECTOR,
    "topologyKey": TEXT,
    "matchLabelKeys": [TEXT],
    "mismatchLabelKeys": [TEXT],
}
_POD_AFFINITY = {_REQUIRED: [_POD_TERM], _PREFERRED: [{"weight": NUMBER, "podAffinityTerm": _POD_TERM}]}
_AFFINITY = {"nodeAffinity": NODE_AFFINITY, "podAffinity": _POD_AFFINITY, "podAntiAffinity": _POD_AFFINITY}
RESOURCES: Shape = {"limits": "quantities", "requests": "quantities", "claims": [{"name": TEXT, "request": TEXT}]}


_ITEMS = [texts("key path", mode=NUMBER)]
_OBJECT = {"apiGroup": TEXT, "kind": TEXT, "name": TEXT, "namespace": TEXT}
_DOWNWARD = [
    texts(
        "path",
        mode=NUMBER,
        fieldRef=texts("apiVersion fieldPath"),
        resourceFieldRef=texts("containerName resource", divisor=QUANTITY),
    )
]
_CLAIM = {
    "metadata": {"labels": TEXTS, "annotations": TEXTS},
    "spec": texts(
        "storageClassName volumeMode volumeName volumeAttributesClassName",
        accessModes=[TEXT],
        resources=RESOURCES,
        selector=_SELECTOR,
        dataSource=_OBJECT,
        dataSourceRef=_OBJECT,
    ),
}
_CONFIG = texts("name", items=_ITEMS, optional=FLAG)
VOLUME_SOURCE: dict[str, Shape] = {
    "awsElasticBlockStore": texts("volumeID fsType", partition=NUMBER, readOnly=FLAG),
    "azureDisk": texts("cachingMode diskName diskURI fsType kind", readOnly=FLAG),
    "azureFile": texts("secretName shareName", readOnly=FLAG),
    "cephfs": texts("path secretFile user", monitors=[TEXT], readOnly=FLAG, secretRef=REFERENCE),
    "cinder": texts("fsType volumeID", readOnly=FLAG, secretRef=REFERENCE),
    "configMap": {**_CONFIG, "defaultMode": NUMBER},
    "csi": texts("driver fsType", nodePublishSecretRef=REFERENCE, readOnly=FLAG, volumeAttributes=TEXTS),
    "downwardAPI": {"defaultMode": NUMBER, "items": _DOWNWARD},
    "emptyDir": {"medium": TEXT, "sizeLimit": QUANTITY},
    "ephemeral": {"volumeClaimTemplate": _CLAIM},
    "fc": texts("fsType", lun=NUMBER, readOnly=FLAG, targetWWNs=[TEXT], wwids=[TEXT]),
    "flexVolume": texts("driver fsType", options=TEXTS, readOnly=FLAG, secretRef=REFERENCE),
    "flocker": texts("datasetName datasetUUID"),
    "gcePersistentDisk": texts("fsType pdName", partition=NUMBER, readOnly=FLAG),
    "gitRepo": texts("directory repository revision"),
    "glusterfs": texts("endpoints path", readOnly=FLAG),
    "hostPath": texts("path type"),
    "image": texts("pullPolicy reference"),
    "iscsi": texts(
        "fsType initiatorName iqn iscsiInterface targetPortal",
        chapAuthDiscovery=FLAG,
        chapAuthSession=FLAG,
        lun=NUMBER,
        portals=[TEXT],
        readOnly=FLAG,
        secretRef=REFERENCE,
    ),
    "nfs": texts("path server", readOnly=FLAG),
    "persistentVolumeClaim": texts("claimName", readOnly=FLAG),
    "photonPersistentDisk": texts("fsType pdID"),
    "portworxVolume": texts("fsType volumeID", readOnly=FLAG),
    "projected": {
        "defaultMode": NUMBER,
        "sources": [
            {
                "configMap": _CONFIG,
                "secret": _CONFIG,
                "downwardAPI": {"items": _DOWNWARD},
                "serviceAccountToken": texts("audience path", expirationSeconds=NUMBER),
                "clusterTrustBundle": texts("name path signerName", labelSelector=_SELECTOR, optional=FLAG),
            }
        ],
    },
    "quobyte": texts("group registry tenant user volume", readOnly=FLAG),
    "rbd": texts("fsType image keyring pool user", monitors=[TEXT], readOnly=FLAG, secretRef=REFERENCE),
    "scaleIO": texts(
        "fsType gateway protectionDomain storageMode storagePool system volumeName",
        readOnly=FLAG,
        secretRef=REFERENCE,
        sslEnabled=FLAG,
    ),
    "secret": texts("secretName", defaultMode=NUMBER, items=_ITEMS, optional=FLAG),
    "storageos": texts("fsType volumeName volumeNamespace", readOnly=FLAG, secretRef=REFERENCE),
    "vsphereVolume": texts("fsType storagePolicyID storagePolicyName volumePath"),
}

VOLUME: dict[str, Shape] = {"name": TEXT, **VOLUME_SOURCE}
VOLUME_MOUNT = texts("mountPath mountPropagation name recursiveReadOnly subPath subPathExpr", readOnly=FLAG)

Reference = Annotated[dict[str, Any], kept(REFERENCE, "LocalObjectReference")]
Toleration = Annotated[dict[str, Any], kept(texts("key operator value effect", tolerationSeconds=NUMBER), "Toleration")]
Affinity = Annotated[dict[str, Any], kept(_AFFINITY, "Affinity")]
Resources = Annotated[dict[str, Any], kept(RESOURCES, "ResourceRequirements")]
