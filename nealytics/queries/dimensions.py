"""By what events are told apart where an endpoint groups them: a column, or `meta:<path>`."""

from typing import Final

DIMENSIONS: Final = ("event_type", "item_id", "user_id", "session_id", "tenant_id")

# Those that mean something within a tenant only → the column of `events` that tells two tenants' apart.
OF_A_TENANT: Final = {"user_id": "user_key", "session_id": "session_key"}
