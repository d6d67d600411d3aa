"""Which tests of other projects are run, and which of them fail for a reason."""

from dataclasses import dataclass, field

A_PROBLEM_DOCUMENT = "what is malformed is answered with a problem document"
NO_WARNING = "an Upgrade that is not spoken is ignored without a line: a client could fill the log"
OUR_LIMIT = "a head has a limit of 32 KiB"
HTTP_DIFFERENCES = {
    "huge_headers_httptools": OUR_LIMIT,
    "huge_headers_httptools_will_pass": OUR_LIMIT,
    "invalid_http_request[httptools-invalid-http-version]": A_PROBLEM_DOCUMENT,
    "invalid_http_request[httptools-invalid-method]": A_PROBLEM_DOCUMENT,
    "invalid_http_request[httptools-invalid-path]": A_PROBLEM_DOCUMENT,
    "header_upgrade_is_not_websocket_depend_installed[httptools]": NO_WARNING,
    "header_upgrade_is_websocket_depend_not_installed[httptools]": NO_WARNING,
    "unsupported_ws_upgrade_request_warn_on_auto[httptools]": NO_WARNING,
    "keepalive_timeout_with_pipelined_requests[httptools]": (
        "reads Uvicorn's private timer; ours is one for many requests"
    ),
    "max_concurrency[httptools]": (
        "limit_concurrency counts idle connections; COACHMAN_CONNECTIONS is in its place"
    ),
    "message_after_body_complete[httptools]": (
        "an exception behind a complete response leaves the connection open"
    ),
}

ON_A_FILE = "[sqlite:///stock.db]"
PRIVATE = "looks at private attributes of what is replaced"
NO_RAW_CONNECTION = "raw_connection is refused: what is sent past the database would not wait for its turn"
A_FILE_ALONE = "a database in memory is refused, as are its options: each worker would have its own"
DATABASE_DIFFERENCES = {
    f"queries_after_error{ON_A_FILE[:-1]}-Exception]": PRIVATE,
    f"queries_after_error{ON_A_FILE[:-1]}-CancelledError]": PRIVATE,
    f"connection_cleanup_contextmanager{ON_A_FILE}": PRIVATE,
    f"connection_cleanup_garbagecollector{ON_A_FILE}": PRIVATE,
    f"transaction_context_cleanup_contextmanager{ON_A_FILE}": PRIVATE,
    f"transaction_context_cleanup_garbagecollector{ON_A_FILE}": PRIVATE,
    f"transaction_context_sibling_task_isolation{ON_A_FILE}": PRIVATE,
    f"transaction_context_sibling_task_isolation_example{ON_A_FILE}": (
        "transaction() is BEGIN IMMEDIATE: a second one waits, but transaction(readonly=True) does not"
    ),
    f"connection_context_with_raw_connection{ON_A_FILE}": NO_RAW_CONNECTION,
    f"queries_with_expose_backend_connection{ON_A_FILE}": NO_RAW_CONNECTION,
    "should_maintain_ref_when_cache_param": A_FILE_ALONE,
    "should_not_maintain_ref_when_no_cache_param": A_FILE_ALONE,
    "should_remove_ref_on_disconnect": A_FILE_ALONE,
}


@dataclass(frozen=True)
class Suite:
    """One file of tests, out of the sdist of the version that is installed."""

    package: str
    tests: str
    plugin: str  # of pytest, in this folder: it puts our class into the place of theirs
    differences: dict[str, str]  # the tests that fail, without "test_", and why they must
    options: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


IN_UVICORN, IN_DATABASES = "coachman_in_uvicorn", "coachman_in_databases"
ON_HTTPTOOLS = ("-k", "httptools")
SUITES = (
    Suite("uvicorn", "tests/protocols/test_http.py", IN_UVICORN, HTTP_DIFFERENCES, ON_HTTPTOOLS),
    Suite("uvicorn", "tests/protocols/test_websocket.py", IN_UVICORN, {}, ON_HTTPTOOLS),
    Suite(
        "databases",
        "tests/test_databases.py",
        IN_DATABASES,
        DATABASE_DIFFERENCES,
        ("-c", "setup.cfg", "-W", "ignore::pytest.PytestRemovedIn10Warning"),
        {"TEST_DATABASE_URLS": "sqlite:///stock.db"},
    ),
)
