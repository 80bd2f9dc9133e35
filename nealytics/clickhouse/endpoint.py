"""Where ClickHouse is, and the user that requests are made as."""

from urllib.parse import urlsplit

import msgspec

from nealytics.clickhouse.embedded import socket_path
from nealytics.config import Config


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    others: tuple[str, ...] = ()  # replicas of the same shard, used when `url` is not available
    unix_socket: str | None = None
    user: str = "default"
    password: str = ""
    database: str = "nealytics_core"

    @property
    def urls(self) -> tuple[str, ...]:
        return self.url, *self.others

    @property
    def embedded(self) -> bool:
        """Whether this is the engine of this node: one server, and requests never leave the machine."""
        return self.unix_socket is not None

    def where(self, url: str) -> str:
        """One of `urls` for messages, without a password that may be in it."""
        if self.unix_socket:
            return self.unix_socket
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def __repr__(self) -> str:
        return f"Endpoint({self._all}, user={self.user!r}, database={self.database!r})"

    def __str__(self) -> str:
        """For people, without the password."""
        return f"{self._all} (user {self.user}, database {self.database})"

    @property
    def _all(self) -> str:
        return f"unix:{self.unix_socket}" if self.unix_socket else ", ".join(map(self.where, self.urls))


def endpoint_of(config: Config) -> Endpoint:
    """The server that the configuration names, or the embedded engine's socket."""
    clickhouse = config.clickhouse
    if clickhouse.url == "embedded":
        return Endpoint(
            # The host is never looked up; it only fills the Host header.
            url="http://embedded",
            unix_socket=str(socket_path(config.server.data_dir)),
            database=clickhouse.database,
        )
    first, *others = (url.rstrip("/") for url in clickhouse.urls)
    return Endpoint(
        url=first,
        others=tuple(others),
        user=clickhouse.user,
        password=clickhouse.password,
        database=clickhouse.database,
    )
