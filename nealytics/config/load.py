"""Where values come from, and in which order: defaults, the C# engine's file, the TOML file, the environment.

The C# engine's `appsettings.json` is read if it is named, or if it is here and no other file is named. Each
key has the variable `NEALYTICS_<TABLE>_<KEY>`; some have a second name, and all options of the C# engine are
understood. `<NAME>_FILE` names a file that contains a secret. Unknown names are errors, because a mistyped
setting that is ignored is noticed too late. All problems are reported at once.
"""

import difflib
import json
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from nealytics.config import appsettings, check, csharp
from nealytics.config.tables import ApiKey, Config
from nealytics.config.values import (
    KEYS,
    PREFIX,
    TABLES,
    Unusable,
    clamped,
    json_list,
    secret_in,
    split_list,
    suggestion,
)
from nealytics.errors import ConfigError

DEFAULT_FILE = Path("nealytics.toml")

_LOG_LEVEL = "observe.log_level"
_KEY_OF_VARIABLE = {"NEALYTICS_LOG_LEVEL": _LOG_LEVEL} | {key.variable: name for name, key in KEYS.items()}
_DOTNET_LEVEL = "Logging__LogLevel__Default"  # .NET's own, which the C# engine's deployments set
_CSHARP_NAME = {name.lower(): name for name in csharp.NAMES}
# The file's own name, what `import` reads its key from, where the executable unpacks itself.
_NOT_SETTINGS = {"NEALYTICS_CONFIG", "NEALYTICS_IMPORT_KEY", "NEALYTICS_UNPACK_DIR"}

# Kubernetes tells every container about a Service called "nealytics…" under these names.
_KUBERNETES = re.compile(
    r"NEALYTICS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")


class Loaded(NamedTuple):
    config: Config
    notes: tuple[str, ...]  # accepted, and worth a line in the log
    sources: Mapping[str, str]  # key → file or variable that set it; a key at its default is not in it


