"""The columns by which an endpoint groups events, beside `meta:<path>`."""

from typing import Final

DIMENSIONS: Final = ("event_type", "item_id", "user_id", "session_id", "tenant_id")

# Columns that are unique within a tenant only → the column of `events` that is unique in a project.
OF_A_TENANT: Final = {"user_id": "user_key", "session_id": "session_key"}
