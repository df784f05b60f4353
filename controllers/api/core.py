"""Parts of Kubernetes' core API that our resources hand on to pods: kept as written, checked where they are used.

Their shapes are spelled out, because a field of free form may nest without end: an object of 1,500 levels is accepted
by the API server and ends `json.loads` with RecursionError, so that one tenant's Dataset would blind the controller.
"""

from typing import Annotated, Any

from pydantic import WithJsonSchema

Shape = str | list[Any] | dict[str, Any]

TEXT, NUMBER, FLAG, QUANTITY, TEXTS, QUANTITIES = "text", "number", "flag", "quantity", "texts", "quantities"
_INT_OR_STRING = {"x-kubernetes-int-or-string": True}
_SIMPLE: dict[str, dict[str, Any]] = {
    TEXT: {"type": "string"},
    NUMBER: {"type": "integer", "format": "int64"},
    FLAG: {"type": "boolean"},
    QUANTITY: _INT_OR_STRING,
    TEXTS: {"type": "object", "additionalProperties": {"type": "string"}},
    QUANTITIES: {"type": "object", "additionalProperties": _INT_OR_STRING},
}


def schema(shape: Shape, what: str) -> dict[str, Any]:
    """Return the structural schema of a shape; ``what`` names its type in the core API."""
    if isinstance(shape, str):
        found = _SIMPLE[shape]
    elif isinstance(shape, list):
        found = {"type": "array", "items": schema(shape[0], what)}
    else:
        found = {
            "type": "object",
            "properties": {name: schema(part, f"{what}.{name}") for name, part in shape.items()},
        }
    return {"description": f"{what} of core/v1.", **found}


def _of(shape: Shape, what: str) -> Any:
    return Annotated[dict[str, Any], WithJsonSchema(schema(shape, what))]


_NAME = {"name": TEXT}
_REQUIREMENT = {"key": TEXT, "operator": TEXT, "values": [TEXT]}
_TERM = {"matchExpressions": [_REQUIREMENT], "matchFields": [_REQUIREMENT]}
_NODE_SELECTOR = {"nodeSelectorTerms": [_TERM]}
_SELECTOR = {"matchLabels": TEXTS, "matchExpressions": [_REQUIREMENT]}
_REQUIRED, _PREFERRED = (f"{kind}DuringSchedulingIgnoredDuringExecution" for kind in ("required", "preferred"))
_NODE_AFFINITY = {_REQUIRED: _NODE_SELECTOR, _PREFERRED: [{"weight": NUMBER, "preference": _TERM}]}
_POD_TERM = {
    "labelSelector": _SELECTOR,
    "namespaces": [TEXT],
    "namespaceSelector": _SELECTOR,
    "topologyKey": TEXT,
    "matchLabelKeys": [TEXT],
    "mismatchLabelKeys": [TEXT],
}
_POD_AFFINITY = {_REQUIRED: [_POD_TERM], _PREFERRED: [{"weight": NUMBER, "podAffinityTerm": _POD_TERM}]}
_AFFINITY = {"nodeAffinity": _NODE_AFFINITY, "podAffinity": _POD_AFFINITY, "podAntiAffinity": _POD_AFFINITY}
_RESOURCES = {"limits": QUANTITIES, "requests": QUANTITIES, "claims": [{"name": TEXT, "request": TEXT}]}


def _fields(texts: str, **others: Shape) -> dict[str, Shape]:
    return {**dict.fromkeys(texts.split(), TEXT), **others}


