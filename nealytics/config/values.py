"""From a raw value, of TOML or the environment, to the value of a key; pure but for the files of secrets.

The types in `tables.py` say what a key accepts. A text of the environment is read leniently, as .NET does:
white space around it, any case of `true`, a list as JSON or between commas.
"""

import difflib
import json
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec import inspect

from nealytics.config import csharp
from nealytics.config.tables import Config, JwtKey, secret_keys

PREFIX = "NEALYTICS_"

_BOOLEANS = {
    **dict.fromkeys(("true", "1", "yes", "on"), True),
    **dict.fromkeys(("false", "0", "no", "off"), False),
}
_DOTNET_LEVELS = {"trace": "debug", "information": "info", "warn": "warning", "none": "critical"}
# Lists of tables, and what to write for one.
_TABLE_LISTS = {
    "auth.api_keys": 'write each key as [[auth.api_keys]] with key = "…" below',
    "auth.jwt_keys": 'write each key as [[auth.jwt_keys]] with key = "…" below',
    "auth.issuers": "write each issuer as [[auth.issuers]] with its keys below",
    "retention": "write each rule as [[retention]] with project and days below",
    "quota": "write each quota as [[quota]] with project and events_per_month or queries_per_day below",
    "segment": "write each segment as [[segment]] with project, name and filter below",
}
_AS_JSON = {
    "auth.api_keys": '["key", …] or [{"key": "…", "project": "…"}, …]',
    "auth.jwt_keys": '[{"kid": "…", "algorithm": "HS256", "key": "…"}]',
    "auth.issuers": '[{"issuer": "https://…", "jwks_url": "https://…"}]',
    "retention": '[{"project": "…", "days": 30}]',
    "quota": '[{"project": "…", "events_per_month": 1000000}]',
    "segment": '[{"project": "…", "name": "buyers", "filter": ["did(purchase, 30d)"]}]',
}


