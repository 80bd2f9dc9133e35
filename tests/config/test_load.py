"""The configuration: where values come from, what each mistake is told, and that no secret is ever shown."""

# ruff: noqa: E501  (a message stands in one line, as it is printed)

import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from msgspec import inspect

from nealytics.config import (
    Config,
    JwtKey,
    config_from_json,
    config_to_json,
    load,
    load_with_notes,
    require_serving,
    secrets_of,
    split_listen,
)
from nealytics.config.csharp import NAMES, PREFIX, RENAMED, UNLIMITED_AT_0, WITHOUT_MEANING
from nealytics.config.values import KEYS
from nealytics.errors import ConfigError

JWT_KEY = "0123456789abcdef0123456789abcdef"
JWKS = "jwks_url = 'https://a.example/jwks'"


@pytest.fixture(autouse=True)
def no_configuration_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "n.toml"
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


def problems_of(path: Path | None = None, environ: dict[str, str] | None = None, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_with_notes(path, environ or {}, **options)
    return list(caught.value.problems)


def csharp(**options: str) -> dict[str, str]:
    return {PREFIX + name: value for name, value in options.items()}


# Mistakes: what stands in the file, and the one message it gets.

BUCKET_KEYS = "s3_access_key_id = 'a'\ns3_secret_access_key = 'b'"

BAD_FILES = [
    ("wal = 1", 'config: wal is a value and must be a table; write [wal] and its keys below'),
    ("[wal]\nsegment_size = 1", "config: unknown key wal.segment_size; did you mean wal.segment_bytes_max?"),
    ("[wall]\nx = 1", "config: unknown table [wall]; did you mean [wal]?"),
    ("[clickhouse]\nworkers = 2", "config: unknown key clickhouse.workers; did you mean server.workers?"),
    ("[auth]\nJwtSymmetricKey = 'x'", "config: unknown key auth.JwtSymmetricKey; did you mean auth.jwt_key?"),
    ("[server]\nworkers = 0", "config: server.workers is 0; write a whole number from 1 to 64"),
    ("[server]\nworkers = 65", "config: server.workers is 65; write a whole number from 1 to 64"),
    ("[server]\nworkers = '2'", 'config: server.workers is "2"; write a whole number from 1 to 64'),
    ("[server]\nworkers = true", "config: server.workers is true; write a whole number from 1 to 64"),
    ("[server]\nworkers = 1.0", "config: server.workers is 1.0; write a whole number from 1 to 64"),
    ("[server]\nheader_timeout_s = 0", "config: server.header_timeout_s is 0; write a number above 0 to 86,400"),
    ("[server]\nheader_timeout_s = nan", "config: server.header_timeout_s is NaN; write a number above 0 to 86,400"),
    ("[server]\nlisten = 5000", 'config: server.listen is 5000; write it in quotes, "…"'),
    ("[server]\nlisten = 'localhost'", 'config: server.listen is "localhost" and is not host:port; write e.g. "0.0.0.0:5000" or "[::1]:5000"'),
    ("[server]\nlisten = ':5000'", 'config: server.listen is ":5000" and is not host:port; write e.g. "0.0.0.0:5000" or "[::1]:5000"'),
    ("[server]\nlisten = '::1:5000'", 'config: server.listen is "::1:5000" and is not host:port; write e.g. "0.0.0.0:5000" or "[::1]:5000"'),
    ("[server]\nlisten = 'unix:/x'", 'config: server.listen is "unix:/x" and is not host:port; write e.g. "0.0.0.0:5000" or "[::1]:5000"'),
    ("[server]\nlisten = 'http://+:5000'", 'config: server.listen is "http://+:5000" and is not host:port; write e.g. "0.0.0.0:5000" or "[::1]:5000"'),
    ("[server]\nlisten = '0.0.0.0:70000'", 'config: server.listen is "0.0.0.0:70000" and is not host:port; write e.g. "0.0.0.0:5000" or "[::1]:5000"'),
    (
        "[server]\ncors_allowed_origins = ['https://a.example//']",
        'config: server.cors_allowed_origins has "https://a.example//", which no browser sends as Origin; '
        'write scheme and host in lower case, without a path, e.g. "https://app.example.com"',
    ),
    (
        "[server]\ncors_allowed_origins = ['https://a.example/x/']",
        'config: server.cors_allowed_origins has "https://a.example/x/", which no browser sends as Origin; '
        'write scheme and host in lower case, without a path, e.g. "https://app.example.com"',
    ),
    (
        "[compat]\ntenant_from = ['groupId', 'context..id']",
        'config: compat.tenant_from has "context..id", which is not a path; write names with dots between them, '
        'such as "context.groupId"',
    ),
    (
        "[server]\ntrusted_proxies = ['10.0.0.0/8', 'proxy.example']",
        'config: server.trusted_proxies has "proxy.example", which is neither an address nor a network; '
        'write e.g. "10.0.0.7" or "10.0.0.0/8"',
    ),
    *(
        (
            f"[server]\npath_prefix = '{prefix}'",
            f'config: server.path_prefix is "{prefix}"; write a path without a slash at its end, e.g. "/analytics"',
        )
        for prefix in ("analytics", "/analytics/", "/", "/a//b", "/a b", "/%61")
    ),
    ("[server]\ncors_allowed_origins = 'https://a'", 'config: server.cors_allowed_origins is "https://a"; write a list of texts, ["…", "…"]'),
    ("[server]\ndata_dir = ['x']", 'config: server.data_dir is ["x"]; write it in quotes, "…"'),
    ("[ingest]\ndecompression = 'no'", 'config: ingest.decompression is "no"; write true or false'),
    ("[ingest]\nbody_bytes_max = 999_999_999", "config: ingest.body_bytes_max is 999999999; write a whole number from 1 to 134,217,728"),
    ("[ingest]\nrate_limit_requests = -1", "config: ingest.rate_limit_requests is -1; write a whole number from 0 up"),
    ("[commit]\nbatch_rows_max = 100_001", "config: commit.batch_rows_max is 100001; write a whole number from 1 to 100,000"),
    ("[commit]\nbatch_bytes_max = 67108864", "config: commit.batch_bytes_max is 67108864; write a whole number from 65,536 below 67,108,864"),
    ("[wal]\nsegment_bytes_max = 100", "config: wal.segment_bytes_max is 100; write a whole number from 65,536 to 1,073,741,824"),
    (
        "[wal]\nbytes_max = 8_000_000\n[server]\nworkers = 2\n",
        "config: wal.bytes_max is 8000000, and 2 worker(s) with requests of 1048576 bytes need at least 8388608; "
        "raise it, or lower ingest.body_bytes_max",
    ),
    ("[[quota]]\nevents_per_month = 1", 'config: quota[0] has no project; add project = "…"'),
    (
        "[[quota]]\nproject = 'p'",
        "config: quota[0] limits nothing; add events_per_month or queries_per_day (0 is unlimited, as an exception to a wider quota)",
    ),
    ("[[quota]]\nproject = 'p'\nqueries_per_day = -2", "config: quota[0].queries_per_day is -2; write a whole number from -1 up"),
    (
        "[[quota]]\nproject = 'p'\nqueries_per_day = 1\n[[quota]]\nproject = 'p'\nevents_per_month = 1",
        "config: quota[1] is for the same tenants as quota[0]; write both limits in one block",
    ),
    (
        f"[[quota]]\nproject = 'p'\nqueries_per_day = 1\ntenant = '{'x' * 300}'",
        "config: quota[0] has a tenant of 300 characters, and no event has more than 256; correct it",
    ),
    ("[[segment]]\nname = 'n'\nany = ['user_id:exists']", 'config: segment[0] has no project; add project = "…"'),
    (
        "[[segment]]\nproject = 'p'\nname = 'a b'\nany = ['user_id:exists']",
        'config: segment[0] has the name "a b"; write 1 to 64 letters, digits, "_", "-" or "."',
    ),
    (
        "[[segment]]\nproject = 'p'\nname = 'n'",
        'config: segment[0] has no filter; add filter = ["did(purchase, >=2, 30d)"]',
    ),
    (
        "[[segment]]\nproject = 'p'\nname = 'n'\nfilter = ['a']\n[[segment]]\nproject = 'p'\nname = 'n'\nany = ['a']",
        "config: segment[1] has the project and the name of segment[0]; rename one of them",
    ),
    (f"[backup]\ns3_url = 'bucket'\n{BUCKET_KEYS}", 'config: backup.s3_url is "bucket" and is not the address of a bucket; write e.g. "https://s3.eu-central-1.amazonaws.com/bucket/node1"'),
    (f"[backup]\ns3_url = 'https://h:x/'\n{BUCKET_KEYS}", 'config: backup.s3_url is "https://h:x/" and is not the address of a bucket; write e.g. "https://s3.eu-central-1.amazonaws.com/bucket/node1"'),
    (f"[backup]\ns3_url = 'https://h/bucket/a//b'\n{BUCKET_KEYS}", 'config: backup.s3_url is "https://h/bucket/a//b" and is not the address of a bucket; write e.g. "https://s3.eu-central-1.amazonaws.com/bucket/node1"'),
    (f"[backup]\ns3_url = 'https://h/b'\n{BUCKET_KEYS}", 'config: backup.s3_url is "https://h/b" and is not the address of a bucket; write e.g. "https://s3.eu-central-1.amazonaws.com/bucket/node1"'),
    (f"[backup]\ns3_url = 'https://u:p@h/b'\n{BUCKET_KEYS}", "config: backup.s3_url holds a user or password; set s3_access_key_id and s3_secret_access_key instead"),
    ("[backup]\ns3_url = 'https://h/bucket'\ns3_access_key_id = 'a'", "config: backup.s3_url is set, and backup.s3_secret_access_key is empty; set both keys of the bucket"),
    ("[clickhouse]\nretention_days = -1", "config: clickhouse.retention_days is -1; write a whole number from 0 to 18,250"),
    ("[clickhouse]\nurl = 'localhost:8123'", 'config: clickhouse.url is "localhost:8123" and has no scheme; write "http://localhost:8123"'),
    ("[clickhouse]\nurl = 'tcp://h:9000'", 'config: clickhouse.url is "tcp://h:9000" and only http and https are supported; write "http://host:8123"'),
    ("[clickhouse]\nurl = ''", 'config: clickhouse.url is ""; write "embedded" or the address of a ClickHouse server, e.g. "http://localhost:8123"'),
    ("[clickhouse]\nurl = 'http://a:8123,embedded'", 'config: clickhouse.url is "embedded" and an address; write "embedded", or the addresses of the replicas of one shard'),
    ("[clickhouse]\nurl = ['http://a:8123', 'b:8123']", 'config: clickhouse.url is "b:8123" and has no scheme; write "http://b:8123"'),
    ("[clickhouse]\nurl = ['http://a:8123', 3]", 'config: clickhouse.url is ["http://a:8123", 3]; write a list of texts, ["…", "…"]'),
    ("[clickhouse]\ncluster = 'main'", 'config: clickhouse.cluster is "main", and the embedded engine is not a cluster; remove it, or set clickhouse.url to members of the cluster'),
    ("[clickhouse]\nurl = 'http://a:8123'\ncluster = 'a b'", 'config: clickhouse.cluster is "a b"; write a name as in system.clusters, of letters, digits, _, - and ., or a macro, "{cluster}"'),
    ("[saved_queries]\nuser = 'a; DROP'", 'config: saved_queries.user is "a; DROP"; write a name of letters, digits and _ that does not start with a digit'),
    ("[clickhouse]\nurl = 'http://h/path'", 'config: clickhouse.url is "http://h/path" and is not just scheme, host and port; write e.g. "http://localhost:8123"'),
    ("[clickhouse]\nurl = 'http://h:x'", 'config: clickhouse.url is "http://h:x" and is not just scheme, host and port; write e.g. "http://localhost:8123"'),
    (
        "[clickhouse]\nurl = 'http://u:secret@h'",
        "config: clickhouse.url contains a user or password; "
        "write them as clickhouse.user and clickhouse.password, and only http(s)://host:port as the url",
    ),
    ("[clickhouse]\ncompression = 'lz4'", 'config: clickhouse.compression is "lz4"; write one of "gzip", "none", "zstd"'),
    ("[clickhouse]\ndatabase = 'a`b'", 'config: clickhouse.database is "a`b"; write a name of letters, digits, _ and - that does not start with a digit'),
    (
        "[clickhouse]\nembedded_project = 'shop'",
        "config: clickhouse.embedded_project has no effect without clickhouse.embedded_listen; set both",
    ),
    (
        "[clickhouse]\nembedded_native_port = 9000",
        "config: clickhouse.embedded_native_port has no effect without clickhouse.embedded_listen; set both",
    ),
    (
        "[clickhouse]\nembedded_listen = '127.0.0.1:8123'",
        'config: clickhouse.embedded_listen is "127.0.0.1:8123" without a password, '
        "so anyone who reaches that port could read every tenant; set clickhouse.embedded_password",
    ),
    *(
        (
            f"[clickhouse]\ndatabase = '{name}'",
            f'config: clickhouse.database is "{name}", which the embedded ClickHouse has for itself; '
            'write another name, e.g. "nealytics_core"',
        )
        for name in ("default", "system", "information_schema", "INFORMATION_SCHEMA")
    ),
    (
        "[clickhouse]\nembedded_listen = '127.0.0.1:0'\nembedded_password = 'x'",
        'config: clickhouse.embedded_listen is "127.0.0.1:0"; write a fixed port, e.g. 8123',
    ),
    (
        "[clickhouse]\nembedded_listen = '127.0.0.1:9000'\nembedded_native_port = 9000\nembedded_password = 'x'",
        "config: clickhouse.embedded_native_port is 9000, as in clickhouse.embedded_listen; write another port",
    ),
    ("[observe]\nlog_level = 'loud'", 'config: observe.log_level is "loud"; write one of "critical", "debug", "error", "info", "warning"'),
    ("[auth]\njwt_key = 'replace_this_please'", "config: auth.jwt_key has 19 bytes and needs at least 32; make one with: openssl rand -base64 48"),
    ("[auth]\njwt_key = '-----BEGIN PUBLIC KEY----- MFwwDQYJKoZIhvcN'", "config: auth.jwt_key is half of a key pair and must be a shared secret; make one with: openssl rand -base64 48"),
    ("[auth]\njwt_key = 17", 'config: auth.jwt_key is not a text; write it in quotes, "…"'),
    ("[auth]\njwt_keys = 'k'", 'config: auth.jwt_keys is not a list; write each key as [[auth.jwt_keys]] with key = "…" below'),
    ("[auth]\njwt_keys = ['k']", 'config: auth.jwt_keys[0] is not a table; write each key as [[auth.jwt_keys]] with key = "…" below'),
    ("[[auth.jwt_keys]]\nkid = 'a'", "config: auth.jwt_keys[0] has no key; give one of key, key_file, public_key_file"),
    (
        f"[[auth.jwt_keys]]\nkey = '{JWT_KEY}'\nkey_file = 'x'",
        "config: auth.jwt_keys[0] has key and key_file; give one of key, key_file, public_key_file",
    ),
    ("[[auth.jwt_keys]]\nkids = 'x'", "config: auth.jwt_keys[0] has the unknown key kids; did you mean kid?"),
    ("[[auth.jwt_keys]]\nkid = 1", 'config: auth.jwt_keys[0].kid is 1; write it in quotes, "…"'),
    (
        f"[[auth.jwt_keys]]\nkey = '{JWT_KEY}'\nalgorithm = 'RS384'",
        'config: auth.jwt_keys[0].algorithm is "RS384"; write one of "ES256", "EdDSA", "HS256", "PS256", "RS256", "RS512"',
    ),
    ("[[auth.jwt_keys]]\nkey = 'short'", "config: auth.jwt_keys[0] has 5 bytes and needs at least 32; make one with: openssl rand -base64 48"),
    (
        "[[auth.jwt_keys]]\nkey = '-----BEGIN PUBLIC KEY----- MFwwDQYJKoZIhvcN'",
        "config: auth.jwt_keys[0] is half of a key pair and must be a shared secret; make one with: openssl rand -base64 48",
    ),
    (
        "[[auth.jwt_keys]]\nalgorithm = 'RS256'\nkey_file = 'x'",
        "config: auth.jwt_keys[0] has key_file, and RS256 needs public_key_file, a PEM file",
    ),
    (
        "[[auth.jwt_keys]]\npublic_key_file = 'x'",
        "config: auth.jwt_keys[0] has public_key_file, and HS256 needs key_file, a shared secret",
    ),
    (
        "[[auth.jwt_keys]]\nkey_file = 'nowhere'",
        "config: auth.jwt_keys[0].key_file names a file that cannot be read: No such file or directory; name the file with the key",
    ),
    (
        "[[auth.jwt_keys]]\nalgorithm = 'RS256'\npublic_key_file = '/dev/null'",
        "config: auth.jwt_keys[0].public_key_file names an empty file; name the file with the key",
    ),
    (
        "[[auth.jwt_keys]]\nalgorithm = 'RS256'\nkey = 'MFww'",
        "config: auth.jwt_keys[0].key is not a public key in PEM; it begins with "
        '"-----BEGIN PUBLIC KEY-----" and is made with: openssl pkey -in FILE -pubout',
    ),
    (
        f"[[auth.jwt_keys]]\nkid = 'a'\nkey = '{JWT_KEY}'\n[[auth.jwt_keys]]\nkid = 'a'\nkey = '{JWT_KEY}x'",
        'config: auth.jwt_keys[1] has the kid "a" of auth.jwt_keys[0]; give each key its own kid',
    ),
    (
        f"[[auth.jwt_keys]]\nkid = '{'k' * 257}'\nkey = '{JWT_KEY}'",
        "config: auth.jwt_keys[0] has a kid of 257 characters; write at most 256 printable ones, as in the header of the tokens",
    ),
    ("[auth]\nissuers = 'https://a.example/'", "config: auth.issuers is not a list; write each issuer as [[auth.issuers]] with its keys below"),
    ("[auth]\nissuers = ['https://a.example/']", 'config: auth.issuers[0] is not a table; write each issuer as [[auth.issuers]] with its keys below'),
    (f"[[auth.issuers]]\n{JWKS}", "config: auth.issuers[0] has no issuer; write what its tokens have as iss"),
    ("[[auth.issuers]]\nissuer = 'https://a.example/'", 'config: auth.issuers[0].jwks_url is "" and is not an address; write e.g. "https://login.example.com/.well-known/jwks.json" (it is the jwks_uri of the issuer\'s /.well-known/openid-configuration)'),
    ("[[auth.issuers]]\nissuer = 'a'\njwks_url = 'https://u:secret@a.example/'", "config: auth.issuers[0].jwks_url holds a user or password, and public keys need none; remove it"),
    (f"[[auth.issuers]]\n{JWKS}\nisuer = 'a'", "config: auth.issuers[0] has the unknown key isuer; did you mean issuer?"),
    (f"[[auth.issuers]]\n{JWKS}\nissuer = 1", 'config: auth.issuers[0].issuer is 1; write it in quotes, "…"'),
    (f"[[auth.issuers]]\n{JWKS}\naudience = 1", 'config: auth.issuers[0].audience is 1; write a list of texts, ["…", "…"]'),
    (f"[[auth.issuers]]\n{JWKS}\naudience = ['a', 1]", 'config: auth.issuers[0].audience is ["a", 1]; write a list of texts, ["…", "…"]'),
    (
        f"[[auth.issuers]]\n{JWKS}\nalgorithms = ['HS256']\nissuer = 'a'",
        'config: auth.issuers[0].algorithms has "HS256", which needs a shared secret, and what an issuer publishes is no secret; remove it',
    ),
    (
        f"[[auth.issuers]]\n{JWKS}\nalgorithms = 'none'",
        'config: auth.issuers[0].algorithms is "none"; write one of "ES256", "EdDSA", "HS256", "PS256", "RS256", "RS512"',
    ),
    (f"[[auth.issuers]]\n{JWKS}\nproject_scope = 'yes'", 'config: auth.issuers[0].project_scope is "yes"; write true or false'),
    (f"[[auth.issuers]]\n{JWKS}\nrequired_claims = 'x'", 'config: auth.issuers[0].required_claims is not a table; write { token_use = "access" }'),
    (
        f"[[auth.issuers]]\n{JWKS}\nrequired_claims = {{ a = {{ b = 1 }} }}",
        'config: auth.issuers[0].required_claims requires a value of "a" that is not a text, a number, true, false or a list of those; write { token_use = "access" }',
    ),
    (
        f"[[auth.issuers]]\n{JWKS}\nrequired_claims = {{ a = [] }}",
        'config: auth.issuers[0].required_claims requires a value of "a" that is not a text, a number, true, false or a list of those; write { token_use = "access" }',
    ),
    (
        f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}\n[[auth.issuers]]\nissuer = 'a'\n{JWKS}",
        'config: auth.issuers[1] has the issuer "a" of auth.issuers[0], and iss alone decides which block a token is for; write one block, with both audiences in a list',
    ),
    (
        f"[auth]\njwt_issuer = 'a'\n[[auth.issuers]]\nissuer = 'a'\n{JWKS}",
        'config: auth.issuers[0] has the issuer "a" of auth.jwt_issuer, so no token would reach the keys of [auth]; remove one of them',
    ),
    (
        f"[auth]\n{JWKS}\n[[auth.issuers]]\nissuer = 'a'\n{JWKS}",
        "config: auth.issuers[0].jwks_url is auth.jwks_url, too, where its tokens would be accepted without the checks of this block; remove auth.jwks_url",
    ),
    (
        f"[[auth.issuers]]\nissuer = 'https://a.example/{{a}}/{{b}}'\n{JWKS}",
        'config: auth.issuers[0].issuer is "https://a.example/{a}/{b}"; at most one part of it, between slashes, can be a claim in braces, e.g. "https://login.microsoftonline.com/{tid}/v2.0"',
    ),
    (
        f"[[auth.issuers]]\nissuer = 'https://x{{a}}.example/'\n{JWKS}",
        'config: auth.issuers[0].issuer is "https://x{a}.example/"; at most one part of it, between slashes, can be a claim in braces, e.g. "https://login.microsoftonline.com/{tid}/v2.0"',
    ),
    (
        f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}\nproject = 'p'\nproject_claim = 'c'",
        'config: auth.issuers[0] has project = "p" and project_claim = "c"; give one of them: a fixed project, or the claim that names it',
    ),
    (
        "[auth]\ntenant_claim = ''",
        'config: auth.tenant_claim is ""; write the name of a claim, of 1 to 256 characters, or a path to it with dots, e.g. "app_metadata.tenant_id"',
    ),
    ("[auth]\nproject = ' '", "config: auth.project has 1 characters; write 1 to 256, as in the events' projectId"),
    ("[auth]\nproject_claim = 1", 'config: auth.project_claim is 1; write it in quotes, "…"'),
    ("[auth]\njwks_url = 'login.example.com/jwks'", 'config: auth.jwks_url is "login.example.com/jwks" and is not an address; write e.g. "https://login.example.com/.well-known/jwks.json" (it is the jwks_uri of the issuer\'s /.well-known/openid-configuration)'),
    ("[auth]\njwks_url = 'https://'", 'config: auth.jwks_url is "https://" and is not an address; write e.g. "https://login.example.com/.well-known/jwks.json" (it is the jwks_uri of the issuer\'s /.well-known/openid-configuration)'),
    ("[auth]\njwks_url = 'https://h:x/'", 'config: auth.jwks_url is "https://h:x/" and is not an address; write e.g. "https://login.example.com/.well-known/jwks.json" (it is the jwks_uri of the issuer\'s /.well-known/openid-configuration)'),
    ("[auth]\njwks_url = 'https://h/a b'", 'config: auth.jwks_url is "https://h/a b" and is not an address; write e.g. "https://login.example.com/.well-known/jwks.json" (it is the jwks_uri of the issuer\'s /.well-known/openid-configuration)'),
    (
        "[auth]\njwks_url = 'http://login.example.com/jwks.json'",
        'config: auth.jwks_url is "http://login.example.com/jwks.json", so anyone on the network path could replace the keys; '
        "write https://… (http is accepted for this machine only)",
    ),
    (
        "[auth]\njwks_url = 'http://10.0.0.1/'",
        'config: auth.jwks_url is "http://10.0.0.1/", so anyone on the network path could replace the keys; '
        "write https://… (http is accepted for this machine only)",
    ),
    (
        "[auth]\njwks_url = 'file://localhost/etc/keys.json'",
        'config: auth.jwks_url is "file://localhost/etc/keys.json", so anyone on the network path could replace the keys; '
        "write https://… (http is accepted for this machine only)",
    ),
    (
        "[auth]\njwks_url = 'https://u:secret@login.example.com/jwks.json'",
        "config: auth.jwks_url holds a user or password, and public keys need none; remove it",
    ),
    ("[auth]\njwks_refresh_s = 5", "config: auth.jwks_refresh_s is 5; write a whole number from 10 to 86,400"),
    (
        "[auth]\njwks_url = 'https://h/'\njwks_refresh_s = 3600",
        "config: auth.jwks_age_max_s is 3600, and with auth.jwks_refresh_s = 3600 one failed refresh would refuse every "
        "token; write at least 7200",
    ),
    ("[auth]\napi_keys = 'k'", 'config: auth.api_keys is not a list; write each key as [[auth.api_keys]] with key = "…" below'),
    ("[[auth.api_keys]]", "config: auth.api_keys[0] has neither key nor key_sha256; give exactly one of them"),
    (f"[[auth.api_keys]]\nkey = 'k'\nkey_sha256 = '{'0' * 64}'", "config: auth.api_keys[0] has both key and key_sha256; give exactly one of them"),
    ("[[auth.api_keys]]\nkey_sha256 = 'xyz'", "config: auth.api_keys[0] has a key_sha256 that is not 64 hexadecimal digits; make it with: printf %s KEY | sha256sum"),
    (
        "[[auth.api_keys]]\nkey = 'k'\nkind = 'browser'",
        'config: auth.api_keys[0] is a browser key and not bound to a project, so any visitor could write to any project; add project = "…"',
    ),
    ("[[auth.api_keys]]\nkey = 'k'\ntenant = 't'", 'config: auth.api_keys[0] is bound to tenant "t" without a project; add project = "…"'),
    ("[[auth.api_keys]]\nkey = 'k'\nprojct = 'x'", "config: auth.api_keys[0] has the unknown key projct; did you mean project?"),
    ("[[auth.api_keys]]\nkey = 'k'\nkind = 'phone'", 'config: auth.api_keys[0].kind is "phone"; write one of "browser", "server"'),
    ("[[auth.api_keys]]\nkey = 5", 'config: auth.api_keys[0].key is not a text; write it in quotes, "…"'),
    (
        "[[auth.api_keys]]\nkey = 'k'\nproject = 'a'\n[[auth.api_keys]]\nkey = 'k'\nproject = 'b'",
        "config: auth.api_keys[1] is the same key as auth.api_keys[0]; remove one of them",
    ),
    (
        f"[[auth.api_keys]]\nkey = 'k'\nproject = '{'p' * 257}'",
        "config: auth.api_keys[0] has a project of 257 characters, at most 256 are accepted; shorten it or raise ingest.identifier_chars_max",
    ),
    (
        "[[auth.api_keys]]\nkey = ' k'",
        "config: auth.api_keys[0] has a key with surrounding white space or control characters, which no request can send; remove them",
    ),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "message"), BAD_FILES, ids=[text.replace("\n", " ")[:60] for text, _ in BAD_FILES]
)
def test_a_mistake_in_the_file_gets_its_message(file, text, message):
    assert problems_of(file(text)) == [message]