_ITEMS = [_fields("key path", mode=NUMBER)]
_REFERENCE = {"apiGroup": TEXT, "kind": TEXT, "name": TEXT, "namespace": TEXT}
_DOWNWARD = [
    _fields(
        "path",
        mode=NUMBER,
        fieldRef=_fields("apiVersion fieldPath"),
        resourceFieldRef=_fields("containerName resource", divisor=QUANTITY),
    )
]
_CLAIM = {
    "metadata": {"labels": TEXTS, "annotations": TEXTS},
    "spec": _fields(
        "storageClassName volumeMode volumeName volumeAttributesClassName",
        accessModes=[TEXT],
        resources=_RESOURCES,
        selector=_SELECTOR,
        dataSource=_REFERENCE,
        dataSourceRef=_REFERENCE,
    ),
}
_CONFIG = _fields("name", items=_ITEMS, optional=FLAG)
_VOLUME_SOURCE: dict[str, Shape] = {
    "awsElasticBlockStore": _fields("volumeID fsType", partition=NUMBER, readOnly=FLAG),
    "azureDisk": _fields("cachingMode diskName diskURI fsType kind", readOnly=FLAG),
    "azureFile": _fields("secretName shareName", readOnly=FLAG),
    "cephfs": _fields("path secretFile user", monitors=[TEXT], readOnly=FLAG, secretRef=_NAME),
    "cinder": _fields("fsType volumeID", readOnly=FLAG, secretRef=_NAME),
    "configMap": {**_CONFIG, "defaultMode": NUMBER},
    "csi": _fields("driver fsType", nodePublishSecretRef=_NAME, readOnly=FLAG, volumeAttributes=TEXTS),
    "downwardAPI": {"defaultMode": NUMBER, "items": _DOWNWARD},
    "emptyDir": {"medium": TEXT, "sizeLimit": QUANTITY},
    "ephemeral": {"volumeClaimTemplate": _CLAIM},
    "fc": _fields("fsType", lun=NUMBER, readOnly=FLAG, targetWWNs=[TEXT], wwids=[TEXT]),
    "flexVolume": _fields("driver fsType", options=TEXTS, readOnly=FLAG, secretRef=_NAME),
    "flocker": _fields("datasetName datasetUUID"),
    "gcePersistentDisk": _fields("fsType pdName", partition=NUMBER, readOnly=FLAG),
    "gitRepo": _fields("directory repository revision"),
    "glusterfs": _fields("endpoints path", readOnly=FLAG),
    "hostPath": _fields("path type"),
    "image": _fields("pullPolicy reference"),
    "iscsi": _fields(
        "fsType initiatorName iqn iscsiInterface targetPortal",
        chapAuthDiscovery=FLAG,
        chapAuthSession=FLAG,
        lun=NUMBER,
        portals=[TEXT],
        readOnly=FLAG,
        secretRef=_NAME,
    ),
    "nfs": _fields("path server", readOnly=FLAG),
    "persistentVolumeClaim": _fields("claimName", readOnly=FLAG),
    "photonPersistentDisk": _fields("fsType pdID"),
    "portworxVolume": _fields("fsType volumeID", readOnly=FLAG),
    "projected": {
        "defaultMode": NUMBER,
        "sources": [
            {
                "configMap": _CONFIG,
                "secret": _CONFIG,
                "downwardAPI": {"items": _DOWNWARD},
                "serviceAccountToken": _fields("audience path", expirationSeconds=NUMBER),
                "clusterTrustBundle": _fields("name path signerName", labelSelector=_SELECTOR, optional=FLAG),
            }
        ],
    },
    "quobyte": _fields("group registry tenant user volume", readOnly=FLAG),
    "rbd": _fields("fsType image keyring pool user", monitors=[TEXT], readOnly=FLAG, secretRef=_NAME),
    "scaleIO": _fields(
        "fsType gateway protectionDomain storageMode storagePool system volumeName",
        readOnly=FLAG,
        secretRef=_NAME,
        sslEnabled=FLAG,
    ),
    "secret": _fields("secretName", defaultMode=NUMBER, items=_ITEMS, optional=FLAG),
    "storageos": _fields("fsType volumeName volumeNamespace", readOnly=FLAG, secretRef=_NAME),
    "vsphereVolume": _fields("fsType storagePolicyID storagePolicyName volumePath"),
}

Quantity = Annotated[int | str, WithJsonSchema(_INT_OR_STRING)]
Reference = _of(_NAME, "LocalObjectReference")
Toleration = _of(_fields("key operator value effect", tolerationSeconds=NUMBER), "Toleration")
NodeSelector = _of(_NODE_SELECTOR, "NodeSelector")
NodeAffinity = _of(_NODE_AFFINITY, "NodeAffinity")
Affinity = _of(_AFFINITY, "Affinity")
Resources = _of(_RESOURCES, "ResourceRequirements")
VolumeMount = _of(
    _fields("mountPath mountPropagation name recursiveReadOnly subPath subPathExpr", readOnly=FLAG), "VolumeMount"
)
Volume = _of({"name": TEXT, **_VOLUME_SOURCE}, "Volume")
VolumeSource = _of(_VOLUME_SOURCE, "VolumeSource")