class Unusable(ValueError):
    """A value that a key cannot have: what is wrong, and the end of the sentence, after the value's
    source."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what, advice)
        self.what = what
        self.advice = advice


@dataclass(frozen=True)
class Key:
    """One setting and what it accepts."""

    name: str  # "wal.bytes_max"; "auth.api_keys[0].kind" within a list
    kind: inspect.Type
    secret: bool

    @classmethod
    def of(cls, field: inspect.Field, table: type, prefix: str) -> "Key":
        name = f"{prefix}.{field.name}" if prefix else field.name
        kind = field.type.type if isinstance(field.type, inspect.Metadata) else field.type
        # No API key and no key of tokens is shown, even if only the list is wrong, or the key itself is where
        # the name of its file belongs.
        secret = (
            field.name in secret_keys(table)
            or name in ("auth.api_keys", "auth.jwt_keys")
            or field.name.endswith("key_file")
        )
        return cls(name, kind, secret)

    @property
    def variable(self) -> str:
        return PREFIX + self.name.replace(".", "_").upper()

    @property
    def may_be_empty(self) -> bool:
        # Not a path: `NAME=` must not move the log or the database to the default directory.
        return isinstance(self.kind, inspect.StrType | inspect.VarTupleType)

    def unusable(self, raw: object, advice: str) -> Unusable:
        # The only secrets are texts, so a secret of the right type comes to no such error.
        what = "is not a text" if self.secret else f"is {shown(raw)}"
        return Unusable(f"{self.name} {what}", f"; {advice}")

    def parse(self, raw: object, *, text: bool) -> Any:
        """The value. `text` marks `raw` as a text of the environment. Raises `Unusable`."""
        match self.kind:
            case inspect.BoolType():
                return self._bool(raw, text)
            case inspect.IntType() | inspect.FloatType():
                return self._number(self.kind, raw, text)
            case inspect.LiteralType(values=values):
                return self._choice(values, raw, text)
            case inspect.VarTupleType(item_type=inspect.StructType() as table):
                return tuple(
                    _table(Key(f"{self.name}[{i}]", table, self.secret), table, item, _TABLE_LISTS[self.name])
                    for i, item in enumerate(self._tables(raw, text))
                )
            case inspect.VarTupleType(item_type=item):
                entries = self._list(raw, text)
                return tuple(Key(self.name, item, self.secret).parse(entry, text=False) for entry in entries)
            case inspect.CustomType(cls=cls):
                path = self._text(raw)
                # An empty path means "not set", so "." must not look like one.
                return cls(path).absolute() if path else cls()
            case inspect.DictType():
                return self._claims(raw)
            case _:
                return self._addresses(raw, text) if self.name == "clickhouse.url" else self._text(raw)

    def _bool(self, raw: object, text: bool) -> bool:
        value = _BOOLEANS.get(raw.strip().lower()) if text and isinstance(raw, str) else raw
        if not isinstance(value, bool):
            raise self.unusable(raw, "write true or false")
        return value

    def _number(self, kind: inspect.IntType | inspect.FloatType, raw: object, text: bool) -> int | float:
        whole = isinstance(kind, inspect.IntType)
        number = raw
        if text and isinstance(raw, str):
            try:
                number = int(raw) if whole else float(raw)
            except ValueError:
                pass
        if (
            isinstance(number, bool)
            or not isinstance(number, int if whole else int | float)
            or not math.isfinite(number)
            or not _is_within(kind, number)
        ):
            raise self.unusable(raw, f"write a {'whole number' if whole else 'number'}{_bounds(kind)}")
        return number if whole else float(number)

    def _choice(self, values: tuple[Any, ...], raw: object, text: bool) -> Any:
        value = raw
        if text and isinstance(raw, str):
            value = raw.strip().lower()
            value = _DOTNET_LEVELS.get(value, value) if self.name == "observe.log_level" else value
        if value not in values:
            raise self.unusable(raw, f"write one of {', '.join(map(shown, values))}")
        return value

    def _text(self, raw: object) -> str:
        if not isinstance(raw, str):
            raise self.unusable(raw, 'write it in quotes, "…"')
        if "\0" in raw:
            raise Unusable(f"{self.name} contains a NUL character", "; remove it")
        if any("\ud800" <= char <= "\udfff" for char in raw):  # how Python reads other bytes in a variable
            raise Unusable(f"{self.name} is not UTF-8 text", "; correct it")
        return raw

    def _list(self, raw: object, text: bool) -> list[Any]:
        if text and isinstance(raw, str):
            parsed = json_list(raw)
            raw = split_list(raw) if parsed is None else parsed
        if not isinstance(raw, list) or not all(isinstance(item, str) for item in raw):
            raise self.unusable(raw, 'write a list of texts, ["…", "…"]')
        return raw

    def _addresses(self, raw: object, text: bool) -> str:
        """One address, or several as a list or between commas, kept as one text."""
        if text and isinstance(raw, str):
            parsed = json_list(raw)
            raw = raw if parsed is None else parsed
        return ",".join(self._list(raw, False)) if isinstance(raw, list) else self._text(raw)

    def _tables(self, raw: object, text: bool) -> list[Any]:
        """In the environment: a list in JSON; API keys also between commas or newlines.

        A plain key is opaque: a colon in it means nothing.
        """
        if text and isinstance(raw, str):
            parsed = json_list(raw)
            if parsed is None and raw.strip():
                if self.name != "auth.api_keys" or raw.lstrip().startswith(("[", "{")):
                    raise Unusable(f"{self.name} is not a list in JSON", f"; write {_AS_JSON[self.name]}")
                parsed = split_list(raw)
            raw = parsed or []
        if not isinstance(raw, list):
            raise Unusable(f"{self.name} is not a list", f"; {_TABLE_LISTS[self.name]}")
        return [
            {"key": item} if self.name == "auth.api_keys" and isinstance(item, str) else item for item in raw
        ]

    def _claims(self, raw: object) -> dict[str, tuple[str | int | float | bool, ...]]:
        example = '; write { token_use = "access" }'
        if not isinstance(raw, dict):
            raise Unusable(f"{self.name} is not a table", example)
        claims = {
            claim: tuple(value) if isinstance(value, list) else (value,) for claim, value in raw.items()
        }
        for claim, values in claims.items():
            if not values or not all(isinstance(value, str | int | float | bool) for value in values):
                raise Unusable(
                    f"{self.name} requires a value of {shown(claim)} that is not a text, a number, true, "
                    "false "
                    "or a list of those",
                    example,
                )
        return claims


def _table(key: Key, table: inspect.StructType, item: object, advice: str) -> Any:
    """One entry of a list of tables."""
    if not isinstance(item, dict):
        raise Unusable(f"{key.name} is not a table", f"; {advice}")
    keys = {field.name: Key.of(field, table.cls, key.name) for field in table.fields}
    values = {}
    for name, raw in item.items():
        if name not in keys:
            raise Unusable(f"{key.name} has the unknown key {name}", f"; {suggestion(name, keys)}")
        # A single text in place of a list of them, such as `audience`.
        is_list = isinstance(keys[name].kind, inspect.VarTupleType)
        values[name] = keys[name].parse([raw] if is_list and isinstance(raw, str) else raw, text=False)
    if table.cls is JwtKey:
        values["key"] = _key_material(key.name, values)
    return table.cls(**values)


def _key_material(where: str, values: dict[str, str]) -> str:
    """The key of an entry of `auth.jwt_keys`, from the entry or from the file that it names."""
    given = [name for name in ("key", "key_file", "public_key_file") if values.get(name)]
    algorithm = values.get("algorithm", "HS256")
    if len(given) != 1:
        raise Unusable(
            f"{where} has {' and '.join(given) or 'no key'}", "; give one of key, key_file, public_key_file"
        )
    (source,) = given
    if source == "key":
        return values["key"]
    # A file named by the wrong one of the two is a mistake about what is secret.
    if (source == "key_file") != (algorithm == "HS256"):
        needed = "key_file, a shared secret" if algorithm == "HS256" else "public_key_file, a PEM file"
        raise Unusable(f"{where} has {source}", f", and {algorithm} needs {needed}")
    try:
        content = secret_in(values[source])
    except ValueError as error:
        raise Unusable(f"{where}.{source} {error}", "; name the file with the key") from None
    if not content:
        raise Unusable(f"{where}.{source} names an empty file", "; name the file with the key")
    return content


def secret_in(path: str) -> str:
    """The content of a file. Raises `ValueError` with the reason, without the path: it may be the secret."""
    try:
        # Editors and `echo` end a file with a newline, which is not part of a secret.
        return Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or "it is not UTF-8 text"
        raise ValueError(f"names a file that cannot be read: {reason}") from None


def clamped(key: Key, text: str) -> tuple[str, str]:
    """A number of the C# engine, moved to the nearest that the key accepts, and what to say about it."""
    kind = key.kind
    if not isinstance(kind, inspect.IntType | inspect.FloatType):
        return text, ""
    try:
        number = int(text)
    except ValueError:
        return text, ""  # `Key.parse` says what is wrong with it
    least = csharp.LEAST.get(key.name, kind.ge)
    if number < 0 and key.name in csharp.UNLIMITED_AT_0:
        return "0", f"is {number}, which means unlimited; write {key.name} = 0"
    if least is not None and number < least:
        return str(least), f"is {number} and {key.name} is at least {least}; {least} is used"
    if kind.le is not None and number > kind.le:
        return str(kind.le), f"is {number} and {key.name} is at most {kind.le}; {kind.le} is used"
    return text, ""


