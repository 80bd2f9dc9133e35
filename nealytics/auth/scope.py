"""What a token opens: events to read (`Scope`) or the admin routes (`AdminScope`), never both."""

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


class AdminScope(msgspec.Struct, frozen=True):
    """What an admin token may administer. It reads no events."""

    project_id: str | None  # None: all projects
    subject: str  # who: the token's `sub`, or empty

    def permits(self, project_id: str) -> bool:
        return self.project_id in (None, project_id)
