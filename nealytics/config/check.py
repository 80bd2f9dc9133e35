"""What the bounds of a single key cannot say: addresses, keys, and values that depend on each other.

Each finding is one sentence that names the key, its value and the fix. It never contains a secret's value.
"""

import contextlib
import difflib
import hashlib
import ipaddress
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from nealytics.client_address import network_of
from nealytics.config.csharp import HTTP_PORT_OF
from nealytics.config.pem import public_key
from nealytics.config.tables import (
    LIMIT_DEFAULT,
    ApiKey,
    AuthConfig,
    BackupConfig,
    ClickHouseConfig,
    CompatConfig,
    Config,
    IssuerConfig,
    QuotaRule,
    RetentionRule,
    SavedQueriesConfig,
    SegmentRule,
)
from nealytics.errors import ConfigError

JWT_KEY_BYTES_MIN = 32
KID_CHARS_MAX = 256
CLAIM_NAME_CHARS_MAX = 256
_SEGMENT_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
# Claims that the users of an identity provider can write themselves: Supabase and Auth0, and Clerk.
USERS_OWN_CLAIMS = frozenset({"user_metadata", "raw_user_meta_data", "unsafe_metadata"})
# One statement contains all rules: far more would exceed ClickHouse's limit of its size.
RETENTION_RULES_MAX = 1_000
MAKE_A_KEY = "make one with: openssl rand -base64 48"

