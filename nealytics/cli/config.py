"""`nealytics init` and `nealytics check-config`: a configuration to begin with, and whether one is right."""

import importlib.util
import os
import re
import secrets
import sys
from pathlib import Path

import click

from nealytics.cli.options import config_option, folded, load_serving
from nealytics.config import Loaded, split_listen
from nealytics.directories import make_private
from nealytics.errors import NealyticsError

_SERVER_URL = "http://localhost:8123"
_EVERY_ADDRESS = frozenset(("0.0.0.0", "::"))
# A longer list has a line for each entry.
_LINE_CHARS = 78

_TEMPLATE = """\
# Nealytics. nealytics.example.toml shows every key with its default and when to change it.
# This file holds secrets: keep it to its owner (mode 0600) and out of version control.

[server]
listen = {listen}
data_dir = {data_dir}

[auth]
# Anyone who has this key can sign tokens that read any tenant's events.
jwt_key = {jwt_key}

# This key may send events to any project.
[[auth.api_keys]]
key = {api_key}
# A key in a web page must be bound to one project:
# [[auth.api_keys]]
# key = "…"
# kind = "browser"
# project = "my-app"
# So must the key of an SDK of Segment, RudderStack or PostHog on a server, whose events name their tenant:
# [[auth.api_keys]]
# key = "…"
# project = "my-app"

[clickhouse]
# "embedded", or the HTTP interface of a ClickHouse server: "http://localhost:8123", with user and password.
url = {clickhouse_url}
# user = "default"
# password = "…"
retention_days = 90
"""
# Only with the embedded engine: a server has users of its own.
_EMBEDDED = """\
# The next line lets ClickHouse tools read the events (user "nealytics", this password).
# embedded_listen = "127.0.0.1:8123"
embedded_password = {embedded_password}
"""


@click.command()
@click.option(
    "--config",
    "-c",
    "path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("nealytics.toml"),
    show_default=True,
    metavar="FILE",
    help="The file to write.",
)
@click.option(
    "--listen", default="0.0.0.0:5000", show_default=True, metavar="HOST:PORT", help="Address to serve on."
)
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("data"),
    show_default=True,
    metavar="DIRECTORY",
    help="Directory for the log and the embedded ClickHouse. Written as an absolute path.",
)
@click.option(
    "--clickhouse-url",
    metavar="URL",
    help='"embedded", or the address of a ClickHouse server. Default: embedded if it is installed, else '
    f"{_SERVER_URL}.",
)
@click.option("--force", is_flag=True, help="Replace an existing file. Its keys are lost.")
def init(path: Path, listen: str, data_dir: Path, clickhouse_url: str | None, force: bool) -> None:
    """Write a configuration with random keys.

    The file has mode 0600 and contains an API key, the key that signs tokens, and a password for the embedded
    engine, all random. All other settings have their defaults; nealytics.example.toml lists them.
    """
    try:
        split_listen(listen)
    except ValueError:
        raise NealyticsError(
            f'init: --listen is "{listen}" and is not host:port; write e.g. 0.0.0.0:5000'
        ) from None
    if clickhouse_url is None:
        # The release without the engine would not start with it.
        clickhouse_url = "embedded" if importlib.util.find_spec("chdb") else _SERVER_URL
    text = _TEMPLATE.format(
        listen=_toml_text(listen),
        data_dir=_toml_text(str(data_dir.absolute())),
        clickhouse_url=_toml_text(clickhouse_url),
        api_key=_toml_text(secrets.token_urlsafe(32)),
        jwt_key=_toml_text(secrets.token_urlsafe(48)),
    )
    if clickhouse_url == "embedded":
        text += _EMBEDDED.format(embedded_password=_toml_text(secrets.token_urlsafe(24)))
    _write(path, text, replace=force)
    url = f"http://{_reachable(listen)}"
    option = "" if path == Path("nealytics.toml") else f" --config {path}"
    click.echo(
        f"wrote {path} with random keys; only your user can read it\n"
        f"{_exposed(listen)}\n"
        "Next:\n"
        f"  nealytics serve{option}\n"
        f"  curl -i {url}/api/v1/telemetry/track -H 'Content-Type: application/json' \\\n"
        f"    -H 'X-Project-Key: <key under [[auth.api_keys]] in {path}>' \\\n"
        '    -d \'{"projectId":"my-app","tenantId":"tenant-1","sessionId":"s-1","eventType":"page_view"}\'\n'
        f"  nealytics token{option} --project my-app --tenant tenant-1\n"
        f"  curl {url}/api/v1/telemetry/timeline -H 'Authorization: Bearer <token>'"
    )


