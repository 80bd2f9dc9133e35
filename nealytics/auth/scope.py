"""What a reader sees: a project, a tenant in it, and the further restrictions of the token."""

import math

import msgspec


class Scope(msgspec.Struct, frozen=True):
    """Taken from a verified token and from nothing else in a request."""

    project_id: str
    tenant_id: str | None  # None: all tenants of the project, by a token with scope "project"
    filters: tuple[str, ...] = ()  # in the filter grammar, not parsed; all of them apply to every query
    endpoints: frozenset[str] | None = None  # names such as "timeline"; None = all
    rps: float | None = None  # requests per second of everyone with this `key`; None = unlimited
    expires_at_s: float = math.inf  # when the token expires; a stream that is still open then is closed
    key: str = ""  # the subject for which requests and streams are counted
