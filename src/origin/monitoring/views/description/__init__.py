"""The OpenAPI document, made from the views and their schemas (contract: http-api, Operations).

flask-smorest describes paths and schemas. These modules add what holds for all views. A test compares
`doc/openapi.json` with the result; `make openapi` renews the file.
"""

from origin.monitoring.views.description.document import Json, document, prepare

__all__ = ["Json", "document", "prepare"]
