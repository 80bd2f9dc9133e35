"""Where values come from, and in which order: defaults, the C# engine's file, the TOML file, the environment.

The C# engine's `appsettings.json` is read if it is named, or if it is here and no other file is named. The
environment knows each key as `NEALYTICS_<TABLE>_<KEY>`, a few of them by a second name, and all options
of the C# engine. A secret may stand in a file that `<NAME>_FILE` names. Unknown names are errors, for a
mistyped setting that is ignored is found out too late; and all problems are reported at once.
"""

import difflib
import json
import math
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import msgspec
from msgspec import inspect

from nealytics.config import appsettings, check, csharp
from nealytics.config.tables import ApiKey, Config, IssuerConfig, JwtAlgorithm, JwtKey, secret_keys
from nealytics.errors import ConfigError

DEFAULT_FILE = Path("nealytics.toml")
PREFIX = "NEALYTICS_"

# Second names in the environment. The last is .NET's own, which the C# engine's deployments set.
_ALSO_NAMED = {
    "NEALYTICS_LOG_LEVEL": "observe.log_level",
    "Logging__LogLevel__Default": "observe.log_level",
}
# The file's own name, what `import` reads its key from, where the executable unpacks itself.
_NOT_SETTINGS = {"NEALYTICS_CONFIG", "NEALYTICS_IMPORT_KEY", "NEALYTICS_UNPACK_DIR"}

