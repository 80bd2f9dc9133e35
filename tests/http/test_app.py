"""What every answer carries, how errors look, and which pages may call (S15)."""

import json

import pytest
from aiohttp import web

from nealytics.clickhouse.errors import ClickHouseUnavailable
from nealytics.config import ServerConfig
from nealytics.errors import Refused
from nealytics.http import app as app_module
from tests.fakes.worker import ANY, BATCH, BEACON, BOUND, TRACK, event, serving
from tests.http.reader import TIMELINE, reader_of

SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "X-XSS-Protection": "0",
    "Referrer-Policy": "strict-origin-when-cross-origin",
    "Server": "nealytics",
}
ORIGIN = {"Origin": "https://shop.example"}


@pytest.fixture
def extra_routes(monkeypatch):
    """Routes such as owner modules add: they raise, fail, or answer."""

    async def refuses(_request: web.Request) -> web.Response:
        raise Refused(403, "forbidden", "no", detail="ask", field="k", headers={"Retry-After": "7"})

    async def fails(_request: web.Request) -> web.Response:
        raise ValueError("secret detail")

    async def answers(_request: web.Request) -> web.Response:
        return web.json_response({"ok": True})

    build = app_module.build_app

    def with_routes(*args, **kwargs):
        app = build(*args, **kwargs)
        app.router.add_get("/api/v1/refuses", refuses)
        app.router.add_get("/api/v1/fails", fails)
        app.router.add_get("/api/v1/answers", answers)
        app.router.add_get("/health", answers)
        return app

    monkeypatch.setattr("tests.fakes.worker.build_app", with_routes)


async def test_every_answer_carries_the_security_headers(extra_routes):
    async with serving() as worker:
        answers = [
            await worker.post(TRACK, event()),
            await worker.post(TRACK, {}),
            await worker.post(TRACK, event(), headers=ORIGIN),
            await worker.post(BEACON, [event()]),
            await worker.post(BATCH, [event()]),
            await worker.post(TRACK, event(), key="wrong"),
            await worker.get(TRACK),
            await worker.get("/nothing"),
            await worker.get("/health"),
            await worker.get("/api/v1/refuses"),
            await worker.get("/api/v1/fails"),
        ]
        assert [a.status for a in answers] == [202, 400, 202, 204, 202, 401, 405, 404, 200, 403, 500]
        for answer in answers:
            assert {name: answer.headers.get(name) for name in SECURITY} == SECURITY
            assert len(answer.headers.getall("Server")) == 1


async def test_errors_of_all_kinds_are_json_with_code_message_and_detail(extra_routes):
    async with serving() as worker:
        for path, expected in (
            ("/api/v1/refuses", (403, "forbidden", "k")),
            ("/api/v1/fails", (500, "internal_error", None)),
            ("/nothing", (404, "not_found", None)),
            (TRACK, (405, "method_not_allowed", None)),
        ):
            answer = await worker.get(path)
            assert answer.error == expected
            assert answer.headers["Content-Type"].startswith("application/json")
        assert (await worker.get("/api/v1/refuses")).headers["Retry-After"] == "7"
        assert (await worker.get(TRACK)).headers["Allow"] == "POST"
        wrong = await worker.post("/health", event())
        assert wrong.json["detail"] == "Use GET or HEAD."
        assert b"secret detail" not in (await worker.get("/api/v1/fails")).body


async def test_connection_survives_an_internal_error(extra_routes):
    async with serving() as worker:
        assert (await worker.get("/api/v1/fails")).status == 500
        assert (await worker.get("/api/v1/answers")).json == {"ok": True}


async def test_ready_made_answer_says_the_same_as_a_built_one():
    """The ready bytes of an empty 202 and 204 against aiohttp's, which a page's request gets."""
    async with serving() as worker:
        for path, body in ((TRACK, event()), (BEACON, [event()])):
            ready = await worker.post(path, body)
            built = await worker.post(path, body, headers={"Origin": "null"})
            cors = {name for name in built.headers if name.startswith("Access-Control-")}
            own = {"Date", "X-Request-ID"}  # which differ
            assert own < set(ready.headers)
            assert {name: value for name, value in ready.headers.items() if name not in own} == {
                name: value for name, value in built.headers.items() if name not in cors | own
            }
            assert set(ready.headers) == set(built.headers) - cors


# CORS


@pytest.mark.parametrize("origin", ["https://shop.example", "http://localhost:3000", "null"])
@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", TRACK),
        ("POST", BEACON),
        ("POST", BATCH),
        ("GET", "/api/v1/answers"),
        ("GET", "/api/v1/refuses"),
    ],
)
async def test_any_origin_is_echoed_with_credentials_while_no_list_is_set(extra_routes, origin, method, path):
    async with serving() as worker:
        if method == "POST":
            answer = await worker.post(path, [event()], headers={"Origin": origin})
        else:
            answer = await worker.get(path, headers={"Origin": origin})
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        exposed = answer.headers["Access-Control-Expose-Headers"].split(", ")
        assert {"Date", "Retry-After", "X-Request-Id", "ETag", "Nealytics-Warnings", "RateLimit-Reset"} <= {
            *exposed
        }
        assert answer.headers["Vary"] == "Origin"


async def test_errors_have_cors_too_or_the_page_could_not_read_them():
    async with serving(rate_limit_requests=1, rate_limit_window_s=60, rate_limit_queue_max=0) as worker:
        statuses = [(await worker.post(TRACK, event(), headers=ORIGIN)) for _ in range(2)]
        assert [answer.status for answer in statuses] == [202, 429]
        unauthorized = await worker.post(TRACK, event(), key="wrong", headers=ORIGIN)
        for answer in (*statuses, unauthorized):
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]


