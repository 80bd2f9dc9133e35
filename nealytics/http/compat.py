"""The routes of Segment's and PostHog's APIs, each if its setting is on.

They are not in /openapi.json: their forms are the vendors' own, for SDKs that exist, and a client that is
generated from our document must not use them.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec
from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from nealytics.auth.writers import Writers
from nealytics.commit.rejected import RejectedEvents
from nealytics.compat import posthog, segment, stubs
from nealytics.compat.message import paths_of
from nealytics.compat.receiver import Api, Receiver
from nealytics.config import Config
from nealytics.ingest.handlers import expect
from nealytics.ingest.intake import Intake

SEGMENT = Api("segment", segment.ROUTES, segment.KEY_FIELDS, segment.SHARED, segment.draft, {"success": True})
# 503: posthog-js sends again after a status in the 500s only, and drops the events after a 429.
POSTHOG = Api(
    "posthog",
    posthog.ROUTES,
    posthog.KEY_FIELDS,
    posthog.SHARED,
    posthog.draft,
    {"status": 1},
    busy_status=503,
)

# What pages call: SDKs of browsers need CORS.
PREFIXES = tuple(
    sorted(
        {
            f"/{path.split('/')[1]}/"
            for path in (*segment.ROUTES, *posthog.ROUTES, posthog.FLAGS, posthog.CONFIG)
        }
    )
)
# Of the application, whose ingest routes take the same steps.
INTAKE: web.AppKey[Intake] = web.AppKey("intake", Intake)
# Their variable part is a key.
_KEYED = re.compile("(/v1/projects/|/array/)[^/]+")
# Settings change with a release of this server.
_CACHED = {hdrs.CACHE_CONTROL: "max-age=300"}


def add_compat_routes(
    app: web.Application, config: Config, writers: Writers, rejected: RejectedEvents
) -> None:
    app.cleanup_ctx.append(lambda _: _expiring(rejected))
    compat = config.compat
    if compat.segment:
        _add_receiver(app, SEGMENT, config, compat.segment_body_bytes_max, writers, rejected)
        _add_segment_stubs(app, config)
    if compat.posthog:
        _add_receiver(app, POSTHOG, config, compat.posthog_body_bytes_max, writers, rejected)
        _add_posthog_stubs(app, config)


def without_key(path: str) -> str:
    """The path as a log may show it."""
    return _KEYED.sub(r"\1…", path)


async def _expiring(rejected: RejectedEvents) -> AsyncIterator[None]:
    task = asyncio.create_task(rejected.run())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _add_receiver(
    app: web.Application,
    api: Api,
    config: Config,
    body_bytes_max: int,
    writers: Writers,
    rejected: RejectedEvents,
) -> None:
    receiver = Receiver(
        api,
        config,
        body_bytes_max=body_bytes_max,
        tenants=paths_of(config.compat.tenant_from),
        writers=writers,
        intake=app[INTAKE],
        rejected=rejected,
    )
    for path, handler in receiver.routes().items():
        app.router.add_post(path, handler, expect_handler=expect)


def _add_segment_stubs(app: web.Application, config: Config) -> None:
    app.router.add_post(segment.METRICS, _answering(lambda _: {"success": True}))
    settings = _answering(lambda request: stubs.segment_settings(request.match_info["key"]))
    for prefix in _prefixes(config):
        app.router.add_get(prefix + segment.SETTINGS, settings)


def _add_posthog_stubs(app: web.Application, config: Config) -> None:
    flags = _answering(lambda _: stubs.posthog_flags())
    app.router.add_post(posthog.FLAGS, flags)
    app.router.add_get(posthog.FLAGS, flags)
    settings = _answering(lambda request: stubs.posthog_config(request.match_info["token"]))
    for prefix in _prefixes(config):
        app.router.add_get(prefix + posthog.CONFIG, settings)


def _prefixes(config: Config) -> dict[str, None]:
    """A path with a variable part is matched as it is, so with `server.path_prefix`, too."""
    return dict.fromkeys(("", config.server.path_prefix))


def _answering(content: Callable[[web.Request], dict[str, Any]]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        return web.Response(
            body=msgspec.json.encode(content(request)), content_type="application/json", headers=_CACHED
        )

    return answer
