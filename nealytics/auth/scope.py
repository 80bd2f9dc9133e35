"""The one project and tenant a reader is confined to."""

import msgspec


class Scope(msgspec.Struct, frozen=True):
    project_id: str
    tenant_id: str