BAD_ENVIRONMENTS = [
    ({"NEALYTICS_SERVER_WORKERS": "two"}, 'config: server.workers is "two" (from NEALYTICS_SERVER_WORKERS); write a whole number from 1 to 64'),
    ({"NEALYTICS_OBSERVE_PROMETHEUS": "maybe"}, 'config: observe.prometheus is "maybe" (from NEALYTICS_OBSERVE_PROMETHEUS); write true or false'),
    ({"Logging__LogLevel__Default": "Verbose"}, 'config: observe.log_level is "Verbose" (from Logging__LogLevel__Default); write one of "critical", "debug", "error", "info", "warning"'),
    ({"NEALYTICS_AUTH_JWTKEY": "x"}, "config: unknown environment variable NEALYTICS_AUTH_JWTKEY; did you mean NEALYTICS_AUTH_JWT_KEY?"),
    ({"NEALYTICS_COMMIT_FLUSH_INTERVAL_FILE": "x"}, "config: unknown environment variable NEALYTICS_COMMIT_FLUSH_INTERVAL_FILE; did you mean NEALYTICS_COMMIT_FLUSH_INTERVAL_S?"),
    ({"TelemetryEngine__MaxQueryLimits": "5"}, "config: unknown environment variable TelemetryEngine__MaxQueryLimits; did you mean TelemetryEngine__MaxQueryLimit?"),
    ({"TelemetryEngine__MaxQueryLimit": "many"}, 'config: query.limit_max is "many" (from TelemetryEngine__MaxQueryLimit); write a whole number from 1 to 1,000,000'),
    ({"TelemetryEngine__EnableWireCompression": "lz4"}, "config: TelemetryEngine__EnableWireCompression is neither true nor false"),
    ({"NEALYTICS_CONFIG": "nowhere.toml"}, "config: nowhere.toml (named by NEALYTICS_CONFIG) cannot be read: No such file or directory; create one with `nealytics init`"),
    (
        {"NEALYTICS_AUTH_JWT_KEY_FILE": "/nowhere/key"},
        "config: NEALYTICS_AUTH_JWT_KEY_FILE names a file that cannot be read: No such file or directory; name the file with the secret",
    ),
    (
        {"NEALYTICS_CLICKHOUSE_URL": "Host=db;Port=9000;Password=hunter2"},
        'config: clickhouse.url looks like a connection string, not like an address; write "http://host:8123", or give the string as TelemetryEngine__ClickHouseConnectionString in the environment',
    ),
    ({"NEALYTICS_AUTH_JWT_KEY": JWT_KEY + "\udcff"}, "config: auth.jwt_key is not UTF-8 text (from NEALYTICS_AUTH_JWT_KEY); correct it"),
    (
        {"NEALYTICS_AUTH_JWT_KEY_FILE": "/dev/null", "NEALYTICS_AUTH_JWT_KEY": JWT_KEY},
        "config: NEALYTICS_AUTH_JWT_KEY and NEALYTICS_AUTH_JWT_KEY_FILE are both set; remove one of them",
    ),
    (
        {"NEALYTICS_AUTH_API_KEYS": '[{"key": "a"'},
        'config: auth.api_keys is not a list in JSON (from NEALYTICS_AUTH_API_KEYS); write ["key", …] or [{"key": "…", "project": "…"}, …]',
    ),
    (
        {"NEALYTICS_AUTH_JWT_KEYS": f"{JWT_KEY},{JWT_KEY}"},
        'config: auth.jwt_keys is not a list in JSON (from NEALYTICS_AUTH_JWT_KEYS); '
        'write [{"kid": "…", "algorithm": "HS256", "key": "…"}]',
    ),
    ({"NEALYTICS_AUTH_JWT_KEYS": '[{"key": "\\ud800"}]'}, "config: auth.jwt_keys[0].key is not UTF-8 text (from NEALYTICS_AUTH_JWT_KEYS); correct it"),
    ({"TelemetryEngine__JwtSymmetricKey": "replace_this_please"}, "config: auth.jwt_key has 19 bytes and needs at least 32; make one with: openssl rand -base64 48"),
    ({"TelemetryEngine__JwtSymmetricKey": " " * 40}, "config: auth.jwt_key is nothing but white space, which anyone can guess; make one with: openssl rand -base64 48"),
    ({"NEALYTICS_AUTH_JWT_KEY_PREVIOUS": "\t" * 40}, "config: auth.jwt_key_previous is nothing but white space, which anyone can guess; make one with: openssl rand -base64 48"),
    (
        {"NEALYTICS_AUTH_JWT_KEYS": json.dumps([{"key": " " * 40}])},
        "config: auth.jwt_keys[0] is nothing but white space, which anyone can guess; make one with: openssl rand -base64 48",
    ),
    ({"TelemetryEngine__MaxQueryLimit": "many"}, 'config: query.limit_max is "many" (from TelemetryEngine__MaxQueryLimit); write a whole number from 1 to 1,000,000'),
    ({"TelemetryEngine__MaxQueryLimit": "1e6"}, 'config: query.limit_max is "1e6" (from TelemetryEngine__MaxQueryLimit); write a whole number from 1 to 1,000,000'),
    ({"TelemetryEngine__ClickHouseConnectionString": "Host=h;Nonsense=1"}, "config: TelemetryEngine__ClickHouseConnectionString has an unknown part at position 2; known are Host, Port, Database, User, Password, TlsMode, RootCertificate"),
    ({"TelemetryEngine__ClickHouseConnectionString": "localhost"}, "config: TelemetryEngine__ClickHouseConnectionString is not of the form Host=…;Port=…;Database=…;"),
    ({"TelemetryEngine__ClickHouseConnectionString": "Host=h;Port=x"}, "config: TelemetryEngine__ClickHouseConnectionString has a Port that is not a number from 1 to 65535"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("environ", "message"), BAD_ENVIRONMENTS, ids=[" ".join(environ) for environ, _ in BAD_ENVIRONMENTS]
)
def test_a_mistake_in_the_environment_gets_its_message(environ, message):
    assert problems_of(None, environ) == [message]


def test_all_problems_are_reported_at_once(file):
    path = file("[server]\nworkers = 0\nport = 1\n[auth]\njwt_key = 'short'\n")
    found = problems_of(path, {"NEALYTICS_QUERY_LIMIT_MAX": "x", "TelemetryEngine__Nonsense": "1"})
    assert len(found) == 5


def test_a_file_that_is_not_toml_is_named_with_the_place_and_without_its_text(file):
    path = file("[auth]\njwt_key = canary\n")
    assert problems_of(path) == [f"config: {path} is not valid TOML (at line 2, column 11); correct it"]


@pytest.mark.parametrize("content", [b"\xff\xfe", b"x = " + b"[" * 100_000, b"x = " + b"9" * 5_000])
def test_a_file_of_rubbish_is_a_problem_and_not_a_crash(tmp_path, content):
    path = tmp_path / "rubbish.toml"
    path.write_bytes(content)
    assert len(problems_of(path)) == 1


# Sources and their order


def test_without_a_file_and_environment_everything_is_at_its_default(tmp_path):
    loaded = load_with_notes(None, {})
    assert loaded.sources == {}
    assert loaded.config.server.data_dir == tmp_path / "data"
    assert loaded.config.wal.directory == tmp_path / "data" / "wal"
    assert loaded.config.ingest == Config().ingest


def test_nealytics_toml_here_is_read_when_no_other_is_named(tmp_path):
    (tmp_path / "nealytics.toml").write_text("[server]\nworkers = 2\n")
    assert load(None, {}).server.workers == 2


def test_a_named_file_goes_before_the_variable_and_the_variable_before_the_file_here(tmp_path, file):
    (tmp_path / "nealytics.toml").write_text("[server]\nworkers = 2\n")
    (tmp_path / "other.toml").write_text("[server]\nworkers = 3\n")
    environ = {"NEALYTICS_CONFIG": "other.toml"}
    assert load(None, environ).server.workers == 3
    assert load(file("[server]\nworkers = 4"), environ).server.workers == 4


def test_the_environment_goes_over_the_file_and_the_canonical_name_over_the_alias(file):
    path = file("[query]\nlimit_max = 1\ndefault_range_hours = 1\n[server]\nworkers = 1\n")
    loaded = load_with_notes(
        path,
        {
            "NEALYTICS_QUERY_LIMIT_MAX": "3",
            **csharp(
                MaxQueryLimit="2", DefaultSessionQueryRangeHours="2", ClickHouseConnectionString="Host=h"
            ),
        },
    )
    assert loaded.config.query.limit_max == 3
    assert loaded.config.query.default_range_hours == 2
    assert loaded.sources["query.limit_max"] == "NEALYTICS_QUERY_LIMIT_MAX"
    assert loaded.sources["query.default_range_hours"] == "TelemetryEngine__DefaultSessionQueryRangeHours"
    assert loaded.sources["server.workers"] == str(path)
    assert (
        "config: NEALYTICS_QUERY_LIMIT_MAX and TelemetryEngine__MaxQueryLimit are both set; "
        "NEALYTICS_QUERY_LIMIT_MAX is used" in loaded.notes
    )


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("true", True), (" FALSE ", False), ("1", True), ("off", False)]
)
def test_booleans_in_the_environment_are_read_as_dotnet_and_shells_write_them(text, value):
    assert load(None, {"NEALYTICS_OBSERVE_PROMETHEUS": text}).observe.prometheus is value


