"""`token`: prints a token that the server would take, and nothing else."""

import time

import pytest
from click.testing import CliRunner, Result

from nealytics.auth.jwt import TokenVerifier
from nealytics.auth.scope import Scope
from nealytics.cli import main
from nealytics.config import AuthConfig
from nealytics.errors import Refused

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
