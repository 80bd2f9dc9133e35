"""`token`: prints a token that the server would take, and nothing else."""

import json
import time
from typing import Any

import jwt
import pytest
from click.testing import CliRunner, Result

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.keys import PUBLIC_ALGORITHMS
from nealytics.auth.scope import AdminScope, Scope
from nealytics.cli import main
from nealytics.config import AuthConfig, JwtKey
from nealytics.errors import Refused
from tests.fakes.issuer import IssuerKey

KEY = "test-key-of-at-least-thirty-two-bytes"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(main, ["token", *arguments], env={"NEALYTICS_AUTH_JWT_KEY": KEY, **environ})


def test_the_token_alone_is_on_stdout_and_opens_the_tenant():
    result = run("--project", "my-app", "--tenant", "café")
    assert (result.exit_code, result.stderr) == (0, "")
    scope = TokenVerifier(AuthConfig(jwt_key=KEY)).scope_of(f"Bearer {result.stdout.strip()}")
    assert scope == Scope("my-app", "café", expires_at_s=scope.expires_at_s, key=scope.key)


@pytest.mark.parametrize(
    ("expires", "seconds"), [("90s", 90), ("15m", 900), ("1h", 3_600), ("30d", 2_592_000)]
)
def test_the_token_ends_when_asked(expires, seconds):
    token = run("--project", "p", "--tenant", "t", "--expires", expires).stdout.strip()

    def verified_after(passed_s: float) -> Scope:
        verifier = TokenVerifier(
            AuthConfig(jwt_key=KEY, jwt_clock_skew_s=0), clock=lambda: time.time() + passed_s
        )
        return verifier.scope_of(f"Bearer {token}")

    assert verified_after(seconds - 10)
    with pytest.raises(Refused, match="expired"):
        verified_after(seconds + 10)


def test_the_token_names_issuer_and_audience_if_the_server_asks_for_them():
    result = run(
        "--project", "p", "--tenant", "t", NEALYTICS_AUTH_JWT_ISSUER="me", NEALYTICS_AUTH_JWT_AUDIENCE="us"
    )
    verifier = TokenVerifier(AuthConfig(jwt_key=KEY, jwt_issuer="me", jwt_audience="us"))
    assert verifier.scope_of(f"Bearer {result.stdout.strip()}")