def test_numbers_in_the_environment_may_have_white_space_around_them():
    assert load(None, csharp(RateLimitPermitCount=" 5 ")).ingest.rate_limit_requests == 5


def test_an_empty_variable_leaves_a_number_or_choice_as_it_is_and_empties_a_list(file):
    path = file("[server]\nworkers = 2\ncors_allowed_origins = ['https://a.example']\n")
    config = load(path, {"NEALYTICS_SERVER_WORKERS": "", "NEALYTICS_SERVER_CORS_ALLOWED_ORIGINS": ""})
    assert config.server.workers == 2
    assert config.server.cors_allowed_origins == ()


@pytest.mark.parametrize("text", ["", "  "])
@pytest.mark.parametrize(
    "variable",
    ["NEALYTICS_WAL_DIRECTORY", "NEALYTICS_SERVER_DATA_DIR", "TelemetryEngine__WriteAheadLogDirectory"],
)
def test_an_empty_variable_leaves_a_directory_as_it_is(file, tmp_path, variable: str, text: str):
    path = file(f"[server]\ndata_dir = '{tmp_path}/data'\n[wal]\ndirectory = '{tmp_path}/log'\n")
    config = load(path, {variable: text})
    assert config.server.data_dir == tmp_path / "data"
    assert config.wal.directory == tmp_path / "log"