# Kubernetes tells every container about a Service called "nealytics…" under these names.
_KUBERNETES = re.compile(
    r"NEALYTICS_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
_KUBERNETES_ADDRESS = re.compile(r"(tcp|udp|sctp)://\S+")

_PLACE = re.compile(r"((?:\[\d+\](?:\.\w+)?)?).*", re.DOTALL)
_DOTNET_LEVEL = "logging__loglevel__default"
_DOTNET_LEVELS = {"trace": "debug", "information": "info", "warn": "warning", "none": "critical"}


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
    """As `load`, with what is to be said about it. `serving` also demands what only `serve` needs."""
    gathered = _Gathered()
    gathered.read_files(path, environ)
    gathered.read_environment(environ)
    config = gathered.build()
    found = [*gathered.problems, *check.problems(config)]
    # Of a file that cannot be read nobody knows what is missing.
    if serving and gathered.file_was_read:
        found += check.serving_problems(config)
    if found:
        raise ConfigError(*dict.fromkeys(found))
    return Loaded(config, (*gathered.notes, *check.notes(config)), gathered.sources)


@dataclass(frozen=True)
class _Key:
    """One setting and what may be written for it."""

    name: str  # "wal.bytes_max"
    kind: inspect.Type
    secret: bool

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace(".", "_").upper()


def _all_keys() -> dict[str, _Key]:
    found = {}
    for table in inspect.type_info(Config).fields:  # type: ignore[attr-defined]
        for field in table.type.fields:
            name = f"{table.name}.{field.name}"
            kind = field.type
            if isinstance(kind, inspect.Metadata):
                kind = kind.type
            secret = field.name in secret_keys(table.type.cls) or name in _KEY_LISTS
            found[name] = _Key(name, kind, secret)
    return found


# Lists of tables with secrets in them: never shown, and read by functions of their own.
_KEY_LISTS = ("auth.api_keys", "auth.jwt_keys")
_TABLE_LISTS = (*_KEY_LISTS, "auth.issuers")  # an error names the place in the list, not the list

KEYS = _all_keys()
TABLES = tuple(dict.fromkeys(name.partition(".")[0] for name in KEYS))


class _Gathered:
    """Values from all sources, the later over the earlier, and what there is to say about them."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.sources: dict[str, str] = {}
        self.problems: list[str] = []
        self.notes: list[str] = []
        self.file_was_read = True  # or there is none
        self.of_csharp = False  # the C# engine's file is in use

    # The files

    def read_files(self, path: Path | None, environ: Mapping[str, str]) -> None:
        named_by = ""
        if path is None and environ.get("NEALYTICS_CONFIG"):
            path, named_by = Path(environ["NEALYTICS_CONFIG"]), " (named by NEALYTICS_CONFIG)"
        if path is None:
            if appsettings.FILE.exists():
                self._read_appsettings(appsettings.FILE, environ)
            if DEFAULT_FILE.exists():
                self._read_toml(DEFAULT_FILE, "")
                if self.of_csharp:
                    self.notes.append(f"config: {appsettings.FILE} is read, too; {DEFAULT_FILE} overrides it")
        elif path.suffix.lower() == ".json":
            self._read_appsettings(path, environ, named_by)
            if self.file_was_read and not self.of_csharp:
                self.problems.append(
                    f"config: {path}{named_by} has no section {appsettings.SECTION}; name a file of the C# "
                    "engine, or one in TOML"
                )
        else:
            self._read_toml(path, named_by)

    def _read_appsettings(self, path: Path, environ: Mapping[str, str], named_by: str = "") -> None:
        """The C# engine's file, and the one of its environment, which overrides it."""
        read: list[tuple[Path, appsettings.Settings]] = []
        over = appsettings.environment_file(path, environ)
        for file in (path, over) if over.exists() else (path,):
            try:
                read.append((file, appsettings.parse(file.read_bytes())))
            except (OSError, ValueError) as error:
                self.file_was_read = False
                reason = f"cannot be read: {error.strerror}" if isinstance(error, OSError) else error
                self.problems.append(f"config: {file}{named_by} {reason}")
                return
        if not any(found.has_section for _, found in read):
            return  # another program's, unless somebody named it
        self.of_csharp = True
        options: dict[str, tuple[appsettings.Setting, Path]] = {}
        for file, found in read:
            options |= {option: (setting, file) for option, setting in found.options.items()}
            if found.log_level:
                options[appsettings.LOG_LEVEL] = found.log_level, file
            if found.listening:
                self.notes.append(f"config: {file}: {found.listening} is not used; set server.listen instead")
        # An option counts as a whole: of a connection string that is set once more, nothing is left.
        set_again = {
            variable[len(csharp.PREFIX) :].lower().removesuffix("_file")
            for variable in environ
            if _is_csharp(variable)
        }
        for option, (setting, file) in sorted(options.items()):
            if option not in set_again:
                self._read_setting(option, setting, file)
        for file in (path, over):
            self._say_who_can_read(file)

    def _read_setting(self, option: str, setting: appsettings.Setting, file: Path) -> None:
        shown = f"{file}: {setting.name}"
        if option == appsettings.LOG_LEVEL:
            if setting.text.strip():
                self._take("observe.log_level", setting.text, str(file), shown=shown, text=True)
        elif option in _CSHARP_NAME:
            self._read_option(_CSHARP_NAME[option], setting.text, shown, str(file))
        else:
            hint = _suggestion(setting.name, [f"{appsettings.SECTION}:{known}" for known in csharp.NAMES])
            self.problems.append(f"config: {file}: unknown option {setting.name}; {hint}")

    def _say_who_can_read(self, path: Path) -> None:
        secrets = [
            name
            for name, source in self.sources.items()
            if source == str(path) and KEYS[name].secret and self.values[name]
        ]
        if secrets and path.stat().st_mode & 0o004:
            self.notes.append(
                f"config: {path} contains secrets, and every user of this machine can read it; chmod "
                f"600 {path}"
            )

    def _read_toml(self, path: Path, named_by: str) -> None:
        try:
            with path.open("rb") as file:
                tables = tomllib.load(file)
        except OSError as error:
            self.file_was_read = False
            self.problems.append(
                f"config: {path}{named_by} cannot be read: {error.strerror}; create one with `nealytics init`"
            )
            return
        except (
            ValueError,
            RecursionError,
        ) as error:  # TOMLDecodeError is a ValueError, as a number too long is
            # Only the place: the text of the line may be a secret.
            self.file_was_read = False
            place = re.search(r"\(at [^()]*\)$", str(error))
            self.problems.append(
                f"config: {path} is not valid TOML {place[0] if place else '(not UTF-8 text)'}; correct it"
            )
            return
        for table, content in tables.items():
            if table not in TABLES:
                if isinstance(content, dict) and (alike := difflib.get_close_matches(table, TABLES, n=1)):
                    self.problems.append(f"config: unknown table [{table}]; did you mean [{alike[0]}]?")
                else:
                    self._unknown_key(table)
            elif not isinstance(content, dict):
                self.problems.append(
                    f"config: {table} is a value and must be a table; write [{table}] and its keys below"
                )
            else:
                for key, value in content.items():
                    self._take(f"{table}.{key}", value, str(path), shown="")
        self._say_who_can_read(path)

    def _unknown_key(self, name: str) -> None:
        self.problems.append(f"config: unknown key {name}; {_suggestion(name, [*KEYS, *csharp.NAMES])}")

    def _take(
        self, name: str, raw: object, source: str, *, shown: str, text: bool = False, commas: bool = False
    ) -> None:
        """One value for one key. `shown` is the variable it comes from, if any; `text` is to be parsed."""
        key = KEYS.get(name)
        if key is None:
            self._unknown_key(name)
            return
        try:
            value: Any
            if name == "auth.api_keys":
                value = _api_keys(raw, text=text, commas=commas)
            elif name == "auth.jwt_keys":
                value = _jwt_keys(raw, text=text)
            elif name == "auth.issuers":
                value = _issuers(raw, text=text)
            elif name == "clickhouse.url":
                value = _addresses(raw, text=text)
            else:
                value = _value(key.kind, raw, text=text)
        except _Unusable as error:
            value_shown = "" if key.secret or name in _TABLE_LISTS else f" is {_shown(raw)}"
            # Of a list the error begins with the place in it, which belongs to the name.
            place = _PLACE.sub(r"\1", str(error))
            said = str(error)[len(place) :]
            self.problems.append(
                f"config: {name}{place}{value_shown}{f' (from {shown})' if shown else ''}{said}"
            )
            return
        self.values[name] = value
        self.sources[name] = source

    # The environment

    def read_environment(self, environ: Mapping[str, str]) -> None:
        """The C# engine's names first, so that the canonical ones win."""
        settings = {name: value for name, value in environ.items() if _is_setting(name, value)}
        by_alias: dict[str, str] = {}
        for variable, text in sorted(settings.items()):
            if not variable.startswith(PREFIX):
                by_alias |= dict.fromkeys(self._read_alias(variable, text, settings), variable)
        for variable, text in sorted(settings.items(), key=lambda item: item[0] not in _ALSO_NAMED):
            if variable.startswith(PREFIX):
                name = self._read_canonical(variable, text, settings)
                if name in by_alias:
                    self.notes.append(
                        f"config: {variable} and {by_alias[name]} are both set; {variable} is used"
                    )
        if self.of_csharp or any(_is_csharp(variable) for variable in settings):
            self._say_where_defaults_differ()

    def _read_canonical(self, variable: str, text: str, environ: Mapping[str, str]) -> str:
        """Returns the key that was set, or an empty text."""
        name = _ALSO_NAMED.get(variable) or _KEY_OF_VARIABLE.get(variable, "")
        if not name:
            plain = variable.removesuffix("_FILE")
            name = _KEY_OF_VARIABLE.get(plain, "")
            if plain == variable or not name or not KEYS[name].secret:
                hint = _suggestion(variable, [*_KEY_OF_VARIABLE, *_ALSO_NAMED, *_secret_file_variables()])
                self.problems.append(f"config: unknown environment variable {variable}; {hint}")
                return ""
            content = self._from_file(variable, text, plain, environ)
            if content is None:
                return ""
            text = content
        if text.strip() == "" and not _may_be_empty(KEYS[name].kind):
            return ""  # `NAME=` in a compose file means: not set
        self._take(name, text, variable, shown=variable, text=True)
        return name

    def _read_alias(self, variable: str, text: str, environ: Mapping[str, str]) -> list[str]:
        """Returns the keys that were set."""
        if also := _also_named(variable):
            if not text.strip():
                return []
            self._take(also, text, variable, shown=variable, text=True)
            return [also]
        option = variable[len(csharp.PREFIX) :].lower()
        name = _CSHARP_NAME.get(option)
        if name is None:
            name = _CSHARP_NAME.get(option.removesuffix("_file"))
            if not option.endswith("_file") or name not in csharp.SECRET_NAMES:
                hint = _suggestion(variable, [csharp.PREFIX + known for known in csharp.NAMES])
                self.problems.append(f"config: unknown environment variable {variable}; {hint}")
                return []
            content = self._from_file(variable, text, variable[: -len("_FILE")], environ)
            if content is None:
                return []
            text = content
        return self._read_option(name, text, variable, variable)

    def _read_option(self, name: str, text: str, shown: str, source: str) -> list[str]:
        """One option of the C# engine, by its own name. Returns the keys that were set."""
        if name in csharp.WITHOUT_MEANING:
            self.notes.append(f"config: {shown} has no effect: {csharp.WITHOUT_MEANING[name]}")
            return []
        if name in csharp.RENAMED:
            key = csharp.RENAMED[name]
            if text.strip() == "" and not _may_be_empty(KEYS[key].kind):
                return []
            text, note = _within_bounds(KEYS[key], text)
            if note:
                self.notes.append(f"config: {shown} {note}")
            self._take(key, text, source, shown=shown, text=True, commas=True)
            return [key]
        if not text.strip():
            return []
        try:
            translation = csharp.TRANSLATED[name](text)
        except ValueError as error:
            self.problems.append(f"config: {shown} {error}")
            return []
        for key, value in translation.values.items():
            self._take(key, value, source, shown=shown, text=True)
        self.notes += [f"config: {shown}: {note}" for note in translation.notes]
        return list(translation.values)

    def _from_file(self, variable: str, path: str, plain: str, environ: Mapping[str, str]) -> str | None:
        if plain in environ:
            self.problems.append(f"config: {plain} and {variable} are both set; remove one of them")
            return None
        try:
            # Editors and `echo` end a file with a newline, which is no part of the secret.
            return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            # Its value is not shown: put there by mistake, it is the secret itself.
            self.problems.append(
                f"config: {variable} names a file that cannot be read: {reason}; name the file with "
                "the secret"
            )
            return None

    def _say_where_defaults_differ(self) -> None:
        if "clickhouse.url" not in self.values:
            self.notes.append(
                "config: the C# engine's options are set without a ClickHouse address; its default "
                "was 127.0.0.1, and Nealytics' default is the embedded engine; set clickhouse.url to "
                "keep the server"
            )
        if "wal.directory" not in self.values:
            self.notes.append(
                "config: the C# engine's options are set without a log directory; its default was "
                "/var/log/nealytics_engine/; a log in there is imported if wal.directory names it"
            )

    # The whole

    def build(self) -> Config:
        values = dict(self.values)
        self._tidy(values)
        tables: dict[str, dict[str, Any]] = {table: {} for table in TABLES}
        for name, value in values.items():
            table, _, key = name.partition(".")
            tables[table][key] = value
        types = Config.__annotations__
        config = Config(**{table: types[table](**content) for table, content in tables.items()})

        # Absolute, so that it is the same for every process whatever its working directory.
        data_dir = config.server.data_dir.absolute()
        directory = config.wal.directory
        directory = data_dir / "wal" if directory == Path() else directory.absolute()
        return msgspec.structs.replace(
            config,
            server=msgspec.structs.replace(config.server, data_dir=data_dir),
            wal=msgspec.structs.replace(config.wal, directory=directory),
        )

    def _tidy(self, values: dict[str, Any]) -> None:
        """Spellings that mean the same become one."""
        if "clickhouse.url" in values:
            addresses = [part.strip().rstrip("/") for part in values["clickhouse.url"].split(",")]
            values["clickhouse.url"] = ",".join(dict.fromkeys(addresses))
        origins = values.get("server.cors_allowed_origins", ())
        if "*" in origins:
            values["server.cors_allowed_origins"] = ()
            self.notes.append(
                'config: server.cors_allowed_origins has "*", which means any origin, as an empty list does'
            )
        else:
            values["server.cors_allowed_origins"] = tuple(self._without_slash(origin) for origin in origins)
        keys: tuple[ApiKey, ...] = values.get("auth.api_keys", ())
        if len(set(keys)) < len(keys):
            values["auth.api_keys"] = tuple(dict.fromkeys(keys))
            self.notes.append("config: auth.api_keys names a key twice in the same way; once is enough")

    def _without_slash(self, origin: str) -> str:
        if not re.fullmatch(r"[^/]+://[^/]+/", origin):
            return origin.lower()
        self.notes.append(
            f'config: server.cors_allowed_origins has "{origin}", which no browser sends as Origin; it is '
            "used without its trailing slash"
        )
        return origin[:-1].lower()


class _Unusable(ValueError):
    """A value that a key cannot have; the text goes on after the key's name and says what to write."""


def _value(kind: inspect.Type, raw: object, *, text: bool) -> Any:
    """The value in the key's type. A text from the environment (`text`) is read leniently, as .NET does."""
    match kind:
        case inspect.BoolType():
            return _bool(raw, text=text)
        case inspect.IntType() | inspect.FloatType():
            return _number(kind, raw, text=text)
        case inspect.LiteralType(values=values):
            if text and isinstance(raw, str):
                raw = raw.strip().lower()
                raw = _DOTNET_LEVELS.get(raw, raw) if "info" in values else raw
            if raw not in values:
                raise _Unusable(f"; write one of {', '.join(json.dumps(value) for value in values)}")
            return raw
        case inspect.VarTupleType():
            return tuple(_texts(raw, text=text))
        case inspect.CustomType(cls=cls):
            path = _text(raw)
            # An empty path means "not set", so "." must not look like one.
            return cls(path).absolute() if path else cls()
        case _:
            value = _text(raw)
            if any("\ud800" <= char <= "\udfff" for char in value):  # how Python reads other bytes in there
                raise _Unusable(" is not UTF-8 text; correct it")
            return value


def _bool(raw: object, *, text: bool) -> bool:
    if text and isinstance(raw, str):
        raw = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }.get(raw.strip().lower(), raw)
    if not isinstance(raw, bool):
        raise _Unusable("; write true or false")
    return raw