@pytest.mark.parametrize(
    "asked",
    [
        "content-type,x-project-key",
        "authorization, if-none-match, last-event-id",
        "baggage,content-type,sentry-trace,traceparent,tracestate,x-requested-with",
        "b3,uber-trace-id,x-amzn-trace-id,x-b3-traceid,x-cloud-trace-context,x-datadog-trace-id",
    ],
)
async def test_preflight_allows_what_pages_send_monitoring_included(asked):
    """Sentry and OpenTelemetry add headers to every request of a page; one that is not allowed stops it."""
    async with serving() as worker:
        for path in (TRACK, BEACON, BATCH):
            async with worker.client.options(
                path,
                headers={
                    **ORIGIN,
                    "Access-Control-Request-Method": "POST",
                    "Access-Control-Request-Headers": asked,
                },
            ) as answer:
                assert answer.status == 204
                assert await answer.read() == b""
                assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]
                assert answer.headers["Access-Control-Allow-Credentials"] == "true"
                assert answer.headers["Access-Control-Allow-Methods"] == "GET, POST"
                assert answer.headers["Access-Control-Allow-Headers"] == asked
                assert answer.headers["Access-Control-Max-Age"] == "86400"
                assert answer.headers["Vary"] == "Origin, Access-Control-Request-Headers"


@pytest.mark.parametrize("asked", ["", "a b", "content-type,", "x: y", "é", "x;y", "content-type,,x"])
async def test_preflight_repeats_nothing_but_names_of_headers(asked):
    headers = {
        **ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": asked,
    }
    async with serving() as worker, worker.client.options(TRACK, headers=headers) as answer:
        assert answer.status == 204
        assert "Access-Control-Allow-Headers" not in answer.headers


@pytest.mark.parametrize(
    ("path", "body", "options", "status"),
    [
        (TRACK, b"{", {}, 400),
        (TRACK, event(), {"key": "wrong"}, 401),
        (BATCH, event(), {"key": None}, 401),
        (BEACON, event(projectId="blog"), {"key": BOUND}, 403),
        (TRACK + "/nothing", event(), {}, 404),
        (BATCH, b"x" * 2_000, {}, 413),
        (BATCH, event(), {"headers": {"Content-Encoding": "zip"}}, 415),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_errors_can_be_read_by_the_page_that_caused_them(path, body, options, status):
    """Without CORS a browser says "network error", whatever the answer says."""
    headers = {**ORIGIN, **options.pop("headers", {})}
    async with serving(body_bytes_max=1_000) as worker:
        answer = await worker.post(path, body, headers=headers, **options)
        assert answer.status == status
        assert answer.json["message"]
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN["Origin"]


async def test_preflight_of_a_read_route_works_and_of_nothing_does_not(extra_routes):
    headers = {**ORIGIN, "Access-Control-Request-Method": "GET"}
    async with serving() as worker:
        async with worker.client.options("/api/v1/answers", headers=headers) as answer:
            assert answer.status == 204
        async with worker.client.options("/api/v1/nothing", headers=headers) as answer:
            assert answer.status == 404
        async with worker.client.options("/api/v1/answers") as answer:
            assert answer.status == 405  # not a preflight


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "https://shop.example.evil.example", ""])
async def test_only_listed_origins_may_call_when_there_is_a_list(origin):
    server = ServerConfig(cors_allowed_origins=("https://shop.example", "https://b.example/"))
    async with serving(server=server) as worker:
        for headers in (ORIGIN, {"Origin": "https://b.example"}):
            allowed = await worker.post(TRACK, event(), headers=headers)
            assert allowed.headers["Access-Control-Allow-Origin"] == headers["Origin"]
        other = await worker.post(TRACK, event(), headers={"Origin": origin})
        assert "Access-Control-Allow-Origin" not in other.headers
        assert "Access-Control-Allow-Credentials" not in other.headers
        assert other.headers["Vary"] == "Origin"
        preflight = {"Origin": origin, "Access-Control-Request-Method": "POST"}
        async with worker.client.options(TRACK, headers=preflight) as answer:
            assert not [name for name in answer.headers if name.startswith("Access-Control-")]


async def test_no_answer_ever_allows_every_origin():
    async with serving() as worker:
        for headers in (ORIGIN, {"Origin": "*"}, {}):
            answer = await worker.post(TRACK, event(), headers=headers)
            if answer.headers.get("Access-Control-Allow-Origin") == "*":
                assert headers == {"Origin": "*"}, "only an echo"


async def test_health_has_no_cors(extra_routes):
    async with serving() as worker:
        answer = await worker.get("/health", headers=ORIGIN)
        assert "Access-Control-Allow-Origin" not in answer.headers
        assert "Vary" not in answer.headers


async def test_key_in_the_query_works_beside_other_parameters():
    async with serving() as worker:
        answer = await worker.post(BEACON, json.dumps(event()).encode(), params={"v": "2", "k": ANY})
        assert answer.status == 204


async def test_names_of_parameters_have_no_case_as_in_the_csharp_engine():
    async with reader_of(ClickHouseUnavailable("must not be asked")) as reader:
        for query in ("Limit=ten", "limit=1&LIMIT=2"):
            status, body, _ = await reader.get(f"{TIMELINE}?{query}")
            assert (status, body["field"]) == (400, "limit")