@pytest.mark.parametrize("text", ["", "  "])
@pytest.mark.parametrize("option", ["EnableWireCompression", "ClickHouseConnectionString"])
def test_an_empty_option_of_the_csharp_engine_that_is_translated_changes_nothing(
    file, option: str, text: str
):
    path = file("[clickhouse]\ncompression = 'zstd'\nurl = 'http://ch:8123'\n")
    config = load(path, csharp(**{option: text}))
    assert config.clickhouse.compression == "zstd"
    assert config.clickhouse.url == "http://ch:8123"


def test_paths_are_absolute_whatever_the_working_directory_of_later_processes(tmp_path):
    config = load(None, {"NEALYTICS_WAL_DIRECTORY": ".", "NEALYTICS_SERVER_DATA_DIR": "d"})
    assert config.wal.directory == tmp_path
    assert config.server.data_dir == tmp_path / "d"


def test_variables_that_kubernetes_sets_for_a_service_named_nealytics_are_not_mistakes():
    load(
        None,
        {
            "NEALYTICS_SERVICE_HOST": "10.0.0.1",
            "NEALYTICS_SERVICE_PORT_HTTP": "5000",
            "NEALYTICS_PORT": "tcp://10.0.0.1:5000",
            "NEALYTICS_PORT_5000_TCP_ADDR": "10.0.0.1",
            "NEALYTICS_ENGINE_PORT_5000_TCP": "tcp://10.0.0.1:5000",
        },
    )