def _number(kind: inspect.IntType | inspect.FloatType, raw: object, *, text: bool) -> int | float:
    whole = isinstance(kind, inspect.IntType)
    number = raw
    if text and isinstance(raw, str):
        try:
            number = int(raw) if whole else float(raw)
        except ValueError:
            pass
    valid = isinstance(number, int if whole else (int, float)) and not isinstance(number, bool)
    if isinstance(number, float) and not math.isfinite(number):
        valid = False
    if not valid or not _within(kind, number):  # type: ignore[arg-type]
        raise _Unusable(f"; write a {'whole number' if whole else 'number'}{_bounds(kind)}")
    return number if whole else float(number)  # type: ignore[return-value, arg-type]


def _within_bounds(key: _Key, text: str) -> tuple[str, str]:
    """A number of the C# engine, moved to the nearest that the key can have, and what to say about it."""
    kind = key.kind
    if not isinstance(kind, inspect.IntType | inspect.FloatType):
        return text, ""
    try:
        number = int(text)
    except ValueError:
        return text, ""  # `_number` says what is wrong with it
    least = csharp.LEAST.get(key.name, kind.ge)
    if number < 0 and key.name in csharp.UNLIMITED_AT_0:
        return "0", f"is {number}, which means unlimited; write {key.name} = 0"
    if least is not None and number < least:
        return str(least), f"is {number} and {key.name} is at least {least}; {least} is used"
    if kind.le is not None and number > kind.le:
        return str(kind.le), f"is {number} and {key.name} is at most {kind.le}; {kind.le} is used"
    return text, ""


