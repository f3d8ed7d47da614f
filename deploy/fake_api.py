"""A small server in place of the Kubernetes API, so that Helm can install, upgrade and test a release.

It stores objects, and ends each Job and Pod at once. It knows no schemas, accounts or controllers: nothing
runs. `calls` lists what Helm has created, changed and deleted, in its order.
"""

import http.server
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar
from urllib.parse import parse_qs, urlsplit

import yaml

# group/version -> (plural, kind)
KINDS = {
    "v1": [
        ("secrets", "Secret"),
        ("configmaps", "ConfigMap"),
        ("pods", "Pod"),
        ("services", "Service"),
        ("serviceaccounts", "ServiceAccount"),
        ("namespaces", "Namespace"),
    ],
    "apps/v1": [("deployments", "Deployment")],
    "batch/v1": [("jobs", "Job")],
    "autoscaling/v2": [("horizontalpodautoscalers", "HorizontalPodAutoscaler")],
    "policy/v1": [("poddisruptionbudgets", "PodDisruptionBudget")],
    "networking.k8s.io/v1": [("networkpolicies", "NetworkPolicy"), ("ingresses", "Ingress")],
}
BY_PLURAL = {plural: (group, kind) for group, kinds in KINDS.items() for plural, kind in kinds}


class Cluster:
    """The objects by (plural, name), and what Helm has done."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.calls: list[tuple[str, str, str]] = []
        self.job_succeeds = True
        self.closed = threading.Event()
        self.events: list[tuple[str, str, dict[str, Any]]] = []
        self._version = 0
        self._lock = threading.Lock()

    def put(self, verb: str, plural: str, name: str, body: dict[str, Any]) -> dict[str, Any]:
        """Store an object and return it, as the API does. A Job or Pod has ended."""
        with self._lock:
            self._version += 1
            self.calls.append((verb, plural, name))
            metadata = {**body["metadata"], "name": name, "namespace": "production", "uid": name}
            metadata |= {"resourceVersion": str(self._version), "generation": 1}
            metadata |= {"creationTimestamp": "2026-11-30T12:00:00Z"}
            stored = {**body, "metadata": metadata, **self._status(plural)}
            self.events.append(
                (plural, "MODIFIED" if (plural, name) in self.objects else "ADDED", stored)
            )
            self.objects[plural, name] = stored
            return stored

    def delete(self, plural: str, name: str) -> dict[str, Any] | None:
        """Remove an object and return it."""
        with self._lock:
            self.calls.append(("delete", plural, name))
            gone = self.objects.pop((plural, name), None)
            if gone is not None:
                self.events.append((plural, "DELETED", gone))
            return gone

    def _status(self, plural: str) -> dict[str, Any]:
        if plural == "pods":
            return {"status": {"phase": "Succeeded"}}
        if plural == "jobs":
            kind = "Complete" if self.job_succeeds else "Failed"
            counts = {"succeeded": 1} if self.job_succeeds else {"failed": 4}
            return {"status": {**counts, "conditions": [{"type": kind, "status": "True"}]}}
        return {}


class _Api(http.server.BaseHTTPRequestHandler):
    cluster: ClassVar[Cluster]
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        discovered = _discover(url.path)
        plural, name = _names(url.path)
        if discovered is not None:
            self._answer(200, discovered)
        elif plural not in BY_PLURAL:
            self._answer(404, _status(404))
        elif name:
            found = self.cluster.objects.get((plural, name))
            self._answer(200 if found else 404, found or _status(404))
        elif query.get("watch") in {"1", "true"}:
            self._watch(plural)
        else:
            group, kind = BY_PLURAL[plural]
            items = [each for key, each in self.cluster.objects.items() if key[0] == plural]
            metadata = {"resourceVersion": "1"}
            self._answer(
                200,
                {"apiVersion": group, "kind": f"{kind}List", "metadata": metadata, "items": items},
            )

    def do_POST(self) -> None:
        plural, _ = _names(urlsplit(self.path).path)
        body = self._body()
        name = body["metadata"]["name"]
        if (plural, name) in self.cluster.objects:
            self._answer(409, _status(409))
        else:
            self._answer(201, self.cluster.put("create", plural, name, body))

    def do_PATCH(self) -> None:
        plural, name = _names(urlsplit(self.path).path)
        body = self._body()
        known = self.cluster.objects.get((plural, name))
        if known is None and "apply-patch" not in self.headers["Content-Type"]:
            self._answer(404, _status(404))
            return
        verb = "create" if known is None else "change"
        self._answer(200, self.cluster.put(verb, plural, name, {**(known or {}), **body}))

    def do_DELETE(self) -> None:
        self._body()
        plural, name = _names(urlsplit(self.path).path)
        found = self.cluster.delete(plural, name)
        self._answer(200 if found else 404, found or _status(404))

    def _watch(self, plural: str) -> None:
        """Send what is there, a bookmark that says so, and then each change until the server closes."""
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        group, kind = BY_PLURAL[plural]
        seen = len(self.cluster.events)
        events = [("ADDED", each) for key, each in self.cluster.objects.items() if key[0] == plural]
        end = {"resourceVersion": str(seen), "annotations": {"k8s.io/initial-events-end": "true"}}
        events.append(("BOOKMARK", {"apiVersion": group, "kind": kind, "metadata": end}))
        try:
            while not self.cluster.closed.wait(0.05):
                for verb, each in events:
                    self.wfile.write(json.dumps({"type": verb, "object": each}).encode() + b"\n")
                self.wfile.flush()
                new = self.cluster.events[seen:]
                seen += len(new)
                events = [(verb, each) for of, verb, each in new if of == plural]
        except OSError:
            # Helm has seen enough.
            return

    def _body(self) -> dict[str, Any]:
        text = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return yaml.load(text, Loader=yaml.CSafeLoader) or {}

    def _answer(self, status: int, body: Any) -> None:
        self._send(status, json.dumps(body))

    def _send(self, status: int, text: str) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_args: Any) -> None:
        """Write nothing."""


def _status(code: int) -> dict[str, Any]:
    reason = {404: "NotFound", 409: "AlreadyExists"}[code]
    status = {"apiVersion": "v1", "kind": "Status", "status": "Failure"}
    return {**status, "reason": reason, "code": code, "message": reason}


def _names(path: str) -> tuple[str, str]:
    """Return plural and name of /api/v1/namespaces/N/secrets/S and the like; the name may be empty."""
    parts = path.strip("/").split("/")
    parts = parts[2:] if parts[0] == "api" else parts[3:]
    if parts[:1] == ["namespaces"] and len(parts) > 2:
        parts = parts[2:]
    return (*parts, "", "")[:2]


def _discover(path: str) -> dict[str, Any] | None:
    if path == "/version":
        return {"major": "1", "minor": "37", "gitVersion": "v1.37.0"}
    if path == "/api":
        return {"kind": "APIVersions", "versions": ["v1"]}
    if path == "/apis":
        versions = [each.split("/") for each in KINDS if "/" in each]
        groups = [
            {
                "name": group,
                "versions": [{"groupVersion": f"{group}/{version}", "version": version}],
                "preferredVersion": {"groupVersion": f"{group}/{version}", "version": version},
            }
            for group, version in versions
        ]
        return {"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}
    if path == "/openapi/v3":
        return {
            "paths": {
                _root(group): {"serverRelativeURL": f"/openapi/v3/{_root(group)}"}
                for group in KINDS
            }
        }
    if path.startswith("/openapi/v3/"):
        return _openapi(path.removeprefix("/openapi/v3/"))
    group = path.removeprefix("/apis/").removeprefix("/api/")
    if path.startswith(("/api/", "/apis/")) and group in KINDS:
        verbs = ["create", "delete", "get", "list", "patch", "update", "watch"]
        resources = [
            {"name": plural, "kind": kind, "namespaced": kind != "Namespace", "verbs": verbs}
            for plural, kind in KINDS[group]
        ]
        return {
            "kind": "APIResourceList",
            "apiVersion": "v1",
            "groupVersion": group,
            "resources": resources,
        }
    return None


def _root(group: str) -> str:
    return f"apis/{group}" if "/" in group else f"api/{group}"


def _openapi(root: str) -> dict[str, Any]:
    """Say that the server validates fields, so that Helm doesn't. It doesn't either."""
    group = root.removeprefix("apis/").removeprefix("api/")
    patch = {"parameters": [{"name": "fieldValidation", "in": "query"}]}
    paths = {}
    for plural, kind in KINDS[group]:
        name, _, version = group.rpartition("/")
        gvk = {"group": name, "version": version, "kind": kind}
        paths[f"/{root}/namespaces/{{namespace}}/{plural}/{{name}}"] = {
            "patch": {**patch, "x-kubernetes-group-version-kind": gvk}
        }
    return {"openapi": "3.0.0", "info": {"title": "fake", "version": "1"}, "paths": paths}


@contextmanager
def served(cluster: Cluster) -> Iterator[str]:
    """Serve a cluster on the loopback interface, and yield a kubeconfig for it."""
    handler = type("Handler", (_Api,), {"cluster": cluster})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [
            {"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        ],
        "users": [{"name": "u", "user": {}}],
    }
    try:
        yield json.dumps(kubeconfig)
    finally:
        cluster.closed.set()
        server.shutdown()
        thread.join()
        server.server_close()