def load(path: Path | None = None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration. Raises `ConfigError` with every problem found."""
    return load_with_notes(path, environ).config


def load_with_notes(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, serving: bool = False
) -> Loaded:
    """As `load`, with notes and sources. `serving` also demands what only `serve` needs."""
    sources = _Sources()
    _read_files(sources, path, environ)
    _read_environment(sources, environ)
    if sources.of_csharp:
        _note_other_defaults(sources)
    config = _config_of(sources)
    found = [*sources.problems, *check.problems(config)]
    # What an unreadable file would set is unknown.
    if serving and sources.file_was_read:
        found += check.serving_problems(config)
    if found:
        raise ConfigError(*dict.fromkeys(found))
    return Loaded(config, (*sources.notes, *check.notes(config)), sources.of)


class _Sources:
    """The values of all sources, where a later one overrides an earlier one, with problems and notes."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.of: dict[str, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.file_was_read = True  # or there is none
        self.of_csharp = False  # the C# engine's file or options are in use

    def problem(self, text: str) -> None:
        self.problems.append(f"config: {text}")

    def note(self, text: str) -> None:
        self.notes.append(f"config: {text}")

    def unreadable(self, text: str) -> None:
        self.file_was_read = False
        self.problem(text)

    def take(self, name: str, raw: object, source: str, variable: str = "") -> None:
        """One value for one key. `variable`, if any, is what a text was written for."""
        if name not in KEYS:
            return self.problem(f"unknown key {name}; {suggestion(name, [*KEYS, *csharp.NAMES])}")
        try:
            self.values[name] = KEYS[name].parse(raw, text=bool(variable))
            self.of[name] = source
        except Unusable as error:
            self.problem(f"{error.what}{f' (from {variable})' if variable else ''}{error.advice}")

    def take_option(self, name: str, text: str, variable: str, source: str) -> list[str]:
        """One option of the C# engine, by its own name. Returns the keys that were set."""
        if name in csharp.WITHOUT_MEANING:
            self.note(f"{variable} has no effect: {csharp.WITHOUT_MEANING[name]}")
            return []
        if name in csharp.TRANSLATED:
            if not text.strip():
                return []
            try:
                translation = csharp.TRANSLATED[name](text)
            except ValueError as error:
                self.problem(f"{variable} {error}")
                return []
            for key, value in translation.values.items():
                self.take(key, value, source, variable)
            for note in translation.notes:
                self.note(f"{variable}: {note}")
            return list(translation.values)
        key = csharp.RENAMED[name]
        if not text.strip() and not KEYS[key].may_be_empty:
            return []
        if key == "auth.api_keys" and json_list(text) is None:
            text = json.dumps(split_list(text))  # that engine read "[" and "{" as any other character
        text, note = clamped(KEYS[key], text)
        if note:
            self.note(f"{variable} {note}")
        self.take(key, text, source, variable)
        return [key]

    def note_readers(self, path: Path) -> None:
        """Notes that every user can read a file that contains secrets."""
        secrets = (name for name, of in self.of.items() if of == str(path) and KEYS[name].secret)
        if any(self.values[name] for name in secrets) and path.stat().st_mode & 0o004:
            self.note(
                f"{path} contains secrets, and every user of this machine can read it; chmod 600 {path}"
            )


# The files


def _read_files(sources: _Sources, path: Path | None, environ: Mapping[str, str]) -> None:
    named_by = ""
    if path is None and environ.get("NEALYTICS_CONFIG"):
        path, named_by = Path(environ["NEALYTICS_CONFIG"]), " (named by NEALYTICS_CONFIG)"
    if path is None:
        if appsettings.FILE.exists():
            _read_appsettings(sources, appsettings.FILE, environ)
        if DEFAULT_FILE.exists():
            _read_toml(sources, DEFAULT_FILE)
            if sources.of_csharp:
                sources.note(f"{appsettings.FILE} is read, too; {DEFAULT_FILE} overrides it")
    elif path.suffix.lower() == ".json":
        _read_appsettings(sources, path, environ, named_by)
        if sources.file_was_read and not sources.of_csharp:
            sources.problem(
                f"{path}{named_by} has no section {appsettings.SECTION}; name a file of the C# engine, or "
                "one "
                "in TOML"
            )
    else:
        _read_toml(sources, path, named_by)


def _read_toml(sources: _Sources, path: Path, named_by: str = "") -> None:
    try:
        with path.open("rb") as file:
            tables = tomllib.load(file)
    except OSError as error:
        return sources.unreadable(
            f"{path}{named_by} cannot be read: {error.strerror}; create one with `nealytics init`"
        )
    except (ValueError, RecursionError) as error:  # a number of thousands of digits is a ValueError, too
        # Only the place: the text of the line may be a secret.
        place = re.search(r"\(at [^()]*\)$", str(error))
        return sources.unreadable(
            f"{path} is not valid TOML {place[0] if place else '(not UTF-8 text)'}; correct it"
        )
    for table, content in tables.items():
        if isinstance(content, dict) and table in TABLES:
            for key, value in content.items():
                sources.take(f"{table}.{key}", value, str(path))
        elif table in TABLES:
            sources.problem(f"{table} is a value and must be a table; write [{table}] and its keys below")
        elif isinstance(content, dict) and (alike := difflib.get_close_matches(table, TABLES, n=1)):
            sources.problem(f"unknown table [{table}]; did you mean [{alike[0]}]?")
        else:
            sources.take(table, content, str(path))
    sources.note_readers(path)


def _read_appsettings(sources: _Sources, path: Path, environ: Mapping[str, str], named_by: str = "") -> None:
    """The C# engine's file, and the one of its environment, which overrides it."""
    override = appsettings.environment_file(path, environ)
    options: dict[str, tuple[appsettings.Setting, Path]] = {}
    unused: list[str] = []
    for file in (path, override) if override.exists() else (path,):
        try:
            found = appsettings.parse(file.read_bytes())
        except (OSError, ValueError) as error:
            reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else error
            return sources.unreadable(f"{file}{named_by} {reason}")
        sources.of_csharp |= found.has_section
        options |= {option: (setting, file) for option, setting in found.options.items()}
        if found.log_level:
            options[appsettings.LOG_LEVEL] = found.log_level, file
        if found.listening:
            unused.append(f"{file}: {found.listening} is not used; set server.listen instead")
    if not sources.of_csharp:
        return  # another program's file, unless the user named it
    for note in unused:
        sources.note(note)
    # An option counts as a whole: if a connection string is set once more, nothing is left of this one.
    set_again = {(_option_of(variable) or "").removesuffix("_file") for variable in environ}
    for option, (setting, file) in sorted(options.items()):
        name = f"{file}: {setting.name}"
        if option in set_again:
            continue
        if option in _CSHARP_NAME:
            sources.take_option(_CSHARP_NAME[option], setting.text, name, str(file))
        elif option != appsettings.LOG_LEVEL:
            hint = suggestion(setting.name, [f"{appsettings.SECTION}:{known}" for known in csharp.NAMES])
            sources.problem(f"{file}: unknown option {setting.name}; {hint}")
        elif setting.text.strip():
            sources.take(_LOG_LEVEL, setting.text, str(file), name)
    for file in (path, override):
        sources.note_readers(file)


# The environment


def _read_environment(sources: _Sources, environ: Mapping[str, str]) -> None:
    """Other names first, so that the canonical ones override them."""
    settings = {name: text for name, text in environ.items() if _is_setting(name, text)}
    set_by: dict[str, str] = {}
    for variable in sorted(settings, key=_precedence):
        for name in _read_variable(sources, variable, settings):
            if name in set_by:
                sources.note(f"{variable} and {set_by[name]} are both set; {variable} is used")
            set_by[name] = variable
    sources.of_csharp |= any(_option_of(variable) is not None for variable in settings)


def _read_variable(sources: _Sources, variable: str, settings: Mapping[str, str]) -> list[str]:
    """Returns the keys that were set."""
    text, plain = settings[variable], variable[: -len("_FILE")]
    if variable.lower().endswith("_file") and _is_secret(plain):
        if plain in settings:
            sources.problem(f"{plain} and {variable} are both set; remove one of them")
            return []
        try:
            text = secret_in(text)
        except ValueError as error:
            sources.problem(f"{variable} {error}; name the file with the secret")
            return []
    else:
        plain = variable
    option = _option_of(plain)
    if option is not None and option in _CSHARP_NAME:
        return sources.take_option(_CSHARP_NAME[option], text, variable, variable)
    name = _key_of(plain)
    if name is None:
        known = [csharp.PREFIX + name for name in csharp.NAMES]
        if option is None:
            files = (key.variable + "_FILE" for key in KEYS.values() if key.secret)
            known = [*_KEY_OF_VARIABLE, _DOTNET_LEVEL, *files]
        sources.problem(f"unknown environment variable {variable}; {suggestion(variable, known)}")
        return []
    if not text.strip() and not KEYS[name].may_be_empty:
        return []  # `NAME=` in a compose file means: not set
    sources.take(name, text, variable, variable)
    return [name]


def _key_of(variable: str) -> str | None:
    # To .NET, names have no case.
    return _LOG_LEVEL if variable.lower() == _DOTNET_LEVEL.lower() else _KEY_OF_VARIABLE.get(variable)


def _option_of(variable: str) -> str | None:
    """The C# engine's option in lower case, whether there is such a one or not; None for other variables."""
    head, option = variable[: len(csharp.PREFIX)], variable[len(csharp.PREFIX) :]
    return option.lower() if head.lower() == csharp.PREFIX.lower() else None


def _is_secret(variable: str) -> bool:
    name = _key_of(variable)
    if name is not None:
        return KEYS[name].secret
    return _CSHARP_NAME.get(_option_of(variable) or "") in csharp.SECRET_NAMES


def _precedence(variable: str) -> tuple[int, str]:
    key = _KEY_OF_VARIABLE.get(variable)
    return (
        0 if not variable.startswith(PREFIX) else 2 if key and KEYS[key].variable == variable else 1
    ), variable


def _is_setting(variable: str, text: str) -> bool:
    if not variable.startswith(PREFIX):
        return _option_of(variable) is not None or _key_of(variable) is not None
    is_kubernetes = _KUBERNETES.fullmatch(variable) or _KUBERNETES_ADDRESS.fullmatch(text)
    return variable not in _NOT_SETTINGS and not is_kubernetes


def _note_other_defaults(sources: _Sources) -> None:
    if "clickhouse.url" not in sources.values:
        sources.note(
            "the C# engine's options are set without a ClickHouse address; its default was 127.0.0.1, and "
            "Nealytics' default is the embedded engine; set clickhouse.url to keep the server"
        )
    if "wal.directory" not in sources.values:
        sources.note(
            "the C# engine's options are set without a log directory; its default was "
            "/var/log/nealytics_engine/; a log in there is imported if wal.directory names it"
        )


# The whole


def _config_of(sources: _Sources) -> Config:
    _normalize(sources)
    tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
    lists: dict[str, Any] = {}
    for name, value in sources.values.items():
        table, _, key = name.partition(".")
        if key:
            tables[table][key] = value
        else:
            lists[name] = value
    types = Config.__annotations__
    config = Config(**{table: types[table](**content) for table, content in tables.items()}, **lists)

    # Absolute, so that it is the same for every process whatever its working directory.
    data_dir = config.server.data_dir.absolute()
    directory = config.wal.directory
    directory = data_dir / "wal" if directory == Path() else directory.absolute()
    saved = config.saved_queries
    return msgspec.structs.replace(
        config,
        server=msgspec.structs.replace(config.server, data_dir=data_dir),
        wal=msgspec.structs.replace(config.wal, directory=directory),
        saved_queries=msgspec.structs.replace(saved, directory=saved.directory.absolute()),
    )


def _normalize(sources: _Sources) -> None:
    """Spellings that mean the same become one."""
    values = sources.values
    if "commit.batch_rows_max" in values:
        # Also if it is the default's value: a size that was chosen is not exceeded unasked.
        values.setdefault("commit.catch_up_rows_max", values["commit.batch_rows_max"])
    if "clickhouse.url" in values:
        addresses = [part.strip().rstrip("/") for part in values["clickhouse.url"].split(",")]
        values["clickhouse.url"] = ",".join(dict.fromkeys(addresses))
    origins = values.get("server.cors_allowed_origins", ())
    if "*" in origins:
        origins = ()
        sources.note('server.cors_allowed_origins has "*", which means any origin, as an empty list does')
    for origin in origins:
        if _ENDS_IN_SLASH.fullmatch(origin):
            sources.note(
                f'server.cors_allowed_origins has "{origin}", which no browser sends as Origin; it is used '
                "without its trailing slash"
            )
    values["server.cors_allowed_origins"] = tuple(
        (origin[:-1] if _ENDS_IN_SLASH.fullmatch(origin) else origin).lower() for origin in origins
    )
    keys: tuple[ApiKey, ...] = values.get("auth.api_keys", ())
    if len(set(keys)) < len(keys):
        values["auth.api_keys"] = tuple(dict.fromkeys(keys))
        sources.note("auth.api_keys names a key twice in the same way; once is enough")


_ENDS_IN_SLASH = re.compile(r"[^/]+://[^/]+/")
