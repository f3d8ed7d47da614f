"""Writes the list of what the service consists of (SBOM) as CycloneDX 1.6 JSON: `make sbom`.

.tools/release runs it at the root of the project. The SBOM names the runtime packages of Pipfile.lock
as they are installed in .venv, each with its version, its licence, and the SHA-256 of every file that
the lock allows; and the JavaScript that the repository contains. It names no package index. Exit status
1: a package is missing or differs from the lock, its licence isn't allowed, or the schema is broken.
"""

import hashlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.license import DisjunctiveLicense, License, LicenseExpression
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from license_expression import get_spdx_licensing
from packageurl import PackageURL

ALLOWED = {
    "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0", "ZPL-2.1",
    # Names a family, not a version. Each of its versions is allowed.
    "BSD License",
    # Weak copyleft: it covers the package itself, which we distribute unchanged.
    "LGPL-3.0-or-later", "MPL-2.0",
}  # fmt: skip
"""Licences of packages that the service may be distributed with (doc/decisions/0034-releases.md)."""
SPDX_IDS = {
    "Apache Software License": "Apache-2.0",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
}
"""SPDX's ids of licences that package metadata names in other words."""
UNCLEAR = {"psycopg2-binary": "LGPL-3.0-or-later", "sawtooth-sdk": "Apache-2.0"}
"""Licences of packages whose metadata names none, or no version: from the packages' source files."""
CONTENTS = (
    "The Python packages that the service runs with (section `default` of Pipfile.lock), and "
    "swagger-ui, which the repository contains. Not included: Python, the packages of the base "
    "image, and libraries inside wheels (for example libpq in psycopg2-binary)."
)
ASSETS = Path("src/origin/monitoring/views/assets")


def normal(name: str) -> str:
    """Return a package's name in the form that compares equal (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def installed_packages() -> Bom:
    """Return all packages in .venv, with licences and dependencies, as cyclonedx-bom describes them."""
    program = Path(sys.executable).with_name("cyclonedx-py")
    command = [program, "environment", "--spec-version", "1.6", "--mc-type", "application"]
    done = subprocess.run(  # noqa: S603 - our own tool
        [*command, ".venv/bin/python"], check=True, capture_output=True
    )
    bom: Bom = Bom.from_json(json.loads(done.stdout))  # type: ignore[attr-defined] # by a decorator
    return bom


def keep_locked(bom: Bom, lock: dict[str, Any]) -> None:
    """Remove the packages that the lock doesn't name, and add the lock's hashes to the others."""
    for component in list(bom.components):
        if normal(component.name) not in lock:
            bom.components.discard(component)
            continue
        component.hashes = [
            HashType(alg=HashAlgorithm.SHA_256, content=each.removeprefix("sha256:"))
            for each in lock[normal(component.name)]["hashes"]
        ]
        # They tell nothing that the purl doesn't, and may name an index.
        component.external_references = []
        component.licenses = [*licences_of(component)]
    kept = {component.bom_ref for component in bom.components}
    bom.dependencies = [each for each in bom.dependencies if each.ref in kept]
    for each in bom.dependencies:
        each.dependencies = [one for one in each.dependencies if one.ref in kept]


def licences_of(component: Component) -> Iterator[License]:
    """Yield the component's licences by SPDX's ids, where its metadata names them."""
    if (clear := UNCLEAR.get(normal(component.name))) is not None:
        yield DisjunctiveLicense(id=clear)
        return
    expressions = [each for each in component.licenses if isinstance(each, LicenseExpression)]
    if expressions:
        yield expressions[0]
        return
    names = {text_of(each) for each in component.licenses}
    if any(name.startswith("BSD-") for name in names):
        names.discard("BSD License")
    for name in names:
        yield DisjunctiveLicense(name=name) if " " in name else DisjunctiveLicense(id=name)


def text_of(licence: License) -> str:
    """Return a licence's id, expression or name."""
    if isinstance(licence, LicenseExpression):
        return licence.value
    name = (licence.name or "").removeprefix("License :: OSI Approved :: ")
    return licence.id or SPDX_IDS.get(name, name)


