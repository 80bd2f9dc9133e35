"""A client for a SaaS's own back end: it sends events, mints tokens for tenants, and reads.

    client = Client("https://analytics.example.com", key, project_id="my-app")
    client.track("invoice_paid", tenant_id="acme", session_id="s-1", metadata={"total": 12.5})
    token = mint_token("my-app", "acme", key=secret)

`track` returns once the server has answered 202: the event is on its disk and will be counted exactly once.
Otherwise it raises, and the exception has the events. Id and time of an event are fixed before the first
attempt, so a retry, here or later, is counted once. There is no background thread and no queue in memory.

`AsyncClient` and `AsyncReader` are the same for asyncio. Importing this loads nothing of the server.
docs/python-client.md is the manual.
"""

from nealytics.client.aio import AsyncBatch, AsyncClient, AsyncReader
from nealytics.client.blocking import Batch, Client, Reader
from nealytics.client.errors import (
    ClientError,
    IncompleteExport,
    ReadError,
    RejectedError,
    Rejection,
    SendError,
)
from nealytics.client.events import Event, StoredEvent
from nealytics.client.sending import Sent
from nealytics.client.tokens import WHOLE_PROJECT, mint_token

__all__ = [
    "WHOLE_PROJECT",
    "AsyncBatch",
    "AsyncClient",
    "AsyncReader",
    "Batch",
    "Client",
    "ClientError",
    "Event",
    "IncompleteExport",
    "ReadError",
    "Reader",
    "RejectedError",
    "Rejection",
    "SendError",
    "Sent",
    "StoredEvent",
    "mint_token",
]