@click.command("check-config")
@config_option
def check_config(config_path: Path | None) -> None:
    """Check the configuration and show the settings in effect.

    Reads the file and the environment as `serve` does. Prints every setting with its value (secrets as ***)
    and its source, then warnings about values that are allowed and probably a mistake. If anything is wrong,
    prints all errors and exits with 1. Connects to nothing.
    """
    loaded = load_serving(config_path)
    click.echo(describe(loaded), nl=False)
    for note in loaded.notes:
        click.echo(folded("", note, sys.stderr), err=True)


def describe(loaded: Loaded) -> str:
    """The effective configuration as TOML, secrets masked, each line with the place that set it."""
    lines = []
    masked = loaded.config.masked()
    # A list of tables that is in no table: in TOML these precede the first table.
    for name, value in masked.items():
        if isinstance(value, list):
            lines += [*_setting(name, value, loaded.sources.get(name, "default")), ""]
    for table, content in masked.items():
        if isinstance(content, list):
            continue
        lines.append(f"[{table}]")
        for key, value in content.items():
            lines += _setting(key, value, loaded.sources.get(f"{table}.{key}", "default"))
        lines.append("")
    return "\n".join(lines[:-1]) + "\n"


def _setting(key: str, value: object, source: str) -> list[str]:
    line = f"{key} = {_toml_value(value)}"
    if len(line) > _LINE_CHARS and isinstance(value, list):
        return [f"{f'{key} = [':<48}  # {source}", *(f"  {_toml_value(item)}," for item in value), "]"]
    return [f"{line:<48}  # {source}"]


def _write(path: Path, text: str, *, replace: bool) -> None:
    """Never readable by others, not even for a moment; an existing file is replaced whole or not at all."""
    target = path.with_name(f".{path.name}.{os.getpid()}") if replace else path
    try:
        make_private(path.parent)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        if replace:
            target.replace(path)
    except FileExistsError:
        raise NealyticsError(
            f"init: {path} already exists and its keys may be in use; choose another --config, or replace it "
            "with --force"
        ) from None
    except OSError as error:
        raise NealyticsError(
            f"init: {path} cannot be written: {error.strerror}; choose another --config"
        ) from error


def _exposed(listen: str) -> str:
    """What to know of a node that other machines reach."""
    host, port = split_listen(listen)
    if host not in _EVERY_ADDRESS:
        return ""
    return (
        f"\nThe node will accept connections from other machines, on port {port} and without TLS. If only\n"
        f'this machine needs it, or a proxy on it adds TLS, set server.listen to "127.0.0.1:{port}".\n'
    )


def _reachable(listen: str) -> str:
    """An address for a command on this machine."""
    host, port = split_listen(listen)
    if host in _EVERY_ADDRESS:
        host = "localhost"
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _toml_value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _toml_text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, dict):
        set_ones = (f"{_toml_key(key)} = {_toml_value(item)}" for key, item in value.items() if item)
        return f"{{ {', '.join(set_ones)} }}"
    return str(value)


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml_text(name)


def _toml_text(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    escaped = "".join(c if c.isprintable() else f"\\U{ord(c):08X}" for c in escaped)
    return f'"{escaped}"'
