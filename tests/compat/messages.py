"""Messages as SDKs send them, and what becomes of them."""

import json
from typing import Any

import msgspec

from nealytics.auth.grant import Grant
from nealytics.compat import posthog, segment
from nealytics.compat.message import event_of, paths_of
from nealytics.config import CompatConfig, IngestConfig
from nealytics.event import Event, Limits

NOW_MS = 1_796_040_600_000  # 2026-11-30T12:10:00Z
LIMITS = Limits.of(IngestConfig(), 90)
SERVER = Grant(0, "shop", "", "server")
TENANT = Grant(1, "shop", "acme", "server")
BROWSER = Grant(2, "shop", "", "browser", b"digest")
DRAFTS = {"segment": segment.draft, "posthog": posthog.draft}
TENANTS = paths_of(CompatConfig().tenant_from)


def raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(value if isinstance(value, bytes) else json.dumps(value).encode())


def event(
    api: str,
    message: object,
    *,
    shared: dict[str, object] | None = None,
    kind: str = "",
    grant: Grant = TENANT,
    tenant_from: tuple[str, ...] | None = None,
) -> Event:
    """Raises `InvalidEvent`."""
    sent = raw(message)
    draft = DRAFTS[api](sent, {name: raw(value) for name, value in (shared or {}).items()}, kind)
    paths = TENANTS if tenant_from is None else paths_of(tenant_from)
    return event_of(sent, draft, grant, paths, NOW_MS, LIMITS)


def metadata(event: Event) -> Any:
    return json.loads(event.metadata_json)