def is_allowed(licence: License) -> bool:
    """Return whether we may distribute a package under this licence. Of alternatives one is enough."""
    text = text_of(licence)
    if text in ALLOWED:
        return True
    if not isinstance(licence, LicenseExpression):
        return False
    spdx = get_spdx_licensing()
    return holds(spdx.parse(text, validate=True))


def holds(expression: Any) -> bool:
    """Return whether an expression of `license_expression` is allowed."""
    parts: Iterable[Any] = expression.args
    match type(expression).__name__:
        case "OR":
            return any(map(holds, parts))
        case "AND":
            return all(map(holds, parts))
        case _:
            return expression.key in ALLOWED


def swagger_ui() -> Component:
    """Return swagger-ui, whose files the repository contains."""
    found = re.search(r"swagger-ui-dist (\d+\.\d+\.\d+)", (ASSETS / "README.md").read_text())
    assert found, "the assets' README names the version"
    bundle = (ASSETS / "swagger-ui-bundle.js").read_bytes()
    return Component(
        name="swagger-ui-dist",
        version=found[1],
        type=ComponentType.LIBRARY,
        purl=PackageURL("npm", name="swagger-ui-dist", version=found[1]),
        bom_ref=f"swagger-ui-dist=={found[1]}",
        licenses=[DisjunctiveLicense(id="Apache-2.0")],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=hashlib.sha256(bundle).hexdigest())],
    )


def service(version: str) -> Component:
    """Return the service itself."""
    return Component(
        name="account-service",
        version=version,
        type=ComponentType.APPLICATION,
        purl=PackageURL("generic", name="account-service", version=version),
        bom_ref=f"account-service=={version}",
        description="Accounts of granular guarantees of origin",
        licenses=[DisjunctiveLicense(id="Apache-2.0")],
    )


def problems_of(bom: Bom, lock: dict[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the components, one line for each."""
    found = {normal(component.name): component for component in bom.components}
    for name, entry in lock.items():
        if name not in found:
            yield f"{name} is locked and not in .venv: run `make sync`"
        elif (version := found[name].version) != entry["version"].removeprefix("=="):
            yield f"{name} {version} is in .venv, {entry['version']} in the lock: run `make sync`"
    for name, component in found.items():
        if not component.licenses:
            yield f"{name} names no licence: look it up, and add it to UNCLEAR"
        for licence in component.licenses:
            if not is_allowed(licence):
                yield f"{name}: its licence {text_of(licence)!r} isn't among those allowed"


def main(version: str) -> None:
    """Write the SBOM of this version to `dist`."""
    target = Path(f"dist/account-service-{version}.cdx.json")
    lock = {
        normal(name): entry
        for name, entry in json.loads(Path("Pipfile.lock").read_text())["default"].items()
    }
    bom = installed_packages()
    keep_locked(bom, lock)
    bom.components.add(swagger_ui())
    direct = {normal(name) for name in tomllib.loads(Path("Pipfile").read_text())["packages"]}
    direct.add("swagger-ui-dist")
    root = bom.metadata.component = service(version)
    bom.metadata.supplier = OrganizationalEntity(name="The contributors of AccountService")
    for tool in bom.metadata.tools.components:
        tool.external_references = []
    bom.metadata.properties.add(Property(name="account-service:contents", value=CONTENTS))
    bom.register_dependency(root, (each for each in bom.components if normal(each.name) in direct))
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    problems = [*problems_of(bom, lock), *([str(error)] if error else [])]
    problems += [
        f"It names the address {each}"
        for each in re.findall(r'(?<!"\$schema": ")\b\w+://[^"]+', text)
    ]
    if problems:
        sys.exit("The SBOM isn't as required:\n" + "\n".join(f"  {each}" for each in problems))
    target.parent.mkdir(exist_ok=True)
    target.write_text(text + "\n")
    sys.stdout.write(f"{target}: {len(bom.components)} components, each with an allowed licence\n")


if __name__ == "__main__":
    main(sys.argv[1])
