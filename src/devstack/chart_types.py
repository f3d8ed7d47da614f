"""The types of the Helm chart's values, for its JSON schema. Pure data and functions.

A value's type is that of its default. This module names what the default doesn't tell.
"""

from typing import Any

_TEXT = {"type": "string"}
_TEXTS = {"type": "object", "additionalProperties": _TEXT}
_NAMES = {"type": "array", "items": _TEXT}
_PORT = {"type": "integer", "minimum": 1, "maximum": 65535}
_PORTS = {"type": "array", "items": _PORT}
# In a NetworkPolicy, an empty list means all ports.
_SOME_PORTS = {**_PORTS, "minItems": 1}
_COUNT = {"type": "integer", "minimum": 0}
_POSITIVE = {"type": "integer", "minimum": 1}
_HOW_MANY = {"anyOf": [_COUNT, {"type": "string", "pattern": "^[0-9]+%$"}]}
_ANY_MAP = {"type": "object"}
_QUANTITIES = {"type": "object", "additionalProperties": {"type": ["string", "number"]}}
_SELECTOR = {
    "type": "object",
    "additionalProperties": False,
    "properties": {"matchLabels": _TEXTS, "matchExpressions": {"type": "array"}},
}


def _known(properties: dict[str, Any], required: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return the schema of a map with these names and no others."""
    schema = {"type": "object", "additionalProperties": False, "properties": properties}
    return {**schema, "required": list(required)} if required else schema


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items}


_NAMED = {"type": "object", "required": ["name"], "properties": {"name": _TEXT}}
_POLICY_PEERS = _list(
    _known(
        {
            "ipBlock": _known({"cidr": _TEXT, "except": _NAMES}, ("cidr",)),
            "namespaceSelector": _SELECTOR,
            "podSelector": _SELECTOR,
        }
    )
)
_DESTINATION = {
    "namespace": _TEXT,
    "podLabels": _TEXTS,
    "cidrs": _list({"type": "string", "pattern": "^[0-9a-fA-F.:]+/[0-9]{1,3}$"}),
    "ports": _PORTS,
}
_RUN_AS = {
    "runAsUser": _COUNT,
    "runAsGroup": _COUNT,
    "runAsNonRoot": {"type": "boolean"},
    "seccompProfile": _known(
        {
            "type": {"enum": ["RuntimeDefault", "Localhost", "Unconfined"]},
            "localhostProfile": _TEXT,
        }
    ),
    "appArmorProfile": _ANY_MAP,
    "seLinuxOptions": _ANY_MAP,
    "windowsOptions": _ANY_MAP,
}

# By the last part of a value's path.
_BY_NAME: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        (
            "commonLabels",
            "podAnnotations",
            "podLabels",
            "deploymentAnnotations",
            "annotations",
            "labels",
            "alertLabels",
            "nodeSelector",
        ),
        _TEXTS,
    ),
    **dict.fromkeys(("required", "optional", "disabledAlerts"), _NAMES),
    **dict.fromkeys(("maxUnavailable", "maxSurge"), _HOW_MANY),
    **dict.fromkeys(("drainSeconds", "backoffLimit", "replicas"), _COUNT),
    **dict.fromkeys(
        (
            "minReplicas",
            "maxReplicas",
            "cpuPercent",
            "startupSeconds",
            "terminationGracePeriodSeconds",
            "deadlineSeconds",
        ),
        _POSITIVE,
    ),
    **dict.fromkeys(("port", "metricsPort"), _PORT),
    **dict.fromkeys(("publicPorts", "ports"), _PORTS),
    **dict.fromkeys(("database", "dns"), _known({**_DESTINATION, "ports": _SOME_PORTS})),
    "redis": _known(_DESTINATION),
    **dict.fromkeys(("webFrom", "metricsFrom"), _POLICY_PEERS),
    **dict.fromkeys(("extraContainers", "extraInitContainers", "extraVolumes"), _list(_NAMED)),
    **dict.fromkeys(("extraObjects", "metricRelabelings"), _list(_ANY_MAP)),
    "peers": _list(_known({**_DESTINATION, "ports": _SOME_PORTS}, ("ports",))),
    "egress": _list(_known({"to": _POLICY_PEERS, "ports": _list(_ANY_MAP)})),
    "imagePullSecrets": _list(_known({"name": _TEXT}, ("name",))),
    "resources": _known(
        {"requests": _QUANTITIES, "limits": _QUANTITIES, "claims": {"type": "array"}}
    ),
    "affinity": _known(dict.fromkeys(("nodeAffinity", "podAffinity", "podAntiAffinity"), _ANY_MAP)),
    "tolerations": _list(
        _known(
            {
                "key": _TEXT,
                "operator": {"enum": ["Equal", "Exists", "Lt", "Gt"]},
                "value": _TEXT,
                "effect": {"enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]},
                "tolerationSeconds": {"type": "integer"},
            }
        )
    ),
    "topologySpreadConstraints": _list(
        _known(
            {
                "maxSkew": _POSITIVE,
                "topologyKey": _TEXT,
                "whenUnsatisfiable": {"enum": ["DoNotSchedule", "ScheduleAnyway"]},
                "labelSelector": _SELECTOR,
                "minDomains": _POSITIVE,
                "matchLabelKeys": _NAMES,
                "nodeAffinityPolicy": {"enum": ["Honor", "Ignore"]},
                "nodeTaintsPolicy": {"enum": ["Honor", "Ignore"]},
            },
            ("maxSkew", "topologyKey", "whenUnsatisfiable"),
        )
    ),
    "extraEnv": _list(_known({"name": _TEXT, "value": _TEXT, "valueFrom": _ANY_MAP}, ("name",))),
    "extraEnvFrom": _list(
        _known({"configMapRef": _ANY_MAP, "secretRef": _ANY_MAP, "prefix": _TEXT})
    ),
    "extraVolumeMounts": _list(
        _known(
            {
                "name": _TEXT,
                "mountPath": _TEXT,
                "subPath": _TEXT,
                "subPathExpr": _TEXT,
                "readOnly": {"type": "boolean"},
                "recursiveReadOnly": _TEXT,
                "mountPropagation": _TEXT,
            },
            ("name", "mountPath"),
        )
    ),
    "podSecurityContext": _known(
        {
            **_RUN_AS,
            "fsGroup": _COUNT,
            "fsGroupChangePolicy": {"enum": ["OnRootMismatch", "Always"]},
            "seLinuxChangePolicy": _TEXT,
            "supplementalGroups": _list(_COUNT),
            "supplementalGroupsPolicy": _TEXT,
            "sysctls": _list(_ANY_MAP),
        }
    ),
    "securityContext": _known(
        {
            **_RUN_AS,
            "allowPrivilegeEscalation": {"type": "boolean"},
            "readOnlyRootFilesystem": {"type": "boolean"},
            "privileged": {"type": "boolean"},
            "procMount": _TEXT,
            "capabilities": _known({"add": _NAMES, "drop": _NAMES}),
        }
    ),
    "paths": _list({"type": "string", "pattern": "^/"}),
    "pullPolicy": {"enum": ["IfNotPresent", "Always", "Never"]},
    "digest": {"type": "string", "pattern": "^(sha256:[0-9a-f]+)?$"},
    "checksum": {"type": ["string", "number"]},
    "mode": {"enum": ["verify-full", "verify-ca"]},
    "type": {"enum": ["ClusterIP", "NodePort", "LoadBalancer"]},
    "interval": {"type": "string", "pattern": "^([0-9]+(ms|s|m|h))+$"},
    "runbookUrl": {"type": "string", "pattern": "^(https?://[^#]+)?$"},
}
# Sections with the name of one of the types above.
_SECTIONS = {("tls", "database"), ("tls", "redis"), ("tls", "peers")}
_BY_DEFAULT = {bool: "boolean", int: "integer", str: "string"}


def of(path: tuple[str, ...], default: Any) -> dict[str, Any] | None:
    """Return the schema of a value; None for a section, whose names are those in values.yaml."""
    if path not in _SECTIONS and path[-1] in _BY_NAME:
        return _BY_NAME[path[-1]]
    if isinstance(default, dict) and default:
        return None
    return {"type": _BY_DEFAULT[type(default)]}


PROXIES = "^(HTTPS?|NO)_PROXY$"
"""Variables that libraries read, and that no list of ours names. libpq's are not among them: the migration
needs them, too, and it doesn't get `settings`."""


def given(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a variable that is set, of one that may also be absent (null)."""
    return next((each for each in field.get("anyOf", ()) if each["type"] != "null"), field)


def is_secret(field: dict[str, Any]) -> bool:
    """Return whether a variable with this schema is a secret, or a list of secrets."""
    return bool(field.get("writeOnly") or field.get("items", {}).get("writeOnly"))


def of_setting(name: str, field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a variable, whose field has this JSON schema.

    A number or a boolean may also be written as text, as in a process's environment.
    """
    bounds = {key: field[key] for key in ("minimum", "maximum", "exclusiveMinimum") if key in field}
    match field.get("type"):
        case "boolean":
            texts = ["", "0", "1", "true", "false", "True", "False", "yes", "no", "on", "off"]
            return {"anyOf": [{"type": "boolean"}, {"enum": [0, 1, *texts]}]}
        case "integer":
            text = {"type": "string", "pattern": "^[0-9]*$"}
            return {"anyOf": [{"type": "integer", **bounds}, text]}
        case "number":
            text = {"type": "string", "pattern": r"^[0-9]*\.?[0-9]*$"}
            return {"anyOf": [{"type": "number", **bounds}, text]}
    if "enum" in field:
        return {"enum": [*field["enum"], *(each.lower() for each in field["enum"])]}
    if name.endswith("_URL"):
        return {"type": "string", "pattern": r"^([Hh][Tt][Tt][Pp][Ss]?://\S+)?$"}
    return _TEXT
