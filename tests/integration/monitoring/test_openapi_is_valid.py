"""The API's description is valid OpenAPI; schemathesis, which checks that, takes seconds to load."""

import json

import schemathesis

from devstack.openapi_document import openapi_text


def test_it_is_valid():
    document = json.loads(openapi_text())
    schemathesis.openapi.from_dict(document).validate()
    assert document["openapi"].startswith("3.1.")