def _within(kind: inspect.IntType | inspect.FloatType, number: float) -> bool:
    return (
        (kind.ge is None or number >= kind.ge)
        and (kind.gt is None or number > kind.gt)
        and (kind.le is None or number <= kind.le)
        and (kind.lt is None or number < kind.lt)
    )


def _bounds(kind: inspect.IntType | inspect.FloatType) -> str:
    low = f"from {kind.ge:,}" if kind.ge is not None else f"above {kind.gt:,}" if kind.gt is not None else ""
    high = f"to {kind.le:,}" if kind.le is not None else f"below {kind.lt:,}" if kind.lt is not None else "up"
    return f" {low} {high}" if low else ""


def _text(raw: object) -> str:
    if not isinstance(raw, str):
        raise _Unusable('; write it in quotes, "…"')
    if "\0" in raw:
        raise _Unusable(" holds a NUL character; remove it")
    return raw


def _texts(raw: object, *, text: bool) -> Iterable[str]:
    """A list: of TOML, or as JSON or separated by commas in the environment."""
    if text and isinstance(raw, str):
        parsed = _json_list(raw)
        raw = _split(raw) if parsed is None else parsed
    if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
        raise _Unusable('; write a list of texts, ["…", "…"]')
    return raw


def _addresses(raw: object, *, text: bool) -> str:
    """One address, or several as a list or separated by commas: kept as one text."""
    if text and isinstance(raw, str):
        parsed = _json_list(raw)
        raw = raw if parsed is None else parsed
    if isinstance(raw, list):
        if not all(isinstance(item, str) for item in raw):
            raise _Unusable('; write a list of texts, ["…", "…"]')
        raw = ",".join(raw)
    return _text(raw)


