"""Where ClickHouse is, and the user that requests are made as."""

from urllib.parse import urlsplit

import msgspec

from nealytics.clickhouse.embedded import LOOPBACK, Access, access_path, read_access
from nealytics.config import Config
from nealytics.errors import NealyticsError


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    url: str
    others: tuple[str, ...] = ()  # replicas of the same shard, used when `url` is not available
    embedded: bool = False  # the engine of this node: one server, and requests never leave the machine
    user: str = "default"
    password: str = ""
    database: str = "nealytics_core"

    @property
    def urls(self) -> tuple[str, ...]:
        return self.url, *self.others

    def where(self, url: str) -> str:
        """One of `urls` for messages, without a password that may be in it."""
        parts = urlsplit(url)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()

    def __repr__(self) -> str:
        return f"Endpoint({self._all}, user={self.user!r}, database={self.database!r})"

    def __str__(self) -> str:
        """For people, without the password."""
        return f"{self._all} (user {self.user}, database {self.database})"

    @property
    def _all(self) -> str:
        return ", ".join(map(self.where, self.urls))


def endpoint_of(config: Config) -> Endpoint:
    """The server that the configuration names, or the embedded engine that was started last. Raises
    `NealyticsError` if none was."""
    clickhouse = config.clickhouse
    if clickhouse.url == "embedded":
        access = read_access(config.server.data_dir)
        if access is None:
            raise NealyticsError(
                f"engine: there is no {access_path(config.server.data_dir)}, so no embedded ClickHouse runs "
                "there; start the node"
            )
        return embedded_endpoint(access, clickhouse.database, *access.user)
    first, *others = (url.rstrip("/") for url in clickhouse.urls)
    return Endpoint(
        url=first,
        others=tuple(others),
        user=clickhouse.user,
        password=clickhouse.password,
        database=clickhouse.database,
    )


def saved_endpoint(config: Config, access: Access | None) -> Endpoint | None:
    """The user of saved queries (`saved_reader`); None if the configuration of a server names none."""
    if access is not None:
        return embedded_endpoint(access, config.clickhouse.database, "saved", access.saved)
    saved = config.saved_queries
    if not saved.user:
        return None
    return msgspec.structs.replace(endpoint_of(config), user=saved.user, password=saved.password)


def embedded_endpoint(access: Access, database: str, user: str, password: str) -> Endpoint:
    return Endpoint(
        url=f"http://{LOOPBACK}:{access.port}", embedded=True, user=user, password=password, database=database
    )