def test_variables_of_other_programs_are_none_of_our_business():
    load(
        None,
        {
            "ASPNETCORE_URLS": "http://+:5000",
            "Logging__LogLevel__Microsoft.AspNetCore": "Warning",
            "PATH": "x",
        },
    )


@pytest.mark.parametrize(
    "name",
    [
        "NEALYTICS_LOG_LEVEL",
        "Logging__LogLevel__Default",
        "LOGGING__LOGLEVEL__DEFAULT",
        "NEALYTICS_OBSERVE_LOG_LEVEL",
    ],
)
@pytest.mark.parametrize(
    ("text", "level"),
    [
        ("Information", "info"),
        ("Trace", "debug"),
        ("warn", "warning"),
        ("Error", "error"),
        ("Critical", "critical"),
        ("None", "critical"),
        ("debug", "debug"),
    ],
)
def test_log_levels_are_understood_under_their_dotnet_names(name, text, level):
    assert load(None, {name: text}).observe.log_level == level


# Lists and secrets


@pytest.mark.parametrize("text", ["a:b, c ,", "a:b\nc\n", '["a:b", "c"]', '[{"key": "a:b"}, "c"]'])
def test_keys_in_the_environment_are_opaque_and_come_as_list_or_json(text):
    assert [key.key for key in load(None, {"NEALYTICS_AUTH_API_KEYS": text}).auth.api_keys] == ["a:b", "c"]


def test_a_key_in_the_environment_may_be_bound_by_json():
    (key,) = load(
        None, {"NEALYTICS_AUTH_API_KEYS": '[{"key": "k", "project": "p", "kind": "browser"}]'}
    ).auth.api_keys
    assert (key.project, key.kind) == ("p", "browser")


def test_keys_of_the_csharp_engine_are_a_comma_list_whatever_they_begin_with():
    config = load(None, csharp(AllowedProjectKeys="neavents:projkey123,,[odd"))
    assert [key.key for key in config.auth.api_keys] == ["neavents:projkey123", "[odd"]


def test_a_key_given_twice_in_the_same_way_counts_once_and_is_mentioned():
    loaded = load_with_notes(None, csharp(AllowedProjectKeys="a,a,b"))
    assert [key.key for key in loaded.config.auth.api_keys] == ["a", "b"]
    assert "config: auth.api_keys names a key twice in the same way; once is enough" in loaded.notes


def test_a_key_and_its_own_hash_are_the_same_key(file):
    digest = "2c70e12b7a0646f92279f427c7b38e7334d8e5389cff167a1dc30e73f826b683"  # of "key"
    found = problems_of(
        file(f"[[auth.api_keys]]\nkey = 'key'\n[[auth.api_keys]]\nkey_sha256 = '{digest.upper()}'\n")
    )
    assert found == ["config: auth.api_keys[1] is the same key as auth.api_keys[0]; remove one of them"]


def test_issuers_are_read_from_the_file_and_from_the_environment_alike(file):
    text = (
        "[[auth.issuers]]\nissuer = 'https://a.example/{tid}/v2'\naudience = 'us'\nalgorithms = ['PS256']\n"
        f"{JWKS}\nrequired_claims = {{ 'a.b' = ['x', 1], c = true }}\nproject_scope = true\n"
    )
    as_json = (
        '[{"issuer": "https://a.example/{tid}/v2", "audience": ["us"], "algorithms": "PS256", '
        '"jwks_url": "https://a.example/jwks", "required_claims": {"a.b": ["x", 1], "c": true}, '
        '"project_scope": true}]'
    )
    from_file, from_environment = load(file(text), {}), load(None, {"NEALYTICS_AUTH_ISSUERS": as_json})
    assert from_file.auth.issuers == from_environment.auth.issuers
    (issuer,) = from_file.auth.issuers
    assert issuer.required_claims == {"a.b": ("x", 1), "c": (True,)}
    # To the workers it goes as JSON.
    assert config_from_json(config_to_json(from_file)) == from_file


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}", "has no audience and no required_claims"),
        (f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}\naudience = '*'", None),
        (f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}\nrequired_claims = {{ azp = 'x' }}", None),
        (
            f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}\naudience = 'x'\ntenant_claim = 'user_metadata.tenant'",
            'auth.issuers[0].tenant_claim is "user_metadata.tenant", which users can change themselves',
        ),
        ("[auth]\ntenant_claim = 'unsafe_metadata.t'", "which users can change themselves"),
        (
            f"[auth]\njwks_ca_file = '/etc/hosts'\n[[auth.issuers]]\nissuer = 'a'\n{JWKS}\naudience = 'x'",
            None,
        ),
    ],
)
def test_an_issuer_that_is_trusted_too_far_is_mentioned(file, text, said):
    notes = [note for note in load_with_notes(file(text), {}).notes if "API keys" not in note]
    assert len(notes) == (1 if said else 0), notes
    assert said is None or said in notes[0]


@pytest.mark.parametrize("everybody", ["0.0.0.0/0", "::/0"])
def test_proxies_that_are_everybody_are_mentioned(file, everybody):
    text = f"[server]\ntrusted_proxies = ['10.0.0.0/8', '{everybody}']"
    notes = [note for note in load_with_notes(file(text), {}).notes if "API keys" not in note]
    assert notes == [
        f'config: server.trusted_proxies has "{everybody}", which includes every client, so each can choose its '
        "address; list only the proxies"
    ]


def test_issuers_alone_are_keys_enough_to_serve(file):
    assert load_with_notes(file(f"[[auth.issuers]]\nissuer = 'a'\n{JWKS}"), {}, serving=True)


@pytest.mark.parametrize("name", ["NEALYTICS_AUTH_JWT_KEY_FILE", "TelemetryEngine__JwtSymmetricKey_FILE"])
def test_a_secret_may_come_from_a_file_whose_last_newline_does_not_belong_to_it(tmp_path, name):
    (tmp_path / "jwt").write_text(JWT_KEY + "\n")
    assert load(None, {name: str(tmp_path / "jwt")}).auth.jwt_key == JWT_KEY


def test_keys_may_come_from_a_file_with_one_a_line(tmp_path):
    (tmp_path / "keys").write_text("one\ntwo\n")
    assert [key.key for key in load(None, {"NEALYTICS_AUTH_API_KEYS_FILE": "keys"}).auth.api_keys] == [
        "one",
        "two",
    ]


def test_any_origin_may_be_written_as_a_star_and_case_does_not_matter():
    assert load(None, csharp(CorsAllowedOrigins="*")).server.cors_allowed_origins == ()
    assert load(
        None, csharp(CorsAllowedOrigins="https://App.Example.com, null")
    ).server.cors_allowed_origins == (
        "https://app.example.com",
        "null",
    )