def _api_keys(raw: object, *, text: bool, commas: bool) -> tuple[ApiKey, ...]:
    """Keys from a list of tables or plain texts, or from a text: JSON, or keys between commas or newlines.

    A plain key is opaque: a colon in it means nothing. `commas` takes what is not JSON as such a list
    whatever it begins with, for so the C# engine read it.
    """
    if text and isinstance(raw, str):
        parsed = _json_list(raw)
        if parsed is None and not commas and raw.lstrip().startswith(("[", "{")):
            raise _Unusable(
                ' begins like JSON but is not a list; write ["key", …] or [{"key": "…", "project": "…"}, …]'
            )
        raw = _split(raw) if parsed is None else parsed
    if not isinstance(raw, list):
        raise _Unusable(' is not a list; write each key as [[auth.api_keys]] with key = "…" below')
    return tuple(_api_key(item, i) for i, item in enumerate(raw))


def _api_key(item: object, i: int) -> ApiKey:
    if isinstance(item, str):
        return ApiKey(key=item)
    if not isinstance(item, dict):
        raise _Unusable(f'[{i}] is neither a key nor a table; write [[auth.api_keys]] with key = "…" below')
    _check_texts(item, i, ApiKey.__struct_fields__)
    if item.get("kind", "server") not in {"server", "browser"}:
        raise _Unusable(f'[{i}].kind is {_shown(item["kind"])}; write "server" or "browser"')
    return ApiKey(**item)


