"""The C# engine's appsettings.json: read as .NET reads it, under nealytics.toml and the environment."""

# ruff: noqa: E501  (a message stands in one line, as it is printed)

from collections.abc import Callable
from pathlib import Path

import pytest

from nealytics.config import Config, load, load_with_notes
from nealytics.config.csharp import PREFIX
from nealytics.errors import ConfigError

JWT_KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(autouse=True)
def no_configuration_here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def problems_of(path: Path | None, environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_with_notes(path, environ)
    return list(caught.value.problems)


def csharp(**options: str) -> dict[str, str]:
    return {PREFIX + name: value for name, value in options.items()}


APPSETTINGS = """\
{
  // as it is delivered, but for the secrets
  "Logging": { "LogLevel": { "Default": "Warning", "Microsoft.AspNetCore": "Warning" } },
  "AllowedHosts": "*", /* of
  ASP.NET */
  "TelemetryEngine": {
    "ClickHouseConnectionString": "Host=db;Port=9000;Database=nealytics_core;User=ada;Password=pa//ss,}word;",
    "WriteAheadLogDirectory": "/app/logs/",
    "DatabaseBatchCommitSize": 9000,
    "AllowedProjectKeys": "a:1,b:2",
    "JwtSymmetricKey": "0123456789abcdef0123456789abcdef",
    "EnablePrometheusScrape": true,
    "MaxQueryLimit": "9999",
    "CorsAllowedOrigins": null,
  },
}
"""


@pytest.fixture
def settings(tmp_path) -> Callable[..., Path]:
    def write(text: str | bytes, name: str = "appsettings.json") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(0o600)
        return path

    return write


def expect_all_of_appsettings(config: Config) -> None:
    clickhouse = config.clickhouse
    assert (clickhouse.url, clickhouse.user, clickhouse.password) == (
        "http://db:8123", "ada", "pa//ss,}word",
    )  # fmt: skip
    assert config.wal.directory == Path("/app/logs")
    assert config.commit.batch_rows_max == 9000
    assert [key.key for key in config.auth.api_keys] == ["a:1", "b:2"]
    assert config.auth.jwt_key == JWT_KEY
    assert config.observe.prometheus is True
    assert config.observe.log_level == "warning"
    assert config.query.limit_max == 9999
    assert config.server.cors_allowed_origins == ()


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf", "utf-16"], ids=["none", "UTF-8", "UTF-16"])
def test_the_file_of_the_csharp_engine_is_read_as_dotnet_reads_it(settings, mark):
    content = APPSETTINGS.encode("utf-16") if mark == "utf-16" else mark + APPSETTINGS.encode()
    settings(content)
    loaded = load_with_notes(None, {}, serving=True)
    expect_all_of_appsettings(loaded.config)
    assert loaded.sources["query.limit_max"] == "appsettings.json"
    assert loaded.sources["clickhouse.password"] == "appsettings.json"
    assert not any("every user" in note for note in loaded.notes)


def test_it_may_be_named(settings):
    path = settings(APPSETTINGS, "other.JSON")
    expect_all_of_appsettings(load(path, {}))
    expect_all_of_appsettings(load(None, {"NEALYTICS_CONFIG": str(path)}))


def test_it_is_not_read_beside_a_file_that_is_named(settings, tmp_path):
    settings(APPSETTINGS)
    (tmp_path / "other.toml").write_text("[server]\nworkers = 2\n")
    assert load(tmp_path / "other.toml", {}).query.limit_max == 10_000


def test_nealytics_toml_goes_over_it_and_the_environment_over_both(settings, tmp_path):
    settings(APPSETTINGS)
    (tmp_path / "nealytics.toml").write_text("[query]\nlimit_max = 5000\n[commit]\nbatch_rows_max = 7000\n")
    loaded = load_with_notes(None, {})
    assert (loaded.config.query.limit_max, loaded.config.observe.prometheus) == (5000, True)
    assert "config: appsettings.json is read, too; nealytics.toml overrides it" in loaded.notes
    environ = csharp(MaxQueryLimit="200") | {"NEALYTICS_COMMIT_BATCH_ROWS_MAX": "300"}
    config = load(None, environ)
    assert (config.query.limit_max, config.commit.batch_rows_max) == (200, 300)


def test_an_option_in_the_environment_replaces_the_whole_of_it(settings):
    """Of the file's connection string, no user or password is left for the other server."""
    settings(APPSETTINGS)
    clickhouse = load(None, csharp(ClickHouseConnectionString="Host=other")).clickhouse
    assert (clickhouse.url, clickhouse.user, clickhouse.password) == ("http://other:8123", "default", "")


@pytest.mark.parametrize(
    ("environ", "limit_max"),
    [
        ({}, 222),
        ({"ASPNETCORE_ENVIRONMENT": "Production"}, 222),
        ({"ASPNETCORE_ENVIRONMENT": "Staging"}, 333),
        ({"DOTNET_ENVIRONMENT": "Staging", "ASPNETCORE_ENVIRONMENT": "Production"}, 333),
        ({"ASPNETCORE_ENVIRONMENT": "Development"}, 9999),
        ({"ASPNETCORE_ENVIRONMENT": "../../etc"}, 9999),
    ],
)
def test_the_file_of_the_environment_goes_over_it(settings, environ, limit_max):
    settings(APPSETTINGS)
    settings('{"telemetryengine": {"MAXQUERYLIMIT": 222}}', "appsettings.Production.json")
    settings('{"TelemetryEngine:MaxQueryLimit": 333}', "appsettings.Staging.json")
    loaded = load_with_notes(None, environ)
    assert loaded.config.query.limit_max == limit_max
    assert loaded.config.commit.batch_rows_max == 9000


def test_the_two_files_are_read_as_one(settings):
    """The section may stand in one of them, and the level of the log in the other."""
    settings(APPSETTINGS)
    settings('{"Logging": {"LogLevel": {"Default": "Error"}}}', "appsettings.Production.json")
    assert load(None, {}).observe.log_level == "error"
    settings('{"Logging": {"LogLevel": {"Default": "Error"}}}')
    settings('{"TelemetryEngine": {"MaxQueryLimit": 222}}', "appsettings.Production.json")
    config = load(None, {})
    assert (config.observe.log_level, config.query.limit_max) == ("error", 222)


@pytest.mark.parametrize(
    "text",
    [
        '{"TelemetryEngine": {"MaxQueryLimit": 222, "AllowedProjectKeys": ["a", "b"]}}',
        '{"TelemetryEngine:MaxQueryLimit": "222", "TelemetryEngine:AllowedProjectKeys": "a,b"}',
        '{"TELEMETRYENGINE": {"maxquerylimit": 222, "allowedProjectKeys": "a, b"}}',
        '{"TelemetryEngine": {"MaxQueryLimit": 222, "AllowedProjectKeys:0": "a", "AllowedProjectKeys:1": "b"}}',
        '{"TelemetryEngine": {"MaxQueryLimit": 222}, "TelemetryEngine:AllowedProjectKeys": "a,b"}',
    ],
)
def test_names_may_be_nested_or_joined_by_colons_and_have_no_case(settings, text):
    settings(text)
    config = load(None, {})
    assert config.query.limit_max == 222
    assert [key.key for key in config.auth.api_keys] == ["a", "b"]


BAD_SETTINGS: list[tuple[str, str]] = [
    ("", "is not valid JSON (at line 1, column 1)"),
    ("[]", "is not an object in JSON"),
    ('{"TelemetryEngine": {"JwtSymmetricKey": "canary\n"}}', "is not valid JSON (at line 1, column 48)"),
    ('{/* a\n\n */ "TelemetryEngine": canary}', "is not valid JSON (at line 3, column 24)"),
    ('{"TelemetryEngine": {"MaxQueryLimit": NaN}}', "is not valid JSON (NaN is not a number)"),
    ('{"TelemetryEngine": {"A": 1}} /* canary', "is not valid JSON (at line 1, column 31)"),
    ('{"a": ' + "[" * 100_000, "is not valid JSON (nested too deep)"),
    (
        '{"TelemetryEngine": {"MaxQueryLimit": 1, "maxquerylimit": 2}}',
        "has TelemetryEngine:maxquerylimit twice; names have no case",
    ),
    (
        '{"TelemetryEngine": {"MaxQueryLimit": {"a": "canary"}}}',
        "has TelemetryEngine:MaxQueryLimit:a, and no option of that engine has parts of its own",
    ),
]


@pytest.mark.parametrize(("text", "said"), BAD_SETTINGS, ids=[said[:40] for _, said in BAD_SETTINGS])
def test_a_mistake_in_it_is_reported_with_its_place_and_without_its_text(settings, text, said):
    settings(text)
    assert problems_of(None, {}) == [f"config: appsettings.json {said}"]


def test_an_unknown_option_of_it_is_reported_with_the_nearest_one(settings):
    settings(
        '{"TelemetryEngine": {"MaxQueryLimits": 1, "EnableWireCompression": "lz4", "MaxQueryLimit": "x"}}'
    )
    assert problems_of(None, {}) == [
        "config: appsettings.json: TelemetryEngine:EnableWireCompression is neither true nor false",
        'config: query.limit_max is "x" (from appsettings.json: TelemetryEngine:MaxQueryLimit); write a whole '
        "number from 1 to 1,000,000",
        "config: appsettings.json: unknown option TelemetryEngine:MaxQueryLimits; did you mean "
        "TelemetryEngine:MaxQueryLimit?",
    ]


def test_another_program_s_file_is_none_of_our_business_unless_it_is_named(settings):
    path = settings('{"ConnectionStrings": {"Default": "x"}, "Logging": {"LogLevel": {"Default": "Error"}}}')
    loaded = load_with_notes(None, {})
    assert (loaded.sources, loaded.config.observe.log_level) == ({}, "info")
    assert problems_of(path, {}) == [
        f"config: {path} has no section TelemetryEngine; name a file of the C# engine, or one in TOML"
    ]


def test_what_it_holds_beside_the_section_and_who_can_read_it_is_mentioned(settings):
    settings('{"Urls": "http://*:80", "TelemetryEngine": {"JwtSymmetricKey": "' + JWT_KEY + '"}}').chmod(
        0o644
    )
    notes = load_with_notes(None, {}).notes
    assert "config: appsettings.json: Urls is not used; set server.listen instead" in notes
    assert (
        "config: appsettings.json contains secrets, and every user of this machine can read it; chmod 600 "
        "appsettings.json" in notes
    )
    # The C# engine's defaults that are not ours are told, as for its variables.
    assert any("without a ClickHouse address" in note for note in notes)


def test_its_options_are_clamped_and_explained_as_those_of_the_environment_are(settings):
    settings('{"TelemetryEngine": {"MaxQueryLimit": 2000000, "EnableAsyncInsert": true}}')
    loaded = load_with_notes(None, {})
    assert loaded.config.query.limit_max == 1_000_000
    assert (
        "config: appsettings.json: TelemetryEngine:MaxQueryLimit is 2000000 and query.limit_max is at most "
        "1000000; 1000000 is used" in loaded.notes
    )
    assert any(
        "appsettings.json: TelemetryEngine:EnableAsyncInsert has no effect" in note for note in loaded.notes
    )


def test_a_named_file_that_is_not_there_is_a_problem():
    assert problems_of(Path("nowhere.json"), {}) == [
        "config: nowhere.json cannot be read: No such file or directory"
    ]