_DATABASE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,127}")
_SAVED_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_CLUSTER = re.compile(r"[A-Za-z0-9_.{}-]{1,128}")
_KEY_PAIR = re.compile(r"-----BEGIN|^ssh-|^ecdsa-")
_TEMPLATE = re.compile(r"[^{}]*/\{[^{}/]+\}(/[^{}]*)?")
_PATH_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]+)+")
_BUCKET_IN_HOST = re.compile(r"(.+)\.(?:s3express[-a-z0-9]+|s3|cos|obs|oss|eos)(?:[.-].*)?")
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{2,62}")
_S3_PATH = re.compile(r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*/?")
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[^/\s:@?#\[\]]+)(:\d+)?")


def split_listen(listen: str) -> tuple[str, int]:
    """`"[::1]:5000"` → `("::1", 5000)`. Raises `ValueError` for anything but host:port."""
    host, colon, port = listen.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
        valid = ":" in host
    else:
        valid = ":" not in host
    if not (colon and host and valid and port.isascii() and port.isdigit() and int(port) <= 65_535):
        raise ValueError(listen)
    if not re.fullmatch(r"[A-Za-z0-9._:%-]+", host):
        raise ValueError(listen)
    return host, int(port)


def key_digest(key: ApiKey) -> bytes | None:
    """SHA-256 of the key, which is enough to recognize it; `None` if it is not usable."""
    if key.key:
        return hashlib.sha256(key.key.encode("utf-8", "surrogatepass")).digest()
    try:
        digest = bytes.fromhex(key.key_sha256)
    except ValueError:
        return None
    return digest if len(digest) == 32 else None


def problems(config: Config) -> list[str]:
    """Everything that makes the configuration wrong for any command."""
    auth, chars_max = config.auth, config.ingest.identifier_chars_max
    found = [
        *_addresses(config),
        *_shared_secret("auth.jwt_key", auth.jwt_key),
        *_shared_secret("auth.jwt_key_previous", auth.jwt_key_previous),
        *_api_keys(auth, chars_max),
        *_jwt_keys(auth),
        *_jwks(auth),
        *_claims("auth", auth, chars_max),
        *_issuers(auth, chars_max),
        *_clickhouse(config.clickhouse),
        *_saved_queries(config.saved_queries),
        *_compat(config.compat),
        *_log(config),
        *_backup(config.backup),
        *_retention(config.retention, chars_max),
        *_quotas(config.quota, chars_max),
        *_segments(config.segment, chars_max),
    ]
    return [f"config: {problem}" for problem in found]


def _saved_queries(saved: SavedQueriesConfig) -> Iterator[str]:
    # It is written into statements that an administrator of ClickHouse runs.
    if saved.user and not _SAVED_USER.fullmatch(saved.user):
        yield (
            f'saved_queries.user is "{saved.user}"; write a name of letters, digits and _ that does not '
            "start with a digit"
        )


def serving_problems(config: Config) -> list[str]:
    """What only `serve` needs."""
    found = []
    auth = config.auth
    if not (auth.jwt_key or auth.jwt_key_previous or auth.jwt_keys or auth.jwks_url or auth.issuers):
        found.append(
            f"config: auth.jwt_key is not set, so no token can be verified; {MAKE_A_KEY} (or run `nealytics "
            "init` "
            "to write a whole configuration, or set the keys of another service in auth.jwt_keys, "
            "auth.jwks_url or auth.issuers)"
        )
    for name, ca_file in (
        ("clickhouse.ca_file", config.clickhouse.ca_file),
        ("auth.jwks_ca_file", auth.jwks_ca_file),
    ):
        if ca_file and not Path(ca_file).is_file():
            found.append(
                f'config: {name} is "{ca_file}" and this file does not exist; name the PEM file of the '
                "certificate authority"
            )
    return found


def require_serving(config: Config) -> Config:
    """The configuration itself. Raises `ConfigError` if it is enough for a command but not for `serve`."""
    if found := serving_problems(config):
        raise ConfigError(*found)
    return config


def notes(config: Config) -> list[str]:
    """What is allowed and probably not meant."""
    return [*_server_notes(config), *_auth_notes(config.auth), *_clickhouse_notes(config.clickhouse)]


def _server_notes(config: Config) -> Iterator[str]:
    if not config.auth.api_keys:
        yield (
            "auth: no API keys are configured, so every ingest request gets 401; add one under "
            "[[auth.api_keys]]"
        )
    for proxy in config.server.trusted_proxies:
        if network_of(proxy).prefixlen == 0:
            yield (
                f'config: server.trusted_proxies has "{proxy}", which includes every client, so each can '
                "choose its address; list only the proxies"
            )
    limit_max = config.query.limit_max
    if limit_max < LIMIT_DEFAULT:
        yield (
            f"config: query.limit_max is {limit_max}, below the default limit of {LIMIT_DEFAULT}, "
            f"so reads without a limit return at most {limit_max}, too"
        )


def _auth_notes(auth: AuthConfig) -> Iterator[str]:
    if auth.jwks_url and not auth.jwt_audience:
        yield (
            "auth: auth.jwks_url is set and auth.jwt_audience is not, so tokens that this issuer signed for "
            "other services "
            "are accepted too; set auth.jwt_audience"
        )
    for i, issuer in enumerate(auth.issuers):
        if not issuer.audience and not issuer.required_claims:
            yield (
                f"auth: auth.issuers[{i}] ({issuer.issuer}) has no audience and no required_claims, so "
                "tokens that this issuer "
                'signed for other services are accepted too; set one of them, or audience = "*" if it signs '
                "for this service only"
            )
    claims = {"auth": auth.tenant_claim}
    claims |= {f"auth.issuers[{i}]": issuer.tenant_claim for i, issuer in enumerate(auth.issuers)}
    for where, claim in claims.items():
        if claim.split(".")[0] in USERS_OWN_CLAIMS:
            yield (
                f'auth: {where}.tenant_claim is "{claim}", which users can change themselves, '
                "so they could read "
                "any tenant; name a claim that only your service can set (app_metadata)"
            )
    key_sets = [auth.jwks_url, *(issuer.jwks_url for issuer in auth.issuers)]
    if auth.jwks_ca_file and not any(url.startswith("https:") for url in key_sets):
        yield "config: auth.jwks_ca_file has no effect, because no key set is at an https address"


def _clickhouse_notes(clickhouse: ClickHouseConfig) -> Iterator[str]:
    if clickhouse.url == "embedded":
        if clickhouse.password:
            yield (
                "config: clickhouse.password is set and the embedded engine does not use it; "
                "did you mean clickhouse.embedded_password?"
            )
        return
    if clickhouse.embedded_listen:
        yield (
            f'config: clickhouse.embedded_listen has no effect, because clickhouse.url is "{clickhouse.url}"'
        )
    if clickhouse.ca_file and {urlsplit(url).scheme for url in clickhouse.urls} == {"http"}:
        yield f'config: clickhouse.ca_file has no effect, because clickhouse.url is "{clickhouse.url}"'
    for url in clickhouse.urls:
        port = urlsplit(url).port
        if port in HTTP_PORT_OF:
            yield (
                f'config: clickhouse.url is "{url}" and {port} is usually the native port; '
                f"the HTTP interface of ClickHouse usually has {HTTP_PORT_OF[port]}"
            )


# Problems, without the "config: " in front of each


def _addresses(config: Config) -> Iterator[str]:
    for key, listen, example in (
        ("server.listen", config.server.listen, "0.0.0.0:5000"),
        ("clickhouse.embedded_listen", config.clickhouse.embedded_listen or "[::1]:0", "127.0.0.1:8123"),
    ):
        try:
            split_listen(listen)
        except ValueError:
            yield f'{key} is "{listen}" and is not host:port; write e.g. "{example}" or "[::1]:5000"'
    for proxy in config.server.trusted_proxies:
        try:
            network_of(proxy)
        except ValueError:
            yield (
                f'server.trusted_proxies has "{proxy}", which is neither an address nor a network; write '
                'e.g. "10.0.0.7" or "10.0.0.0/8"'
            )
    prefix = config.server.path_prefix
    if prefix and not _PATH_PREFIX.fullmatch(prefix):
        yield f'server.path_prefix is "{prefix}"; write a path without a slash at its end, e.g. "/analytics"'
    how = 'write scheme and host in lower case, without a path, e.g. "https://app.example.com"'
    for origin in config.server.cors_allowed_origins:
        if origin != "null" and not _ORIGIN.fullmatch(origin):
            yield f'server.cors_allowed_origins has "{origin}", which no browser sends as Origin; {how}'
    for origin in config.web.frame_ancestors:
        if not _ORIGIN.fullmatch(origin):
            yield f'web.frame_ancestors has "{origin}", which is not an origin; {how}'


def _shared_secret(name: str, secret: str) -> Iterator[str]:
    size = len(secret.encode())
    if not secret:
        return
    if _KEY_PAIR.search(secret):
        # Half of such a pair is public: anyone could sign with it. PyJWT refuses it for every token.
        yield f"{name} is half of a key pair and must be a shared secret; {MAKE_A_KEY}"
    elif not secret.strip():
        yield f"{name} is nothing but white space, which anyone can guess; {MAKE_A_KEY}"
    elif size < JWT_KEY_BYTES_MIN:
        yield f"{name} has {size} bytes and needs at least {JWT_KEY_BYTES_MIN}; {MAKE_A_KEY}"


def _api_keys(auth: AuthConfig, identifier_chars_max: int) -> Iterator[str]:
    seen: dict[bytes, int] = {}
    for i, key in enumerate(auth.api_keys):
        where = f"auth.api_keys[{i}]"
        for problem in _api_key(key, identifier_chars_max):
            yield f"{where} {problem}"
        digest = key_digest(key)
        if digest in seen:
            yield f"{where} is the same key as auth.api_keys[{seen[digest]}]; remove one of them"
        elif digest is not None:
            seen[digest] = i


def _api_key(key: ApiKey, identifier_chars_max: int) -> Iterator[str]:
    if bool(key.key) == bool(key.key_sha256):
        yield f"has {'both key and' if key.key else 'neither key nor'} key_sha256; give exactly one of them"
    if key.key_sha256 and not re.fullmatch(r"[0-9A-Fa-f]{64}", key.key_sha256):
        yield "has a key_sha256 that is not 64 hexadecimal digits; make it with: printf %s KEY | sha256sum"
    if key.key != key.key.strip() or not key.key.isprintable():
        yield (
            "has a key with surrounding white space or control characters, which no request can send; remove "
            "them"
        )
    if key.kind == "browser" and not key.project:
        yield (
            "is a browser key and not bound to a project, so any visitor could write to any project; add "
            'project = "…"'
        )
    if key.tenant and not key.project:
        yield f'is bound to tenant "{key.tenant}" without a project; add project = "…"'
    for name, value in (("project", key.project), ("tenant", key.tenant)):
        if len(value) > identifier_chars_max:
            yield (
                f"has a {name} of {len(value)} characters, at most {identifier_chars_max} are accepted; "
                "shorten it or raise ingest.identifier_chars_max"
            )
        if value and not value.strip():
            yield f"has a {name} of white space only, which no event can carry; remove it"


def _jwt_keys(auth: AuthConfig) -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, key in enumerate(auth.jwt_keys):
        where = f"auth.jwt_keys[{i}]"
        if key.algorithm == "HS256":
            yield from _shared_secret(where, key.key)
        else:
            try:
                public_key(key.key, key.algorithm)
            except ValueError as error:
                place = f'.public_key_file, "{key.public_key_file}",' if key.public_key_file else ".key"
                yield f"{where}{place} {error}"
        if len(key.kid) > KID_CHARS_MAX or not key.kid.isprintable():
            yield (
                f"{where} has a kid of {len(key.kid)} characters; write at most {KID_CHARS_MAX} printable "
                "ones, "
                "as in the header of the tokens"
            )
        # A token names its key by the kid alone. Shared secrets may do without: each is tried.
        name = key.kid or ("" if key.algorithm == "HS256" else f"none, {key.algorithm}")
        other = f"auth.jwt_keys[{seen.get(name)}]"
        if name in seen and key.kid:
            yield f'{where} has the kid "{key.kid}" of {other}; give each key its own kid'
        elif name in seen:
            yield (
                f"{where} is a second {key.algorithm} key without a kid, as {other} is; write the kid from "
                "the header of its tokens"
            )
        elif name:
            seen[name] = i


def _jwks(auth: AuthConfig) -> Iterator[str]:
    if auth.jwks_url:
        yield from _jwks_url("auth.jwks_url", auth.jwks_url)
    if (auth.jwks_url or auth.issuers) and auth.jwks_age_max_s < 2 * auth.jwks_refresh_s:
        yield (
            f"auth.jwks_age_max_s is {auth.jwks_age_max_s}, and with auth.jwks_refresh_s = "
            f"{auth.jwks_refresh_s} "
            f"one failed refresh would refuse every token; write at least {2 * auth.jwks_refresh_s}"
        )


def _jwks_url(name: str, url: str) -> Iterator[str]:
    try:
        split = urlsplit(url)
        host, port = split.hostname, split.port
    except ValueError:
        host, port, split = None, 0, urlsplit("")
    if "@" in split.netloc:
        # The value is not shown: what stands before the @ is a password.
        yield f"{name} holds a user or password, and public keys need none; remove it"
    elif not host or port == 0 or split.fragment or not url.isascii() or not url.isprintable() or " " in url:
        yield (
            f'{name} is "{url}" and is not an address; write e.g. '
            '"https://login.example.com/.well-known/jwks.json" '
            "(it is the jwks_uri of the issuer's /.well-known/openid-configuration)"
        )
    elif split.scheme != "https" and not (split.scheme == "http" and _is_loopback(host)):
        yield (
            f'{name} is "{url}", so anyone on the network path could replace the keys; '
            "write https://… (http is accepted for this machine only)"
        )


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _claims(where: str, table: AuthConfig | IssuerConfig, identifier_chars_max: int) -> Iterator[str]:
    for name, claim in (("tenant_claim", table.tenant_claim), ("project_claim", table.project_claim)):
        empty = not claim.strip() and isinstance(table, AuthConfig)
        if empty or len(claim) > CLAIM_NAME_CHARS_MAX or not claim.isprintable():
            yield (
                f'{where}.{name} is "{claim[:CLAIM_NAME_CHARS_MAX]}"; write the name of a claim, of 1 to '
                f"{CLAIM_NAME_CHARS_MAX} "
                'characters, or a path to it with dots, e.g. "app_metadata.tenant_id"'
            )
    if table.project and (not table.project.strip() or len(table.project) > identifier_chars_max):
        yield (
            f"{where}.project has {len(table.project)} characters; write 1 to {identifier_chars_max}, "
            "as in the events' projectId"
        )
    if table.project and table.project_claim not in ("", "project_id"):
        yield (
            f'{where} has project = "{table.project}" and project_claim = "{table.project_claim}"; '
            "give one of them: a fixed project, or the claim that names it"
        )


def _issuers(auth: AuthConfig, identifier_chars_max: int) -> Iterator[str]:
    seen: dict[str, int] = {}
    for i, issuer in enumerate(auth.issuers):
        where = f"auth.issuers[{i}]"
        yield from _claims(where, issuer, identifier_chars_max)
        yield from _jwks_url(f"{where}.jwks_url", issuer.jwks_url)
        if "HS256" in issuer.algorithms:
            yield (
                f'{where}.algorithms has "HS256", which needs a shared secret, and what an issuer publishes '
                "is no secret; remove it"
            )
        name = issuer.issuer
        if not name.strip():
            yield f"{where} has no issuer; write what its tokens have as iss"
        elif name.count("{") > 1 or (("{" in name or "}" in name) and not _TEMPLATE.fullmatch(name)):
            yield (
                f'{where}.issuer is "{name}"; at most one part of it, between slashes, can be a claim in '
                "braces, "
                'e.g. "https://login.microsoftonline.com/{tid}/v2.0"'
            )
        elif name in seen:
            yield (
                f'{where} has the issuer "{name}" of auth.issuers[{seen[name]}], and iss alone decides which '
                "block "
                "a token is for; write one block, with both audiences in a list"
            )
        elif name == auth.jwt_issuer:
            yield (
                f'{where} has the issuer "{name}" of auth.jwt_issuer, so no token would reach the keys of '
                "[auth]; remove one of them"
            )
        seen.setdefault(name, i)
        if issuer.jwks_url and issuer.jwks_url == auth.jwks_url:
            yield (
                f"{where}.jwks_url is auth.jwks_url, too, where its tokens would be accepted without the "
                "checks of this block; "
                "remove auth.jwks_url"
            )


def _clickhouse(clickhouse: ClickHouseConfig) -> Iterator[str]:
    for url in clickhouse.urls:
        yield from _clickhouse_url(url)
    if len(clickhouse.urls) > 1 and "embedded" in clickhouse.urls:
        yield (
            'clickhouse.url is "embedded" and an address; write "embedded", or the addresses of the replicas '
            "of one shard"
        )
    if clickhouse.cluster and clickhouse.url == "embedded":
        yield (
            f'clickhouse.cluster is "{clickhouse.cluster}", and the embedded engine is not a cluster; '
            "remove it, or set clickhouse.url to members of the cluster"
        )
    if clickhouse.cluster and not _CLUSTER.fullmatch(clickhouse.cluster):
        yield (
            f'clickhouse.cluster is "{clickhouse.cluster}"; write a name as in system.clusters, '
            'of letters, digits, _, - and ., or a macro, "{cluster}"'
        )
    if not _DATABASE.fullmatch(clickhouse.database):
        yield (
            f'clickhouse.database is "{clickhouse.database}"; '
            "write a name of letters, digits, _ and - that does not start with a digit"
        )
    if clickhouse.url == "embedded":
        yield from _embedded(clickhouse)
    if not clickhouse.user:
        yield 'clickhouse.user is ""; write the user of clickhouse.password, e.g. "default"'
    for key in ("embedded_native_port", "embedded_project"):
        if getattr(clickhouse, key) and not clickhouse.embedded_listen:
            yield f"clickhouse.{key} has no effect without clickhouse.embedded_listen; set both"


def _embedded(clickhouse: ClickHouseConfig) -> Iterator[str]:
    if clickhouse.database.lower() in ("default", "system", "information_schema"):
        yield (
            f'clickhouse.database is "{clickhouse.database}", which the embedded ClickHouse has for itself; '
            'write another name, e.g. "nealytics_core"'
        )
    if not clickhouse.embedded_listen:
        return
    if not clickhouse.embedded_password:
        yield (
            f'clickhouse.embedded_listen is "{clickhouse.embedded_listen}" without a password, '
            "so anyone who reaches that port could read every tenant; set clickhouse.embedded_password"
        )
    with contextlib.suppress(ValueError):  # _addresses says what is wrong
        port = split_listen(clickhouse.embedded_listen)[1]
        if port == 0:
            yield (
                f'clickhouse.embedded_listen is "{clickhouse.embedded_listen}"; write a fixed port, e.g. 8123'
            )
        elif port == clickhouse.embedded_native_port:
            yield (
                f"clickhouse.embedded_native_port is {port}, as in clickhouse.embedded_listen; "
                "write another port"
            )


def _clickhouse_url(url: str) -> Iterator[str]:
    scheme, separator, rest = url.partition("://")
    if url == "embedded":
        return
    if not url:
        yield (
            'clickhouse.url is ""; write "embedded" or the address of a ClickHouse server, e.g. '
            '"http://localhost:8123"'
        )
    elif "@" in rest or "@" in scheme:
        # The value is not shown: what stands before the @ is a password.
        yield (
            "clickhouse.url contains a user or password; "
            "write them as clickhouse.user and clickhouse.password, and only http(s)://host:port as the url"
        )
    elif not separator and "=" in url:
        # Not shown either: there may be a password in it.
        yield (
            "clickhouse.url looks like a connection string, not like an address; "
            'write "http://host:8123", or give the string as TelemetryEngine__ClickHouseConnectionString in '
            "the environment"
        )
    elif not separator:
        meant = "embedded" if difflib.get_close_matches(url, ["embedded"], cutoff=0.7) else f"http://{url}"
        yield f'clickhouse.url is "{url}" and has no scheme; write "{meant}"'
    elif scheme not in {"http", "https"}:
        yield f'clickhouse.url is "{url}" and only http and https are supported; write "http://host:8123"'
    elif not _is_origin(url):
        # Not shown from the first ? on: ClickHouse takes a password there.
        shown = re.split(r"[?#]", url)[0]
        yield (
            f'clickhouse.url is "{shown}" and is not just scheme, host and port; write e.g. '
            '"http://localhost:8123"'
        )


def _is_origin(url: str) -> bool:
    try:
        split = urlsplit(url)
        is_valid = bool(split.hostname) and split.path in {"", "/"} and split.port != 0
    except ValueError:
        return False
    return is_valid and "?" not in url and "#" not in url


def split_bucket(url: str) -> tuple[str, str, bool]:
    """Of `backup.s3_url`: the bucket, the prefix in it, and whether the bucket is in the name of the host. As
    ClickHouse tells "https://bucket.s3.region.amazonaws.com" from "https://s3.region.amazonaws.com/bucket"."""
    split = urlsplit(url)
    if found := _BUCKET_IN_HOST.fullmatch(split.hostname or ""):
        return found[1], split.path.strip("/"), True
    bucket, _, prefix = split.path.strip("/").partition("/")
    return bucket, prefix, False


def _backup(backup: BackupConfig) -> Iterator[str]:
    url = backup.s3_url
    if not url:
        return
    try:
        split = urlsplit(url)
        valid = split.scheme in {"http", "https"} and bool(split.hostname) and split.port != 0
        valid &= url.isascii() and not split.query and not split.fragment
    except ValueError:
        valid, split = False, urlsplit("")
    if "@" in url:
        # The value is not shown: what stands before the @ is a password.
        yield "backup.s3_url holds a user or password; set s3_access_key_id and s3_secret_access_key instead"
    # ClickHouse does not start with a name that cannot be a bucket's.
    elif not valid or not _S3_PATH.fullmatch(split.path) or not _BUCKET.fullmatch(split_bucket(url)[0]):
        yield (
            f'backup.s3_url is "{url}" and is not the address of a bucket; write e.g. '
            '"https://s3.eu-central-1.amazonaws.com/bucket/node1"'
        )
    for key, value in (
        ("s3_access_key_id", backup.s3_access_key_id),
        ("s3_secret_access_key", backup.s3_secret_access_key),
    ):
        if not value:
            yield f"backup.s3_url is set, and backup.{key} is empty; set both keys of the bucket"


def _compat(compat: CompatConfig) -> Iterator[str]:
    for path in compat.tenant_from:
        if not all(path.split(".")):
            yield (
                f'compat.tenant_from has "{path}", which is not a path; write names with dots between them, '
                'such as "context.groupId"'
            )


def _log(config: Config) -> Iterator[str]:
    # Each worker has an equal share and begins a new file at a quarter of it at the latest. If one request
    # were larger than that, it could be refused for ever.
    workers = config.server.workers
    least = 4 * config.ingest.body_bytes_max * workers
    if config.wal.bytes_max < least:
        yield (
            f"wal.bytes_max is {config.wal.bytes_max}, and {workers} worker(s) with requests of "
            f"{config.ingest.body_bytes_max} bytes "
            f"need at least {least}; raise it, or lower ingest.body_bytes_max"
        )


def _retention(rules: tuple[RetentionRule, ...], identifier_chars_max: int) -> Iterator[str]:
    if len(rules) > RETENTION_RULES_MAX:
        yield f"retention has {len(rules)} rules, at most {RETENTION_RULES_MAX} are accepted; remove some"
        return
    seen: dict[tuple[str, str, str], int] = {}
    for i, rule in enumerate(rules):
        where = f"retention[{i}]"
        if not rule.project:
            yield (
                f'{where} has no project; add project = "…" (clickhouse.retention_days is for the events of '
                "all projects)"
            )
        if rule.days < 0:
            yield f"{where} has no days; add days = 30, or 0 for as long as the table keeps events"
        yield from _lengths(where, rule, ("project", "tenant", "event_type"), identifier_chars_max)
        whose = (rule.project, rule.tenant, rule.event_type)
        if whose in seen:
            yield (
                f"{where} is for the same events as retention[{seen[whose]}]; remove one of them, since only "
                "one number of days can be right"
            )
        seen.setdefault(whose, i)


def _quotas(quotas: tuple[QuotaRule, ...], identifier_chars_max: int) -> Iterator[str]:
    seen: dict[tuple[str, str], int] = {}
    for i, rule in enumerate(quotas):
        where = f"quota[{i}]"
        if not rule.project:
            yield f'{where} has no project; add project = "…"'
        if rule.events_per_month < 0 and rule.queries_per_day < 0:
            yield (
                f"{where} limits nothing; add events_per_month or queries_per_day (0 is unlimited, as an "
                "exception to a wider quota)"
            )
        yield from _lengths(where, rule, ("project", "tenant"), identifier_chars_max)
        whose = (rule.project, rule.tenant)
        if whose in seen:
            yield f"{where} is for the same tenants as quota[{seen[whose]}]; write both limits in one block"
        seen.setdefault(whose, i)


def _segments(segments: tuple[SegmentRule, ...], identifier_chars_max: int) -> Iterator[str]:
    seen: dict[tuple[str, str], int] = {}
    for i, rule in enumerate(segments):
        where = f"segment[{i}]"
        if not rule.project:
            yield f'{where} has no project; add project = "…"'
        if not _SEGMENT_NAME.fullmatch(rule.name):
            yield (f'{where} has the name "{rule.name[:80]}"; write 1 to 64 letters, digits, "_", "-" or "."')
        if not rule.filter and not rule.any:
            yield f'{where} has no filter; add filter = ["did(purchase, >=2, 30d)"]'
        yield from _lengths(where, rule, ("project",), identifier_chars_max)
        whose = (rule.project, rule.name)
        if whose in seen:
            yield f"{where} has the project and the name of segment[{seen[whose]}]; rename one of them"
        seen.setdefault(whose, i)


def _lengths(
    where: str, rule: RetentionRule | QuotaRule | SegmentRule, names: Iterable[str], identifier_chars_max: int
) -> Iterator[str]:
    for name in names:
        value = getattr(rule, name)
        if len(value) > identifier_chars_max:
            yield (
                f"{where} has a {name} of {len(value)} characters, and no event has more than "
                f"{identifier_chars_max}; correct it"
            )