@pytest.mark.parametrize("expires", ["1", "h", "1y", "-1h", "0s", "99999d", "1.5h", ""])
def test_a_duration_that_is_none_is_refused_with_examples(expires):
    result = run("--project", "p", "--tenant", "t", "--expires", expires)
    assert result.exit_code == 2
    assert "90s, 15m, 1h or 30d" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        ("--project", "p"),
        ("--tenant", "t"),
        ("--project", " ", "--tenant", "t"),
        ("--project", "x" * 257, "--tenant", "t"),
    ],
)
def test_a_token_without_a_usable_project_and_tenant_is_not_made(arguments):
    result = run(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")


def test_without_a_signing_key_it_says_where_to_get_one():
    result = run("--project", "p", "--tenant", "t", NEALYTICS_AUTH_JWT_KEY="")
    assert result.exit_code == 1
    assert result.stderr.startswith("token: auth.jwt_key is not set")


# What narrows or widens it


def scope_of(result: Result, **auth: Any) -> Scope:
    assert (result.exit_code, result.stderr) == (0, "")
    return TokenVerifier(AuthConfig(**(auth or {"jwt_key": KEY}))).scope_of(f"Bearer {result.stdout.strip()}")


def test_a_token_for_the_whole_project_has_no_tenant():
    scope = scope_of(run("--project", "my-app", "--project-wide"))
    assert (scope.project_id, scope.tenant_id) == ("my-app", None)


@pytest.mark.parametrize("whose", [(), ("--tenant", "t", "--project-wide")])
def test_whose_events_it_reads_is_said_once(whose):
    result = run("--project", "p", *whose)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "one of --tenant, --project-wide and --admin" in result.stderr


def test_it_narrows_itself_as_asked():
    scope = scope_of(
        run(
            "--project", "p", "--tenant", "t",
            "--filter", "meta:plan:eq:pro", "--filter", "event_type:in:a,b",
            "--endpoint", "timeline", "--endpoint", "top", "--rps", "2.5", "--subject", "ada",
        )
    )  # fmt: skip
    assert scope.filters == ("meta:plan:eq:pro", "event_type:in:a,b")
    assert (scope.endpoints, scope.rps) == (frozenset({"timeline", "top"}), 2.5)
    assert scope.key == scope_of(run("--project", "p", "--tenant", "t", "--subject", "ada")).key


def test_without_options_it_is_not_narrowed():
    scope = scope_of(run("--project", "p", "--tenant", "t"))
    assert (scope.filters, scope.endpoints, scope.rps) == ((), None, None)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--filter", "plan:eq:pro"), "event_type"),
        (("--filter", "event_type:like:x"), "eq, ne, in"),
        (("--endpoint", "/api/v1/telemetry/timeline"), "is not one of 'timeline'"),
        (("--rps", "0"), "--rps"),
        (("--rps", "-1"), "--rps"),
        (("--rps", "nan"), "rps is not a number greater than 0"),
        (("--filter", "event_type:eq:" + "x" * 2_000), "at most 1024 are accepted"),
        (("--filter", "event_type:eq:x") * 21, "at most 20 are accepted"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_token_that_the_server_would_refuse_is_not_made(arguments, said):
    result = run("--project", "p", "--tenant", "t", *arguments)
    assert result.exit_code != 0
    assert result.stdout == ""
    assert said in result.stderr


# Which key signs it


def keys(*raw: dict[str, str]) -> dict[str, str]:
    return {"NEALYTICS_AUTH_JWT_KEYS": json.dumps(raw)}


A: dict[str, Any] = {"kid": "a", "key": KEY + "-a"}
B: dict[str, Any] = {"kid": "b", "key": KEY + "-b"}


def test_it_is_signed_with_the_key_of_the_kid():
    result = run("--project", "p", "--tenant", "t", "--kid", "b", **keys(A, B))
    assert scope_of(result, jwt_keys=(JwtKey(**A), JwtKey(**B)))
    assert jwt.get_unverified_header(result.stdout.strip())["kid"] == "b"
    with pytest.raises(Refused):
        scope_of(result, jwt_keys=(JwtKey(**A), JwtKey(kid="b", key=KEY + "-a")))


def test_without_a_kid_it_is_signed_with_jwt_key_or_with_the_only_key_there_is():
    assert scope_of(run("--project", "p", "--tenant", "t", **keys(A, B)))
    result = run("--project", "p", "--tenant", "t", NEALYTICS_AUTH_JWT_KEY="", **keys(A))
    assert scope_of(result, jwt_keys=(JwtKey(**A),))
    result = run("--project", "p", "--tenant", "t", NEALYTICS_AUTH_JWT_KEY="", **keys(A, B))
    assert (result.exit_code, result.stdout) == (1, "")
    assert "choose one with --kid" in result.stderr


def test_a_kid_of_no_shared_secret_is_refused_with_those_that_are_known():
    public = {"kid": "rsa", "algorithm": "RS256", "key": IssuerKey("RS256").pem}
    result = run("--project", "p", "--tenant", "t", "--kid", "rsa", **keys(A, public))
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        'token: no HS256 key of auth.jwt_keys has the kid "rsa" (known: "a"); '
        "to sign with another service's key, use --private-key\n"
    )


@pytest.mark.parametrize(
    ("algorithm", "told"),
    [(name, True) for name in PUBLIC_ALGORITHMS] + [(name, False) for name in ("RS256", "ES256", "EdDSA")],
)
def test_it_is_signed_with_a_private_key_of_any_algorithm(tmp_path, algorithm, told):
    pair = IssuerKey(algorithm, "k")
    (tmp_path / "private.pem").write_text(pair.private_pem)
    option = ("--algorithm", algorithm) if told else ()
    result = run(
        "--project", "p", "--tenant", "t", "--kid", "k", "--private-key", "private.pem", *option,
        NEALYTICS_AUTH_JWT_KEY="",
    )  # fmt: skip
    other = JwtKey(algorithm=algorithm, kid="other", key=IssuerKey(algorithm).pem)
    assert scope_of(result, jwt_keys=(JwtKey(algorithm=algorithm, kid="k", key=pair.pem), other))


@pytest.mark.parametrize(
    ("content", "option", "said"),
    [
        ("rubbish", (), "is not an unencrypted private key in PEM format"),
        (IssuerKey("RS256").pem, (), "is not an unencrypted private key in PEM format"),
        (IssuerKey("RS256").private_pem, ("--algorithm", "ES256"), "is not a key on the curve P-256"),
        (IssuerKey("RS256", rsa_bits=1_024).private_pem, (), "is an RSA key of 1024 bits"),
    ],
    ids=["rubbish", "public", "another kind", "weak"],
)
def test_a_private_key_that_no_token_could_be_verified_with_signs_none(tmp_path, content, option, said):
    (tmp_path / "private.pem").write_text(content)
    result = run("--project", "p", "--tenant", "t", "--private-key", "private.pem", *option)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith(f"token: private.pem {said}")


@pytest.mark.parametrize("claim", ["org_id", "https://app.example/tenant", "app_metadata.tenant_id"])
def test_the_tenant_stands_in_the_claim_that_the_server_reads(claim):
    result = run("--project", "p", "--tenant", "t", NEALYTICS_AUTH_TENANT_CLAIM=claim)
    assert result.exit_code == 0, result.output
    assert scope_of(result, jwt_key=KEY, tenant_claim=claim).tenant_id == "t"


@pytest.mark.parametrize("arguments", [(), ("--project", "fixed")])
def test_with_a_fixed_project_there_is_no_other(arguments):
    result = run("--tenant", "t", *arguments, NEALYTICS_AUTH_PROJECT="fixed")
    assert scope_of(result, jwt_key=KEY, project="fixed").project_id == "fixed"
    refused = run("--project", "p", "--tenant", "t", NEALYTICS_AUTH_PROJECT="fixed")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert 'auth.project is "fixed"' in refused.stderr


def test_an_algorithm_without_a_private_key_is_refused():
    result = run("--project", "p", "--tenant", "t", "--algorithm", "RS256")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "needs --private-key" in result.stderr


def test_an_admin_token_administers_and_reads_nothing():
    token = run("--admin", "--project", "*", "--subject", "ada").stdout.strip()
    verifier = TokenVerifier(AuthConfig(jwt_key=KEY))
    assert verifier.admin_scope_of(f"Bearer {token}") == AdminScope(None, "ada")
    with pytest.raises(Refused, match="tenant_id"):
        verifier.scope_of(f"Bearer {token}")


@pytest.mark.parametrize(
    "more",
    [
        ["--tenant", "t"],
        ["--project-wide"],
        ["--filter", "user_id:exists:true"],
        ["--endpoint", "top"],
        ["--rps", "1"],
    ],
)
def test_an_admin_token_has_neither_a_tenant_nor_restrictions(more: list[str]):
    result = run("--admin", "--project", "p", *more)
    assert result.exit_code == 2, result.output


def test_an_ingest_token_writes_for_its_tenant_and_reads_nothing():
    token = run("--ingest", "--project", "p", "--tenant", "t", "--user", "ada", "--rps", "5").stdout.strip()
    verifier = TokenVerifier(AuthConfig(jwt_key=KEY))
    grant = verifier.ingest_grant_of(token)
    assert (grant.project, grant.tenant, grant.user, grant.rps) == ("p", "t", "ada", 5)
    with pytest.raises(Refused, match="reads no events"):
        verifier.scope_of(f"Bearer {token}")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--ingest"], "Give one of --tenant"),
        (["--ingest", "--project-wide"], "needs --tenant"),
        (["--ingest", "--admin"], "needs --tenant"),
        (["--ingest", "--tenant", "t", "--filter", "user_id:exists:true"], "cannot have --filter"),
        (["--ingest", "--tenant", "t", "--endpoint", "top"], "cannot have --filter or --endpoint"),
        (["--tenant", "t", "--user", "u"], "--user is for --ingest"),
        (["--ingest", "--tenant", "t", "--user", " "], "--user"),
    ],
)
def test_an_ingest_token_that_makes_no_sense_is_not_made(arguments: list[str], problem: str):
    result = run("--project", "p", *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert problem in result.stderr
