"""What holds for every operation: its name, group, scopes, errors, headers and examples."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from origin.errors import OriginError
from origin.identity.authentication import Guard
from origin.monitoring.views.description import errors, problems, schemas, security

Json = dict[str, Any]

_GROUPS = {
    "login": "Login",
    "accounts": "Accounts",
    "suppliers": "Accounts",
    "ggos": "GGO",
    "compose": "GGO",
    "transfers": "Transfers",
    "forecasts": "Forecasts",
    "declarations": "Environment declarations",
    "webhooks_in": "Events from DataHub",
    "subscriptions": "Webhook subscriptions",
    "bulk": "Bulk orders",
    "bulk_lines": "Bulk orders",
    "operations": "Orders",
    "ggos_v2": "GGO",
    "balances": "Balances",
    "account_statements": "Balances",
}
"""The tag of each blueprint's operations; all others are for operators."""
_OPERATIONS = "Operations"
_DELIVERIES = "Events to subscribers"
_TAGS = {
    "Login": "A user logs in with a browser, at Hydra.",
    "Accounts": "The caller's account, disabling it, and finding suppliers.",
    "GGO": "The caller's GGOs: list them, sum them, transfer and retire them.",
    "Bulk orders": "Transfer or retire many GGOs at once.",
    "Orders": "What became of the caller's orders: each is an operation.",
    "Balances": "What the caller has, had, sent, received and retired, line by line.",
    "Transfers": "What the caller sent and received.",
    "Forecasts": "What a sender expects to transfer to a recipient.",
    "Environment declarations": "Where consumption came from, and what it emitted.",
    "Webhook subscriptions": "The URLs at which the caller receives events.",
    _DELIVERIES: "What this service posts to the URLs that are subscribed.",
    "Events from DataHub": "What DataHubService posts to this service, signed.",
    _OPERATIONS: "For the operators of the service.",
}
_ALIASES = {
    "/compose": "/ggo/compose",
    "/transfer/get-transferred-amount": "/transfer/get-total-amount",
    "/webhook/on-ggos-issued": "/webhook/on-ggo-issued",
}
"""Second paths of the same operations."""


@dataclass(frozen=True)
class View:
    """A view, as its operation needs it.

    :ivar rejections: Samples of the errors that it raises.
    """

    path: str
    blueprint: str
    function: str
    guard: Guard
    rejections: tuple[OriginError, ...]


def is_v2(path: str) -> bool:
    """Return whether this is a path of version 2, whose errors have another shape."""
    return path.startswith("/v2/")


def tags(paths: Json) -> list[Json]:
    """Return the groups that have operations, in the order in which a reader needs them."""
    used = {each["tags"][0] for methods in paths.values() for each in methods.values()}
    return [
        {"name": name, "description": text}
        for name, text in _TAGS.items()
        if name in used | {_DELIVERIES}
    ]


def complete(operation: Json, view: View, all_schemas: Json) -> None:
    """Complete the operation of this view in place."""
    operation["operationId"] = _operation_id(view)
    operation["tags"] = [_GROUPS.get(view.blueprint, _OPERATIONS)]
    operation["summary"] = operation["summary"].rstrip(".")
    if view.path in _ALIASES:
        operation["summary"] += " (another path)"
    operation["security"] = security.requirements(view.guard)
    operation["description"] = "\n\n".join(_sentences(operation, view))
    _complete_responses(operation, view, all_schemas)
    for content in _contents(operation):
        if not content.keys() & {"example", "examples"}:
            content["example"] = schemas.example(content["schema"], all_schemas)


def _operation_id(view: View) -> str:
    """Return the view's name in camel case: generated clients name their methods after it."""
    first, *others = view.function.split("_")
    name = first + "".join(map(str.capitalize, others))
    return f"{name}Alias" if view.path in _ALIASES else name


def _sentences(operation: Json, view: View) -> Iterator[str]:
    if view.path in _ALIASES:
        yield f"The same as `{_ALIASES[view.path]}`."
    if operation.get("description"):
        # A docstring's lines are no paragraphs.
        yield re.sub(r"(?<!\n)\n(?!\n)", " ", operation["description"])
    yield security.sentence(view.guard)


def _complete_responses(operation: Json, view: View, all_schemas: Json) -> None:
    """Add errors, and the headers that every response has."""
    # Those with a reference describe flask-smorest's own errors.
    own = {code: each for code, each in operation["responses"].items() if "$ref" not in each}
    for code, response in own.items():
        names = ("X-Request-ID", *(("Retry-After",) if code == "503" else ()))
        response.setdefault("headers", {}).update({name: errors.header(name) for name in names})
    codes = list(_codes(operation, view.guard))
    if is_v2(view.path):
        codes += ["404"] if "{" in view.path else []
        found = dict(
            problems.responses(codes, view.rejections, has_body="requestBody" in operation)
        )
        operation["responses"] = dict(sorted({**found, **own}.items()))
        return
    found = dict(errors.responses(codes, is_signed=view.guard.is_signed))
    body = operation.get("requestBody")
    if "400" in found and (body or view.rejections):
        schema = body and schemas.resolved(
            body["content"]["application/json"]["schema"], all_schemas
        )
        found["400"] = errors.bad_request(schema, view.rejections)
    if not any(code.startswith("2") for code in own):
        found["default"] = errors.any_other()
    operation["responses"] = dict(sorted({**found, **own}.items()))


def _codes(operation: Json, guard: Guard) -> Iterator[str]:
    """Yield the error statuses that such a view may answer."""
    yield from ("431", "500")
    if any(each["in"] == "query" for each in operation.get("parameters", [])):
        yield "414"
    if operation["tags"] == [_OPERATIONS]:
        return
    yield from ("400", "408", "413", "429", "502", "503")
    if guard.scopes:
        yield from ("401", "403")
    elif guard.is_signed:
        yield "401"
    if any(each["name"] == "Idempotency-Key" for each in operation.get("parameters", [])):
        yield from ("409", "422")


def _contents(operation: Json) -> Iterator[Json]:
    """Yield the contents of the request and of the responses that are not shared."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for response in operation["responses"].values():
        yield from response.get("content", {}).values()
