"""The words of the elements: every language has all of them, and right-to-left pages fit."""

import json
import re
import subprocess
from typing import Any

import pytest

from tests.browser.conftest import Open, Site
from tests.browser.packages import WEB, needs_node
from tests.browser.test_dashboard import ACME, wait_for
from tests.waiting import until

LANGUAGES = ["ar", "de", "es", "fr", "ja", "pt"]


@pytest.fixture(scope="module")
def words() -> dict[str, dict[str, str]]:
    script = """
      import { build } from "esbuild";
      const source = 'export { ENGLISH as en } from "./messages.ts"; ' +
        process.argv.slice(1).map((name) => `export { default as ${name} } from "./languages/${name}.ts";`).join("");
      const { outputFiles } = await build({
        stdin: { contents: source, resolveDir: "src/text", loader: "ts" }, bundle: true, format: "esm", write: false });
      console.log(JSON.stringify(await import("data:text/javascript;base64," + Buffer.from(outputFiles[0].contents).toString("base64"))));
    """
    command = ["node", "--input-type=module", "-e", script, *LANGUAGES]
    done = subprocess.run(command, cwd=WEB, check=True, capture_output=True, text=True)
    found: dict[str, dict[str, str]] = json.loads(done.stdout)
    return found


@needs_node
def test_every_language_has_every_word_and_its_places_for_values(words: dict[str, dict[str, str]]):
    assert sorted(words) == sorted(["en", *LANGUAGES])
    for language, texts in words.items():
        assert set(texts) == set(words["en"]), language
        for key, text in texts.items():
            assert text.strip(), f"{language}: {key}"
            places = sorted(re.findall(r"\{\d\}", text))
            assert places == sorted(re.findall(r"\{\d\}", words["en"][key])), f"{language}: {key}"


EVERYTHING: Any = """<nealytics-dashboard funnel="signup, upgrade"></nealytics-dashboard>
  <nealytics-dashboard><nealytics-active></nealytics-active><nealytics-paths></nealytics-paths>
  <nealytics-heatmap></nealytics-heatmap><nealytics-timeline></nealytics-timeline><nealytics-live></nealytics-live></nealytics-dashboard>"""
BOTH = (
    'for (const one of document.querySelectorAll("nealytics-dashboard")) one.getToken = () => TOKEN("acme");'
)


def test_a_page_loads_the_words_of_its_own_language_and_no_others(site: Site, opened: Open):
    body = '<nealytics-dashboard lang="de-AT"><nealytics-figures></nealytics-figures></nealytics-dashboard>'
    page = opened(site.page(body, script=ACME))
    wait_for(page)
    urls = page.evaluate("() => performance.getEntriesByType('resource').map(({ name }) => name)")
    words = [url for url in urls if re.search(r"/embed-\w\w\.js", url)]
    assert [url.partition("?v=")[0] for url in words] == [f"{site.node.url}/embed-de.js"]
    assert page.get_by_text("Absprungrate").is_visible()


def test_a_page_whose_words_cannot_be_loaded_is_in_english(site: Site, browser: Any):
    with browser.new_context(locale="en-GB") as context:
        page = context.new_page()
        page.route("**/embed-de.js*", lambda route: route.abort())
        warnings: list[str] = []
        page.on("console", lambda one: warnings.append(one.text) if one.type == "warning" else None)
        page.goto(site.page('<nealytics-dashboard lang="de"></nealytics-dashboard>', script=ACME))
        wait_for(page)
        assert page.get_by_text("Bounce rate").is_visible()
        said = 'nealytics: the words in "de" cannot be loaded'
        until(lambda: page.evaluate("1") == 1 and any(text.startswith(said) for text in warnings))


@needs_node
@pytest.mark.parametrize("language", LANGUAGES)
def test_a_page_in_another_language_says_no_english_and_fits(
    site: Site, opened: Open, words: dict[str, dict[str, str]], language: str
):
    direction = "rtl" if language == "ar" else "ltr"
    turn = f'document.documentElement.lang = "{language}"; document.documentElement.dir = "{direction}";'
    page = opened(site.page(EVERYTHING, script=turn + BOTH), viewport={"width": 320, "height": 800})
    wait_for(page)
    assert page.evaluate("() => document.documentElement.scrollWidth") <= 320
    headings = page.locator("h3").all_text_contents()
    texts = words[language]
    for key in (
        "events",
        "item_id",
        "funnel",
        "retention",
        "active_users",
        "paths",
        "heatmap",
        "timeline",
        "live",
    ):
        assert texts[key] in headings


def test_the_funnel_falls_in_the_direction_of_the_text(site: Site, opened: Open):
    body = '<nealytics-dashboard><nealytics-funnel steps="signup, upgrade"></nealytics-funnel></nealytics-dashboard>'
    page = opened(site.page(body, script='document.documentElement.dir = "rtl";' + ACME))
    wait_for(page)
    first, second = (bar.bounding_box() for bar in page.locator("nealytics-funnel .bar").all())
    assert first["x"] > second["x"]
    slope = page.locator("nealytics-funnel .slope").evaluate("(slope) => getComputedStyle(slope).transform")
    assert slope == "matrix(-1, 0, 0, 1, 0, 0)"
