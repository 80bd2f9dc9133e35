"""The endpoints of docs/embedding.md that give a tenant's page its token, run as they stand on the page.

The files beside this one are applications with sessions; the code of the page takes the place of the line
`RECIPE`. An endpoint whose runtime is not installed is skipped.
"""

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jwt
import pytest

from nealytics.auth.jwt import TokenVerifier
from nealytics.client import Client, Reader, ReadError
from nealytics.config import AuthConfig
from nealytics.errors import Refused
from tests.browser.conftest import CHROMIUM
from tests.e2e.node import JWT_KEY, KEY, Node, free_port
from tests.engine import needs_engine
from tests.waiting import until, while_running

pytestmark = [pytest.mark.e2e, pytest.mark.engine, needs_engine]

HERE = Path(__file__).parent
PAGE = (HERE.parents[1] / "docs" / "embedding.md").read_text()
SECTION = PAGE.partition("\n## The token\n")[2].partition("\n## ")[0]
EXAMPLE_NODE = "https://analytics.example.com"
LIFE_S = 600  # as the page says: five to fifteen minutes
LINES_MAX = 13


def page_of(node: Node) -> str:
    """The lines of HTML that the page begins with."""
    html = re.findall(r"^```html\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[0]
    assert EXAMPLE_NODE in html
    icon = '<link rel="icon" href="data:,">'
    return f"<!doctype html><title>A SaaS</title>{icon}\n{html.replace(EXAMPLE_NODE, node.url)}"


def recipe(language: str) -> str:
    (code,) = re.findall(rf"^```{language}\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
    return str(code)


def application(file: str, language: str) -> str:
    text = (HERE / file).read_text()
    (line,) = (line for line in text.splitlines() if line.endswith(" RECIPE"))
    return text.replace(line, recipe(language))


def fastapi(directory: Path) -> list[str]:
    if not (importlib.util.find_spec("fastapi") and importlib.util.find_spec("uvicorn")):
        pytest.skip("fastapi and uvicorn are not installed; build/requirements-dev.txt has them")
    (directory / "main.py").write_text(application("fastapi.py.txt", "python"))
    return [sys.executable, "main.py"]


def express(directory: Path) -> list[str]:
    if shutil.which("node") is None or not (HERE / "node_modules" / "express").is_dir():
        pytest.skip("needs Node.js and `npm ci` in tests/recipes/, which scripts/test.sh does")
    (directory / "node_modules").symlink_to(HERE / "node_modules")
    (directory / "main.mjs").write_text(application("express.mjs", "js"))
    return ["node", "main.mjs"]


def rails(directory: Path) -> list[str]:
    needed = (
        'require "active_support/all"; require "action_controller/railtie"; require "jwt"; require "webrick"'
    )
    if shutil.which("ruby") is None or subprocess.run(["ruby", "-e", needed], capture_output=True).returncode:
        pytest.skip("Rails is not installed; on Debian: apt-get install ruby-railties ruby-jwt ruby-webrick")
    (directory / "main.rb").write_text(application("rails.rb", "ruby"))
    return ["ruby", "main.rb"]


def aspnet(directory: Path) -> list[str]:
    if shutil.which("dotnet") is None:
        pytest.skip("the .NET SDK is not installed, so the endpoint in C# is not run")
    (directory / "Program.cs").write_text(application("Program.cs", "csharp"))
    shutil.copy(HERE / "recipes.csproj", directory)
    built = subprocess.run(
        ["dotnet", "build", "-o", "built"], cwd=directory, capture_output=True, text=True, timeout=280
    )
    if "NU1301" in built.stdout:
        pytest.skip("the package Microsoft.IdentityModel.JsonWebTokens cannot be fetched")
    assert built.returncode == 0, built.stdout
    return ["dotnet", "built/recipes.dll"]


class Endpoint(NamedTuple):
    url: str

    def ask(self, session: str | None = None, query: str = "") -> tuple[int, str, Any]:
        request = urllib.request.Request(f"{self.url}/my-analytics-token{query}")
        if session is not None:
            request.add_header("Cookie", f"session={session}")
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode(), answer.headers
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(), error.headers


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    with Node(tmp_path_factory.mktemp("node")) as node:
        node.wait_ready()
        with Client(node.url, KEY, project_id="my-app") as client:
            for tenant, times in (("acme", 3), ("globex", 5)):
                for _ in range(times):
                    client.track("view", tenant_id=tenant, session_id="s", wait=True)
        yield node


@pytest.fixture(scope="module", params=[fastapi, express, rails, aspnet], ids=lambda made: made.__name__)
def endpoint(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, node: Node
) -> Iterator[Endpoint]:
    prepare: Callable[[Path], list[str]] = request.param
    directory = tmp_path_factory.mktemp("application")
    command = prepare(directory)
    page = directory / "page.html"
    page.write_text(page_of(node))
    port = free_port()
    log = directory / "log"
    with log.open("w") as output:
        process = subprocess.Popen(
            command,
            cwd=directory,
            env={**os.environ, "PORT": str(port), "PAGE": str(page), "NEALYTICS_AUTH_JWT_KEY": JWT_KEY},
            stdout=output,
            stderr=output,
        )
    endpoint = Endpoint(f"http://127.0.0.1:{port}")
    try:
        pause = while_running(process, log)
        until(endpoint.ask, timeout_s=120, pause=pause, errors=(OSError,), more=log.read_text)
        yield endpoint
    finally:
        process.kill()
        process.wait(30)


def token_for(endpoint: Endpoint, session: str, query: str = "") -> str:
    status, body, headers = endpoint.ask(session, query)
    assert status == 200, body
    assert headers["Content-Type"].startswith("text/plain")
    assert headers["Cache-Control"] == "no-store"
    return body


def test_a_token_reads_exactly_the_tenant_of_the_session(endpoint: Endpoint, node: Node):
    for tenant, events in (("acme", 3), ("globex", 5)):
        with Reader(node.url, token_for(endpoint, f"session-{tenant}")) as reader:
            answer = reader.get("summary")
        assert (answer["projectId"], answer["tenantId"], answer["events"]) == ("my-app", tenant, events)


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium; on Debian: apt-get install chromium")
def test_the_page_shows_each_person_the_events_of_their_tenant(endpoint: Endpoint):
    from playwright.sync_api import sync_playwright

    shown = {}
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        for tenant in ("acme", "globex"):
            context = browser.new_context(locale="en-GB")
            context.add_cookies([{"name": "session", "value": f"session-{tenant}", "url": endpoint.url}])
            page = context.new_page()
            page.goto(endpoint.url)
            events = page.locator("nealytics-figures li", has_text="Events").first.locator(".value")
            events.wait_for(timeout=60_000)
            shown[tenant] = events.get_attribute("title")
        browser.close()
    assert shown == {"acme": "3", "globex": "5"}


def test_a_page_cannot_choose_the_tenant(endpoint: Endpoint):
    token = token_for(endpoint, "session-acme", "?tenant=globex&tenant_id=globex&tenantId=globex")
    assert claims_of(token)["tenant_id"] == "acme"


@pytest.mark.parametrize("session", [None, "session-of-nobody"])
def test_a_visitor_who_is_not_signed_in_gets_no_token(endpoint: Endpoint, session: str | None):
    status, body, _ = endpoint.ask(session)
    assert status == 401
    assert body.count(".") < 2


def test_a_user_whose_tenant_is_missing_reads_nothing(endpoint: Endpoint, node: Node):
    status, body, _ = endpoint.ask("session-lost")
    if status == 200:
        with Reader(node.url, body) as reader, pytest.raises(ReadError) as refused:
            reader.get("summary")
        assert refused.value.status == 403
    else:
        assert status == 500


def test_a_token_ends_after_the_time_that_the_page_says(endpoint: Endpoint):
    token = token_for(endpoint, "session-acme")
    assert 0 < claims_of(token)["exp"] - time.time() <= LIFE_S
    later = TokenVerifier(AuthConfig(jwt_key=JWT_KEY), clock=lambda: time.time() + LIFE_S + 31)
    with pytest.raises(Refused, match="expired"):
        later.scope_of(f"Bearer {token}")


@pytest.mark.parametrize("language", ["python", "js", "ruby", "csharp"])
def test_an_endpoint_is_about_ten_lines(language: str):
    lines = [line for line in recipe(language).splitlines() if line.strip() and line.strip() not in "})"]
    assert len(lines) <= LINES_MAX


def claims_of(token: str) -> dict[str, Any]:
    claims: dict[str, Any] = jwt.decode(token, JWT_KEY, algorithms=["HS256"])
    return claims