def _jwt_keys(raw: object, *, text: bool) -> tuple[JwtKey, ...]:
    """Keys from a list of tables, or from a text with such a list in JSON."""
    if text and isinstance(raw, str):
        raw = _json_list(raw) if raw.strip() else []
        if raw is None:
            raise _Unusable(' is not a list in JSON; write [{"kid": "…", "algorithm": "HS256", "key": "…"}]')
    if not isinstance(raw, list):
        raise _Unusable(' is not a list; write each key as [[auth.jwt_keys]] with key = "…" below')
    return tuple(_jwt_key(item, i) for i, item in enumerate(raw))


def _jwt_key(item: object, i: int) -> JwtKey:
    if not isinstance(item, dict):
        raise _Unusable(f'[{i}] is not a table; write [[auth.jwt_keys]] with key = "…" below')
    _check_texts(item, i, JwtKey.__struct_fields__)
    if item.get("algorithm", "HS256") not in _ALGORITHMS:
        raise _Unusable(
            f"[{i}].algorithm is {_shown(item['algorithm'])}; write one of "
            f"{', '.join(json.dumps(algorithm) for algorithm in _ALGORITHMS)}"
        )
    given = [name for name in ("key", "key_file", "public_key_file") if item.get(name)]
    if len(given) != 1:
        raise _Unusable(
            f"[{i}] has {' and '.join(given) or 'no key'}; give one of key, key_file, public_key_file"
        )
    (source,) = given
    if source != "key":
        # Who names a file by the wrong one of the two has mistaken what is secret.
        if (source == "key_file") != (item.get("algorithm", "HS256") == "HS256"):
            raise _Unusable(
                f"[{i}] has {source}, and {item.get('algorithm', 'HS256')} needs "
                f"{'public_key_file, a PEM file' if source == 'key_file' else 'key_file, a shared secret'}"
            )
        return JwtKey(**{**item, "key": _content(item[source], f"[{i}].{source}")})
    return JwtKey(**item)