# The C# engine's options


def test_every_option_of_the_csharp_engine_is_understood():
    """The names and defaults of its TelemetryEngineOptions, as its docker-compose.yml sets them."""
    loaded = load_with_notes(
        None,
        csharp(
            ClickHouseConnectionString="Host=telemetry-db;Port=9000;Database=other;User=ada;Password=p;",
            WriteAheadLogDirectory="/app/logs/",
            MemoryChannelCapacity="100000",
            DatabaseBatchCommitSize="9000",
            ForceFlushIntervalSeconds="4",
            AllowedProjectKeys="neavents:projkey123,authhub:projkey456",
            JwtSymmetricKey=JWT_KEY,
            MaxRequestBodyBytes="1048577",
            MaxQueryLimit="9999",
            RateLimitPermitCount="999",
            RateLimitWindowSeconds="9",
            RateLimitQueueSize="499",
            CorsAllowedOrigins="",
            JwtClockSkewSeconds="29",
            MaxInsertRetries="6",
            RetryBackoffCeilingMs="29999",
            DefaultSessionQueryRangeHours="25",
            ConnectionPoolSize="0",
            WalReplayRetryDelayMs="10000",
            WalFileBufferBytes="65536",
            EnableWireCompression="True",
            EnableAsyncInsert="true",
            MaxConcurrentConnections="19999",
            EnableRequestDecompression="false",
            EnablePrometheusScrape="true",
        ),
    )
    config = loaded.config
    assert config.clickhouse.url == "http://telemetry-db:8123"
    assert (config.clickhouse.database, config.clickhouse.user, config.clickhouse.password) == (
        "nealytics_core",
        "ada",
        "p",
    )
    assert (config.clickhouse.connections_max, config.clickhouse.compression) == (0, "zstd")
    assert config.wal.directory == Path("/app/logs")
    assert (config.commit.batch_rows_max, config.commit.flush_interval_s) == (9000, 4.0)
    assert (config.commit.retries_before_alert, config.commit.backoff_max_ms) == (6, 29999)
    assert [key.key for key in config.auth.api_keys] == ["neavents:projkey123", "authhub:projkey456"]
    assert (config.auth.jwt_key, config.auth.jwt_clock_skew_s) == (JWT_KEY, 29)
    assert (config.ingest.body_bytes_max, config.ingest.decompression) == (1048577, False)
    assert (config.ingest.rate_limit_requests, config.ingest.rate_limit_window_s) == (999, 9)
    assert config.ingest.rate_limit_queue_max == 499
    assert (config.server.connections_max, config.server.cors_allowed_origins) == (19999, ())
    assert (config.query.limit_max, config.query.default_range_hours) == (9999, 25)
    assert config.observe.prometheus is True
    for name, reason in WITHOUT_MEANING.items():
        assert f"config: TelemetryEngine__{name} has no effect: {reason}" in loaded.notes
    assert len(NAMES) == 25


def test_names_of_the_csharp_engine_are_not_case_sensitive():
    assert load(None, {"TELEMETRYENGINE__MAXQUERYLIMIT": "7"}).query.limit_max == 7


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("Host=127.0.0.1;Port=9000;Database=nealytics_core;", "http://127.0.0.1:8123"),
        ("host = db ; port = 9440", "https://db:8443"),
        ("Host=db", "http://db:8123"),
        ("Host=db;TlsMode=Require", "https://db:8443"),
        ("Host=::1;Port=9000", "http://[::1]:8123"),
        ("Host=db;Port=8123", "http://db:8123"),
        ("Host=db;Port=19000;Compress=true;ReadWriteTimeout=5", "http://db:19000"),
        ("Host=db;ParametersMode=Serialize;BusyConnectionMode=Wait;ClientVersion=1.0.0", "http://db:8123"),
        ("Host=db;QuotaKey=q;ServerCertificateHash=ab;CommandTimeout=5;BufferSize=1", "http://db:8123"),
        ("", "embedded"),
    ],
)
def test_a_connection_string_becomes_the_http_address(text, url):
    assert load(None, csharp(ClickHouseConnectionString=text)).clickhouse.url == url


@pytest.mark.parametrize("text", ["Host=db;Database=default", "Host=db;Database='a;b'"])
def test_the_database_of_a_connection_string_is_that_of_the_csharp_engine_which_looked_at_none(text):
    loaded = load_with_notes(None, csharp(ClickHouseConnectionString=text))
    assert loaded.config.clickhouse.database == "nealytics_core"
    assert (
        "config: TelemetryEngine__ClickHouseConnectionString: Database= is not used: the C# engine stores its "
        "events in nealytics_core.global_events whatever it says, and so does Nealytics; set "
        "clickhouse.database to use another" in loaded.notes
    )
    chosen = load(None, {"NEALYTICS_CLICKHOUSE_DATABASE": "mine", **csharp(ClickHouseConnectionString=text)})
    assert chosen.clickhouse.database == "mine"


@pytest.mark.parametrize("text", ["Host=db", "Host=db;Database=", "Host=db;Database=nealytics_core"])
def test_a_connection_string_with_the_usual_database_or_none_is_no_news(text):
    notes = load_with_notes(None, csharp(ClickHouseConnectionString=text)).notes
    assert not any("Database=" in note for note in notes)