def _is_within(kind: inspect.IntType | inspect.FloatType, number: float) -> bool:
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


def json_list(text: str) -> list[Any] | None:
    if not text.lstrip().startswith("["):
        return None
    try:
        parsed = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return parsed if isinstance(parsed, list) else None


def split_list(text: str) -> list[str]:
    return [part.strip() for part in re.split(r"[,\r\n]", text) if part.strip()]


def shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 100 else text[:99] + "…"


def suggestion(name: str, known: Iterable[str]) -> str:
    """What was probably meant: the same last word in another table, or the most similar name."""
    candidates = list(known)
    last_word = name.rpartition(".")[2].lower()
    alike = [candidate for candidate in candidates if candidate.rpartition(".")[2].lower() == last_word]
    alike = alike or difflib.get_close_matches(name, candidates, n=1, cutoff=0.7)
    if not alike:
        return "nealytics.example.toml lists all"
    meant = csharp.RENAMED.get(alike[0], alike[0])
    if meant in csharp.TRANSLATED or meant in csharp.WITHOUT_MEANING:
        meant = f"{csharp.PREFIX}{meant} in the environment"
    return f"did you mean {meant}?"


_FIELDS = inspect.type_info(Config).fields  # type: ignore[attr-defined]
TABLES = tuple(field.name for field in _FIELDS if isinstance(field.type, inspect.StructType))
KEYS = {
    key.name: key
    for table in _FIELDS
    for key in (
        [Key.of(field, table.type.cls, table.name) for field in table.type.fields]
        if table.name in TABLES
        else [Key.of(table, Config, "")]  # a list of tables that is in no table, such as [[retention]]
    )
}