def _issuers(raw: object, *, text: bool) -> tuple[IssuerConfig, ...]:
    """Issuers from a list of tables, or from a text with such a list in JSON."""
    if text and isinstance(raw, str):
        raw = _json_list(raw) if raw.strip() else []
        if raw is None:
            raise _Unusable(
                ' is not a list in JSON; write [{"issuer": "https://…", "jwks_url": "https://…"}]'
            )
    if not isinstance(raw, list):
        raise _Unusable(" is not a list; write each issuer as [[auth.issuers]] with its keys below")
    return tuple(_issuer(item, i) for i, item in enumerate(raw))


def _issuer(item: object, i: int) -> IssuerConfig:
    if not isinstance(item, dict):
        raise _Unusable(f'[{i}] is not a table; write [[auth.issuers]] with issuer = "https://…" below')
    values = dict(item)
    texts = {name: value for name, value in values.items() if name not in _ISSUER_NOT_TEXT}
    _check_texts(texts, i, IssuerConfig.__struct_fields__)
    for name in ("audience", "algorithms"):
        if name not in values:
            continue
        listed = [values[name]] if isinstance(values[name], str) else values[name]
        if not isinstance(listed, list) or not all(isinstance(value, str) for value in listed):
            raise _Unusable(f'[{i}].{name} is neither a text nor a list of texts; write "…" or ["…", "…"]')
        values[name] = tuple(listed)
    for algorithm in values.get("algorithms", ()):
        if algorithm not in _ALGORITHMS or algorithm == "HS256":
            public = ", ".join(json.dumps(known) for known in _ALGORITHMS if known != "HS256")
            raise _Unusable(
                f"[{i}].algorithms has {_shown(algorithm)}, and an issuer's published keys are for {public}"
            )
    if not isinstance(values.get("project_scope", False), bool):
        raise _Unusable(f"[{i}].project_scope is {_shown(values['project_scope'])}; write true or false")
    if "required_claims" in values:
        values["required_claims"] = _required_claims(values["required_claims"], f"[{i}].required_claims")
    return IssuerConfig(**values)


