"""What the blocking client and that of asyncio share: how a client, a reader and a transport are made."""

import ssl
from typing import Generic, TypeVar

from nealytics.client.events import Event, Fields, event_of
from nealytics.client.exchange import checked_patience, checked_secret, checked_url
from nealytics.client.reading import Reading
from nealytics.client.sending import GZIP, Sending

TokenT = TypeVar("TokenT")
TransportT = TypeVar("TransportT", bound="TransportBase")


class TransportBase:
    """Executes steps (`exchange.Steps`) at one address. `token` is a token, or a function that gives one."""

    def __init__(self, url: str, ssl_context: ssl.SSLContext | None, token: object = "") -> None:
        self.url = checked_url(url)
        self._ssl_context = ssl_context
        self._token_source = token
        self._token = token if isinstance(token, str) else ""
        self._closed = False

    def _check_open(self) -> None:
        if self._closed:
            raise RuntimeError("the client is closed")


class ClientBase(Generic[TransportT]):
    _transport_type: type[TransportT]

    def __init__(
        self,
        url: str,
        key: str,
        *,
        project_id: str = "",
        timeout_s: float = 10.0,
        give_up_after_s: float = 30.0,
        compress: bool = True,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._project_id = project_id
        self._transport = self._transport_type(url, ssl_context)
        self._sending = Sending(
            self._transport.url,
            checked_secret("key", key),
            checked_patience(timeout_s, give_up_after_s),
            codec=GZIP if compress else None,
        )

    def _event(self, event_type: str, fields: Fields) -> Event:
        return event_of(event_type, fields, self._project_id)


class ReaderBase(Generic[TransportT, TokenT]):
    _transport_type: type[TransportT]

    def __init__(
        self,
        url: str,
        token: TokenT,
        *,
        timeout_s: float = 60.0,
        give_up_after_s: float = 60.0,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._transport = self._transport_type(url, ssl_context, token)
        self._reading = Reading(self._transport.url, checked_patience(timeout_s, give_up_after_s))
