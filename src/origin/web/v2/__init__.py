"""The conventions of version 2, once for all of its views (contract: v2, Conventions).

`problems` answers errors, `blueprint` and `schema` read bodies and queries, `pages` has lists and their
cursors, `requests` has ids in paths and headers. Errors get their wording in `origin.web.errors`: a
feature raises them, `@rejects` describes them. Classes and views need docstrings, which the examples
leave out.

A list:

    blueprint = Blueprint("operations", __name__)


    class OperationsQuery(ListQuery, PeriodQuery):
        kind = CommaList(Text(validate=validate.OneOf(KINDS)), most=3, load_default=list, metadata=…)


    class OperationList(ListResponse):
        results = fields.List(fields.Nested(OperationSchema), metadata=…)


    @blueprint.get("/v2/operations")
    @requires("ggo.read")
    @rejects(CursorInvalid())
    @blueprint.query(OperationsQuery)
    @blueprint.response(200, OperationList)
    def list_operations(query: dict[str, Any]) -> Response:
        page = page_of(current_user().subject, query)
        rows = provided(Operations).page(
            current_user().id, query["kind"], query["period"], page.after, page.limit + 1
        )
        return page.response(rows, lambda row: (row.created_at, row.id), shown)

One resource, whose view has no parameters:

    @blueprint.get(
        "/v2/operations/<operation_id>",
        parameters=[id_parameter("operation_id", "The operation's id")],
    )
    @requires("ggo.read")
    @blueprint.query()
    @blueprint.response(200, OperationSchema)
    def get_operation(operation_id: str) -> Response:
        operation = provided(Operations).get(current_user().id, id_in_path(operation_id))
        return json_response(shown(operation))

A POST that moves GGOs:

    class TransferRequest(Body):
        targets = Items(fields.Nested(TargetBody), least=1, most=100, required=True, metadata=…)


    @blueprint.post("/v2/transfers")
    @requires("ggo.transfer", cached=False)
    @rests_in_recovery
    @rejects(NothingSelected())
    @blueprint.doc(parameters=[IDEMPOTENCY_KEY, PREFER])
    @blueprint.body(TransferRequest)
    @blueprint.response(202, OperationSchema, headers={"Location": …})
    def transfer(body: dict[str, Any]) -> Response:
        made = provided(Bulk).transfer(current_user().id, idempotency_key(), body)
        … wait up to preferred_wait_s() …
        return json_response(shown(made), 202)
"""
