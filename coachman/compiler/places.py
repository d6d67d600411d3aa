"""Lists the functions of FastAPI, Starlette, pydantic and OpenTelemetry that the compiler stands in for.

Not every version has all of them: `features` says what an absent one comes to.
"""

from __future__ import annotations

from collections.abc import Iterator

EVERY_ROUTE = "every route"
GENERATORS = "dependencies with yield"
FORMS = "forms"
LAYERS = "middleware"

# Where FastAPI looks a function up, by what a route has to use to be concerned.
PLACES: dict[str, str] = {
    EVERY_ROUTE: """
        fastapi.routing: request_response get_request_handler run_endpoint_function serialize_response
        fastapi.routing: _build_response_args _extract_endpoint_context _update_scope
        fastapi.routing: _get_fastapi_scope _apply_router_form_limits _resolve_form_limits
        fastapi.routing: solve_dependencies wrap_app_handling_exceptions run_in_threadpool jsonable_encoder
        fastapi.routing: is_body_allowed_for_status_code get_route_path wrap_app_with_body_limit
        fastapi.routing: get_telemetry_data _operation _run_sync_endpoint _route_selected
        fastapi.routing: _populate_api_route_state _build_dependant_with_parameterless_dependencies
        fastapi.routing: APIRoute.matches APIRoute.handle APIRoute.get_route_handler
        fastapi.routing: APIRouter.app APIRouter.handle APIRouter.matches APIRouter._get_routes_version
        fastapi.routing: _EffectiveRouteContext.matches _EffectiveRouteContext.from_api_route
        fastapi.routing: _IncludedRouter.effective_candidates _IncludedRouter._build_effective_context
        fastapi.routing: _IncludedRouter._match _IncludedRouter.matches _IncludedRouter.handle
        fastapi.routing: _IncludedRouter._handle_selected
        fastapi.middleware.asyncexitstack: AsyncExitStackMiddleware.__call__
        fastapi.dependencies.utils: solve_dependencies request_params_to_args request_body_to_args
        fastapi.dependencies.utils: _get_multidict_value _validate_value_with_model_field
        fastapi.dependencies.utils: _get_param_aliases _get_param_model _is_json_field
        fastapi.dependencies.utils: _should_embed_body_fields _get_form_models run_in_threadpool
        fastapi.dependencies.utils: _get_cache_key _get_oauth_scopes
        fastapi.dependencies.utils: _is_gen_callable _is_async_gen_callable _is_coroutine_callable
        fastapi.dependencies.models: _get_cache_key _uses_scopes _get_oauth_scopes _get_computed_scope
        fastapi._compat.v2: ModelField.validate ModelField.serialize ModelField.serialize_json
        fastapi._compat.v2: ModelField.get_default _regenerate_error_with_loc
        fastapi._compat.shared: field_annotation_is_sequence
        fastapi._body_limit: wrap_app_with_body_limit _BodyLimitExceptionMiddleware.__call__
        fastapi.background: BackgroundTasks.__call__
        pydantic.type_adapter: TypeAdapter.validate_python TypeAdapter.dump_json TypeAdapter.dump_python
        starlette.routing: Route.matches Route.handle Mount.matches Host.matches Router.__call__
        starlette.routing: compile_path get_route_path
        starlette._exception_handler: wrap_app_handling_exceptions _lookup_exception_handler
        starlette.concurrency: run_in_threadpool
        starlette.convertors: StringConvertor.convert IntegerConvertor.convert
        starlette.datastructures: QueryParams.__init__ ImmutableMultiDict.__init__ ImmutableMultiDict.getlist
        starlette.datastructures: Headers.__init__ Headers.__getitem__ Headers.getlist
        starlette.requests: cookie_parser HTTPConnection.headers HTTPConnection.query_params
        starlette.requests: HTTPConnection.cookies HTTPConnection.path_params HTTPConnection.__init__
        starlette.requests: Request.__init__ Request.stream Request.body Request.json
        starlette.responses: Response.__init__ Response.render Response.init_headers Response.__call__
        starlette.responses: JSONResponse.__init__ JSONResponse.render
        starlette.background: BackgroundTasks.__call__ BackgroundTask.__call__
    """,
    GENERATORS: """
        fastapi.dependencies.utils: _solve_generator contextmanager_in_threadpool
        fastapi.dependencies.utils: _asynccontextmanager_with_shielded_exit
        fastapi.dependencies.utils: _contextmanager_with_concurrency_limit
    """,
    LAYERS: """
        starlette.middleware.errors: ServerErrorMiddleware.__call__
        starlette.middleware.exceptions: ExceptionMiddleware.__call__
        starlette.middleware.exceptions: wrap_app_handling_exceptions
        fastapi.telemetry._asgi: ExceptionTelemetryMiddleware.__call__ NativeTelemetry.enabled
        fastapi.telemetry._api: _unconfigured
        fastapi._body_limit: AppBodyLimitMiddleware.__call__
        fastapi.middleware.asyncexitstack: AsyncExitStackMiddleware.__call__
        fastapi.applications: FastAPI.__call__ FastAPI.build_middleware_stack
        opentelemetry.trace: get_tracer_provider
        opentelemetry.metrics._internal: get_meter_provider
        opentelemetry._logs._internal: get_logger_provider
    """,
    FORMS: """
        fastapi.dependencies.utils: _extract_form_items _extract_form_body _extract_form_model
        fastapi.dependencies.utils: _read_file_bytes
        starlette.requests: Request.form Request._get_form
        starlette.datastructures: FormData.close UploadFile.close
    """,
}


def places(group: str) -> Iterator[tuple[str, str]]:
    """Yields module and name of each function of a group."""
    for line in PLACES[group].split("\n"):
        module, _, names = line.strip().partition(": ")
        for name in names.split():
            yield module, name