def _required_claims(raw: object, name: str) -> dict[str, tuple[str | int | float | bool, ...]]:
    if not isinstance(raw, dict):
        raise _Unusable(f'{name} is not a table; write {{ token_use = "access" }}')
    claims = {claim: tuple(value) if isinstance(value, list) else (value,) for claim, value in raw.items()}
    for claim, values in claims.items():
        if not values or not all(isinstance(value, str | int | float | bool) for value in values):
            raise _Unusable(
                f"{name} requires a value of {_shown(claim)} that is neither a text, a number, true "
                "or false, nor a list "
                'of those; write { token_use = "access" }'
            )
    return claims


def _check_texts(item: dict[str, Any], i: int, fields: tuple[str, ...]) -> None:
    for name, value in item.items():
        if name not in fields:
            raise _Unusable(f"[{i}] has the unknown key {name}; {_suggestion(name, fields)}")
        if not isinstance(value, str):
            raise _Unusable(f'[{i}].{name} is not a text; write it in quotes, "…"')
        if any("\ud800" <= char <= "\udfff" for char in value):
            raise _Unusable(f"[{i}].{name} is not UTF-8 text; correct it")


def _content(path: str, name: str) -> str:
    try:
        # Editors and `echo` end a file with a newline, which is no part of a secret.
        content = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"
        # Its value is not shown: put there by mistake, it is the secret itself.
        raise _Unusable(
            f"{name} names a file that cannot be read: {reason}; name the file with the key"
        ) from None
    if not content:
        raise _Unusable(f"{name} names an empty file; name the file with the key")
    return content


def _json_list(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, list) else None


def _split(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\r\n]", text) if part.strip()]


def _shown(value: object) -> str:
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 100 else shown[:99] + "…"


def _may_be_empty(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.StrType | inspect.VarTupleType | inspect.CollectionType)


def _also_named(variable: str) -> str:
    """The key of a second name, or an empty text. To .NET, names have no case."""
    return _ALSO_NAMED.get(variable) or ("observe.log_level" if variable.lower() == _DOTNET_LEVEL else "")


def _is_csharp(variable: str) -> bool:
    return variable.lower().startswith(csharp.PREFIX.lower())


def _is_setting(variable: str, value: str) -> bool:
    if _also_named(variable) or _is_csharp(variable):
        return True
    if not variable.startswith(PREFIX) or variable in _NOT_SETTINGS:
        return False
    return not (_KUBERNETES.fullmatch(variable) or _KUBERNETES_ADDRESS.fullmatch(value))


def _suggestion(name: str, known: Iterable[str]) -> str:
    """What was probably meant: the same last word in another table, or the most alike."""
    candidates = list(known)
    same_word = [
        candidate
        for candidate in candidates
        if candidate.rpartition(".")[2].lower() == name.rpartition(".")[2].lower()
    ]
    alike = same_word or difflib.get_close_matches(name, candidates, n=1, cutoff=0.7)
    if not alike:
        return "nealytics.example.toml lists all"
    meant = csharp.RENAMED.get(alike[0], alike[0])
    if meant in csharp.TRANSLATED or meant in csharp.WITHOUT_MEANING:
        meant = csharp.PREFIX + meant + " in the environment"
    return f"did you mean {meant}?"


def _secret_file_variables() -> list[str]:
    return [key.variable + "_FILE" for key in KEYS.values() if key.secret]


_ALGORITHMS: tuple[str, ...] = get_args(JwtAlgorithm)
_ISSUER_NOT_TEXT = ("audience", "algorithms", "required_claims", "project_scope")
_KEY_OF_VARIABLE = {key.variable: name for name, key in KEYS.items()}
_CSHARP_NAME = {name.lower(): name for name in csharp.NAMES}