# What the C# engine starts with, and what is made of it: option, text, key, value, the warning.
BEYOND_A_BOUND: list[tuple[str, str, str, object, str]] = [
    ("DatabaseBatchCommitSize", "250000", "commit.batch_rows_max", 100_000, "is 250000 and commit.batch_rows_max is at most 100000; 100000 is used"),
    ("DatabaseBatchCommitSize", "0", "commit.batch_rows_max", 1, "is 0 and commit.batch_rows_max is at least 1; 1 is used"),
    ("MaxQueryLimit", "2000000", "query.limit_max", 1_000_000, "is 2000000 and query.limit_max is at most 1000000; 1000000 is used"),
    ("MaxRequestBodyBytes", "2000000000", "ingest.body_bytes_max", 134_217_728, "is 2000000000 and ingest.body_bytes_max is at most 134217728; 134217728 is used"),
    ("JwtClockSkewSeconds", "86400", "auth.jwt_clock_skew_s", 3_600, "is 86400 and auth.jwt_clock_skew_s is at most 3600; 3600 is used"),
    ("RateLimitWindowSeconds", "100000", "ingest.rate_limit_window_s", 86_400, "is 100000 and ingest.rate_limit_window_s is at most 86400; 86400 is used"),
    ("RateLimitPermitCount", "-1", "ingest.rate_limit_requests", 0, "is -1, which means unlimited; write ingest.rate_limit_requests = 0"),
    ("MaxConcurrentConnections", "-1", "server.connections_max", 0, "is -1, which means unlimited; write server.connections_max = 0"),
    ("ConnectionPoolSize", "-1", "clickhouse.connections_max", 0, "is -1, which means unlimited; write clickhouse.connections_max = 0"),
    ("RateLimitQueueSize", "-1", "ingest.rate_limit_queue_max", 0, "is -1 and ingest.rate_limit_queue_max is at least 0; 0 is used"),
    ("MaxInsertRetries", "-1", "commit.retries_before_alert", 0, "is -1 and commit.retries_before_alert is at least 0; 0 is used"),
    ("ForceFlushIntervalSeconds", "0", "commit.flush_interval_s", 0.1, "is 0 and commit.flush_interval_s is at least 0.1; 0.1 is used"),
    ("ForceFlushIntervalSeconds", "86400", "commit.flush_interval_s", 3_600.0, "is 86400 and commit.flush_interval_s is at most 3600; 3600 is used"),
    ("RetryBackoffCeilingMs", "2147483647", "commit.backoff_max_ms", 3_600_000, "is 2147483647 and commit.backoff_max_ms is at most 3600000; 3600000 is used"),
    ("DefaultSessionQueryRangeHours", "1000000", "query.default_range_hours", 876_000, "is 1000000 and query.default_range_hours is at most 876000; 876000 is used"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("option", "text", "key", "value", "warning"), BEYOND_A_BOUND, ids=lambda value: str(value)[:30]
)
def test_what_the_csharp_engine_starts_with_is_taken_as_far_as_it_goes(option, text, key, value, warning):
    loaded = load_with_notes(None, csharp(**{option: text}))
    table, _, name = key.partition(".")
    assert getattr(getattr(loaded.config, table), name) == value
    assert f"config: TelemetryEngine__{option} {warning}" in loaded.notes
    # Our own names stay strict: a mistake in them is one of today.
    if (number := float(text)) > 0 or key not in UNLIMITED_AT_0:
        assert problems_of(None, {f"NEALYTICS_{table.upper()}_{name.upper()}": text}), number


def test_every_number_of_the_csharp_engine_has_a_nearest_value_at_both_ends():
    for option, key in RENAMED.items():
        if isinstance(KEYS[key].kind, inspect.IntType | inspect.FloatType):
            for text in ("-2147483648", "2147483647"):
                assert load_with_notes(None, csharp(**{option: text})), option


def test_an_origin_with_a_slash_at_its_end_is_taken_without_it():
    loaded = load_with_notes(None, csharp(CorsAllowedOrigins="https://App.example/,https://b.example:81"))
    assert loaded.config.server.cors_allowed_origins == ("https://app.example", "https://b.example:81")
    assert (
        'config: server.cors_allowed_origins has "https://App.example/", which no browser sends as Origin; it is '
        "used without its trailing slash" in loaded.notes
    )


@pytest.mark.parametrize("text", ["99", "1"])
def test_a_largest_limit_below_the_default_one_is_mentioned(text):
    notes = load_with_notes(None, csharp(MaxQueryLimit=text)).notes
    assert (
        f"config: query.limit_max is {text}, below the default limit of 100, so reads without a limit return at "
        f"most {text}, too" in notes
    )
    assert not any(
        "default limit" in note for note in load_with_notes(None, csharp(MaxQueryLimit="100")).notes
    )


def test_a_native_port_that_became_the_http_port_is_mentioned():
    notes = load_with_notes(None, csharp(ClickHouseConnectionString="Host=db;Port=9000")).notes
    assert any("native port 9000 became http://db:8123" in note for note in notes)


def test_a_password_in_a_connection_string_may_be_quoted_and_is_not_in_any_message():
    config = load(None, csharp(ClickHouseConnectionString="Host=db;Password='a;b''c';User=u"))
    assert (config.clickhouse.password, config.clickhouse.user) == ("a;b'c", "u")
    found = problems_of(None, csharp(ClickHouseConnectionString="Host=db;Password=canary;canary=1"))
    assert "canary" not in str(found)


def test_defaults_of_the_csharp_engine_that_are_not_ours_are_mentioned_when_its_options_are_in_use():
    notes = " ".join(load_with_notes(None, csharp(JwtSymmetricKey=JWT_KEY)).notes)
    assert "127.0.0.1" in notes
    assert "/var/log/nealytics_engine/" in notes


# Keys of tokens


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def jwt_key_problem(tmp_path: Path, algorithm: str, content: str) -> str:
    (tmp_path / "key.pem").write_text(content)
    raw = [{"algorithm": algorithm, "public_key_file": "key.pem"}]
    (problem,) = problems_of(None, {"NEALYTICS_AUTH_JWT_KEYS": json.dumps(raw)})
    return problem.removeprefix('config: auth.jwt_keys[0].public_key_file, "key.pem", ')


def test_keys_of_tokens_come_with_their_content_from_the_file_the_environment_or_files(file, tmp_path):
    rsa_pem = pem(rsa.generate_private_key(65_537, 2_048))
    (tmp_path / "rsa.pem").write_text(rsa_pem)
    (tmp_path / "secret").write_text(JWT_KEY + "\n")
    expected = (
        JwtKey(kid="a", key=JWT_KEY, key_file="secret"),
        JwtKey(algorithm="RS256", key=rsa_pem.rstrip(), public_key_file="rsa.pem"),
    )
    path = file(
        "[[auth.jwt_keys]]\nkid = 'a'\nkey_file = 'secret'\n"
        "[[auth.jwt_keys]]\nalgorithm = 'RS256'\npublic_key_file = 'rsa.pem'\n"
    )
    assert load(path, {}).auth.jwt_keys == expected
    raw = json.dumps(
        [{"kid": "a", "key_file": "secret"}, {"algorithm": "RS256", "public_key_file": "rsa.pem"}]
    )
    assert load(None, {"NEALYTICS_AUTH_JWT_KEYS": raw}).auth.jwt_keys == expected
    (tmp_path / "keys.json").write_text(raw)
    assert load(None, {"NEALYTICS_AUTH_JWT_KEYS_FILE": "keys.json"}).auth.jwt_keys == expected
    assert load(path, {"NEALYTICS_AUTH_JWT_KEYS": ""}).auth.jwt_keys == ()
    inline = json.dumps([{"algorithm": "RS256", "key": rsa_pem}])
    assert load(None, {"NEALYTICS_AUTH_JWT_KEYS": inline}).auth.jwt_keys[0].key == rsa_pem


def test_a_worker_needs_no_file_for_a_key(tmp_path):
    (tmp_path / "secret").write_text(JWT_KEY)
    config = load(None, {"NEALYTICS_AUTH_JWT_KEYS": '[{"key_file": "secret"}]'})
    (tmp_path / "secret").unlink()
    assert config_from_json(config_to_json(config)).auth.jwt_keys[0].key == JWT_KEY


def test_a_public_key_must_be_one_of_its_algorithm_and_strong_enough(tmp_path):
    small, odd = rsa.generate_private_key(65_537, 1_024), ec.generate_private_key(ec.SECP384R1())
    curve, edwards = ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()

    assert jwt_key_problem(tmp_path, "RS256", pem(small)) == (
        "is an RSA key of 1024 bits; use one of 2048 to 8192 bits"
    )
    for algorithm, key, wanted in (
        ("ES256", odd, "a key on the curve P-256"),
        ("ES256", edwards, "a key on the curve P-256"),
        ("RS256", curve, "an RSA key"),
        ("EdDSA", curve, "an Ed25519 key"),
    ):
        assert jwt_key_problem(tmp_path, algorithm, pem(key)) == (
            f"is not {wanted}, which {algorithm} needs; set the algorithm of the key"
        )


def test_a_private_key_or_a_certificate_instead_of_a_public_key_is_recognized(tmp_path):
    private = rsa.generate_private_key(65_537, 2_048).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    problem = jwt_key_problem(tmp_path, "RS256", private.decode())
    assert problem.startswith("is a private key, which only the signing service may have")
    assert "openssl pkey -in FILE -pubout" in problem
    problem = jwt_key_problem(
        tmp_path, "RS256", "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
    )
    assert "openssl x509 -in FILE -noout -pubkey" in problem


def test_one_public_key_of_an_algorithm_may_have_no_kid_and_any_number_of_secrets():
    def keys(*raw: dict[str, str]) -> dict[str, str]:
        return {"NEALYTICS_AUTH_JWT_KEYS": json.dumps(raw)}

    curves = [pem(ec.generate_private_key(ec.SECP256R1())) for _ in range(2)]
    edwards = pem(ed25519.Ed25519PrivateKey.generate())
    one, two = ({"algorithm": "ES256", "key": key} for key in curves)
    load(None, keys(one, {"algorithm": "EdDSA", "key": edwards}, {"key": JWT_KEY}, {"key": JWT_KEY + "x"}))
    load(None, keys(one, {**two, "kid": "2"}))
    assert problems_of(None, keys(one, two)) == [
        "config: auth.jwt_keys[1] is a second ES256 key without a kid, as auth.jwt_keys[0] is; "
        "write the kid from the header of its tokens"
    ]


@pytest.mark.parametrize(
    "url",
    [
        "https://tenant.eu.auth0.com/.well-known/jwks.json",
        "https://login.microsoftonline.com/x/discovery/v2.0/keys?appid=1",
        "https://[2001:db8::1]:8443/keys",
        "http://localhost:8080/realms/main/protocol/openid-connect/certs",
        "http://127.0.0.1:8080/",
        "http://[::1]/",
    ],
)
def test_the_address_of_an_issuers_keys_is_https_or_on_this_machine(url):
    assert load(None, {"NEALYTICS_AUTH_JWKS_URL": url}).auth.jwks_url == url


def test_an_issuers_keys_without_an_audience_are_mentioned():
    environ = {"NEALYTICS_AUTH_JWKS_URL": "https://login.example.com/"}
    assert any("set auth.jwt_audience" in note for note in load_with_notes(None, environ).notes)
    environ["NEALYTICS_AUTH_JWT_AUDIENCE"] = "analytics"
    assert not any("jwt_audience" in note for note in load_with_notes(None, environ).notes)


def test_an_authority_that_is_not_asked_is_mentioned_and_one_that_is_not_there_keeps_from_serving():
    environ = {"NEALYTICS_AUTH_JWKS_URL": "http://localhost/", "NEALYTICS_AUTH_JWKS_CA_FILE": "none.pem"}
    assert any("auth.jwks_ca_file has no effect" in note for note in load_with_notes(None, environ).notes)
    assert problems_of(None, environ, serving=True) == [
        'config: auth.jwks_ca_file is "none.pem" and this file does not exist; name the PEM file of the certificate authority'
    ]


@pytest.mark.parametrize(
    "environ",
    [
        {"NEALYTICS_AUTH_JWT_KEYS": json.dumps([{"kid": "a", "key": JWT_KEY}])},
        {"NEALYTICS_AUTH_JWKS_URL": "https://login.example.com/"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_any_kind_of_key_is_enough_to_serve(environ):
    config = load(None, environ)
    assert require_serving(config) is config


# Serving


def test_a_configuration_without_a_signing_key_is_enough_for_commands_but_not_to_serve():
    config = load(None, {})
    with pytest.raises(ConfigError, match=r"auth\.jwt_key is not set.*openssl rand -base64 48"):
        require_serving(config)
    assert "auth.jwt_key is not set" in problems_of(None, {}, serving=True)[0]
    config = load(None, {"NEALYTICS_AUTH_JWT_KEY": JWT_KEY})
    assert require_serving(config) is config


def test_a_signing_key_of_32_bytes_counts_bytes_and_not_characters():
    load(None, {"NEALYTICS_AUTH_JWT_KEY": "é" * 16})


def test_a_configuration_without_ingest_keys_is_mentioned():
    assert load_with_notes(None, {}).notes == (
        "auth: no API keys are configured, so every ingest request gets 401; add one under [[auth.api_keys]]",
    )


def test_secrets_in_a_file_that_all_can_read_are_mentioned(file):
    path = file(f"[auth]\njwt_key = '{JWT_KEY}'\n")
    path.chmod(0o644)
    assert any("chmod 600" in note for note in load_with_notes(path, {}).notes)


@pytest.mark.parametrize(
    ("text", "parts"),
    [("0.0.0.0:5000", ("0.0.0.0", 5000)), ("[::1]:5000", ("::1", 5000)), ("localhost:0", ("localhost", 0))],
)
def test_an_address_is_split_into_host_and_port(text, parts):
    assert split_listen(text) == parts


# Handing it on


def test_a_worker_gets_the_same_configuration(file):
    config = load(file(f"[auth]\njwt_key = '{JWT_KEY}'\n[[auth.api_keys]]\nkey = 'k'\nproject = 'p'\n"), {})
    assert config_from_json(config_to_json(config)) == config


# Secrets

CANARIES = {
    "auth.jwt_key": "canary-jwt-0123456789-0123456789-0123456789",
    "auth.jwt_key_previous": "canary-old-0123456789-0123456789-0123456789",
    "clickhouse.password": "canary-password",
    "clickhouse.embedded_password": "canary-embedded",
}
JWT_CANARY = "canary-in-a-list-0123456789-0123456789"
CANARY_FILE = (
    '[auth]\njwt_key = "{auth.jwt_key}"\njwt_key_previous = "{auth.jwt_key_previous}"\n'
    '[[auth.api_keys]]\nkey = "canary-key"\n[[auth.api_keys]]\nkey_sha256 = "' + "ca" * 32 + '"\n'
    f'[[auth.jwt_keys]]\nkey = "{JWT_CANARY}"\n'
    '[clickhouse]\npassword = "{clickhouse.password}"\nembedded_password = "{clickhouse.embedded_password}"\n'
)


def with_canaries(more: str = "") -> str:
    text = CANARY_FILE
    for name, value in CANARIES.items():
        text = text.replace("{" + name + "}", value)
    return text + more


def test_every_key_that_is_a_secret_has_a_canary_here(file):
    config = load(file(with_canaries()), {})
    assert set(secrets_of(config)) == {*CANARIES.values(), "canary-key", "ca" * 32, JWT_CANARY}


def test_no_secret_is_in_anything_that_shows_a_configuration(file):
    config = load(file(with_canaries()), {})
    tables = [config, config.auth, config.clickhouse, *config.auth.api_keys, *config.auth.jwt_keys]
    shown = "".join(f"{t!r} {t} {t.__rich_repr__()!r} {json.dumps(t.masked())}" for t in tables)
    assert "***" in shown
    for secret in secrets_of(config):
        assert secret not in shown


def test_no_secret_is_in_an_error_or_a_note(file):
    """Each secret of the wrong type, too short, twice, or in the wrong place."""
    texts = [
        with_canaries("retention_days = 'x'\nuser = ''\nembedded_listen = 'x'\n"),
        "[auth]\njwt_key = ['canary']\njwt_key_previous = {canary = 'canary'}\n[clickhouse]\npassword = ['canary']\n",
        "[auth]\njwt_key = 'canary'\njwt_key_previous = 'canary\\u0000'\n",
        "[auth]\napi_keys = ['canary', 'canary', {key = ['canary']}]\n",
        "[auth]\napi_keys = ['canary', {key = 'canary', project = 'p'}, ['canary'], 'canary ']\n",
        "[auth]\napi_keys = 'canary'\n",
        "[auth]\njwt_keys = 'canary'\n",
        "[auth]\njwt_keys = ['canary']\n",
        "[auth]\njwt_keys = [{key = 'canary'}, {key = ['canary']}]\n",
        "[auth]\njwt_keys = [{key = 'canary'}, {key = '-----BEGIN canary', kid = 'x'}]\n",
        "[auth]\njwt_keys = [{key = 'canary', algorithm = 'RS256'}, {key_file = 'canary'}]\n",
        "[auth]\njwt_keys = [{key_file = ['canary']}]\n",
        "[auth]\njwt_keys = [{algorithm = 'RS256', public_key_file = ['canary']}]\n",
        "[auth]\njwks_url = 'https://canary:canary@h/'\n",
        "[auth]\njwt_key = canary\n",
        "[auth]\njwt_key = 'canary\n",
        "[clickhouse]\nurl = 'http://user:canary@host:8123'\n",
        "[clickhouse]\nurl = 'user:canary@host:8123'\n",
        "[clickhouse]\nurl = 'http://host:8123/?password=canary'\n",
        "[clickhouse]\nurl = 'http://host:8123?user=u&password=canary#canary'\n",
    ]
    environs = [
        csharp(
            JwtSymmetricKey="canary",
            AllowedProjectKeys="canary,canary ",
            ClickHouseConnectionString="Host=a b;Password=canary",
        ),
        csharp(ClickHouseConnectionString="Host=h;Password='canary"),
        csharp(ClickHouseConnectionString="canary"),
        {
            "NEALYTICS_AUTH_API_KEYS": '["canary", 5]',
            "NEALYTICS_AUTH_JWT_KEY": "canary",
            "NEALYTICS_AUTH_SECRET": "canary",
        },
        {"NEALYTICS_AUTH_API_KEYS": "[canary"},
        {"NEALYTICS_AUTH_JWT_KEYS": "canary"},
        {"NEALYTICS_AUTH_JWT_KEYS": '[{"key": "canary"}]'},
        {"NEALYTICS_AUTH_JWT_KEYS": '[{"key_file": "canary"}]'},
    ]
    for path, environ in [
        *((file(text), {}) for text in texts[:1]),
        *((None, environ) for environ in environs),
    ]:
        found = problems_of(path, environ)
        assert "canary" not in str(found)
    for text in texts:
        try:
            said = str(load_with_notes(file(text), {}).notes)
        except ConfigError as error:
            said = f"{error} {error!r}"
        assert "canary" not in said.replace(str(os.getcwd()), "")


def test_a_file_that_cannot_be_read_is_the_only_mistake(tmp_path):
    """What is missing from a file that nobody could read is not known."""
    broken = tmp_path / "nealytics.toml"
    broken.write_text("[auth")
    with pytest.raises(ConfigError) as caught:
        load_with_notes(broken, {}, serving=True)
    assert len(caught.value.problems) == 1
    with pytest.raises(ConfigError, match="cannot be read") as caught:
        load_with_notes(tmp_path / "none.toml", {}, serving=True)
    assert len(caught.value.problems) == 1


def test_a_misspelt_embedded_is_not_taken_for_a_host(file):
    (problem,) = problems_of(file('[clickhouse]\nurl = "embeded"'))
    assert problem.endswith('write "embedded"')


@pytest.mark.parametrize(
    "toml",
    [
        '["http://a:8123/", "http://b:8123"]',
        '"http://a:8123, http://b:8123/"',
        '["http://a:8123,http://b:8123"]',
    ],
)
def test_several_addresses_are_a_list_or_separated_by_commas(tmp_path: Path, toml: str):
    path = tmp_path / "nealytics.toml"
    path.write_text(f"[clickhouse]\nurl = {toml}\n")
    assert load(path, {}).clickhouse.urls == ("http://a:8123", "http://b:8123")


@pytest.mark.parametrize("text", ["http://a:8123,http://b:8123", '["http://a:8123", "http://b:8123"]'])
def test_several_addresses_may_stand_in_the_environment(text: str):
    clickhouse = load(
        None, {"NEALYTICS_CLICKHOUSE_URL": text, "NEALYTICS_CLICKHOUSE_CLUSTER": "main"}
    ).clickhouse
    assert (clickhouse.urls, clickhouse.cluster) == (("http://a:8123", "http://b:8123"), "main")


@pytest.mark.parametrize(
    ("environ", "rows"),
    [
        pytest.param({}, 100_000, id="nothing"),
        pytest.param({"NEALYTICS_COMMIT_BATCH_ROWS_MAX": "9000"}, 9_000, id="a value"),
        pytest.param({"NEALYTICS_COMMIT_BATCH_ROWS_MAX": "10000"}, 10_000, id="the default's value"),
        pytest.param(
            {"TelemetryEngine__DatabaseBatchCommitSize": "10000"}, 10_000, id="an option of the C# engine"
        ),
        pytest.param({"NEALYTICS_COMMIT_CATCH_UP_ROWS_MAX": "20000"}, 20_000, id="catch_up_rows_max alone"),
        pytest.param({"NEALYTICS_COMMIT_CATCH_UP_ROWS_MAX": "0"}, 10_000, id="catch_up_rows_max of nothing"),
        pytest.param(
            {"NEALYTICS_COMMIT_BATCH_ROWS_MAX": "9000", "NEALYTICS_COMMIT_CATCH_UP_ROWS_MAX": "50000"},
            50_000,
            id="both",
        ),
        pytest.param(
            {"NEALYTICS_COMMIT_BATCH_ROWS_MAX": "9000", "NEALYTICS_COMMIT_CATCH_UP_ROWS_MAX": "1000"},
            9_000,
            id="less",
        ),
    ],
)
def test_a_size_of_batches_that_was_chosen_is_not_exceeded_unasked(environ: dict[str, str], rows: int):
    assert load(None, environ).commit.rows_at_once_max == rows
