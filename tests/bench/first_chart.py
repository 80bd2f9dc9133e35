"""How long a person waits for the tenant's page: in Chromium, from opening it to its first chart.

    python -m tests.bench.first_chart --data DIR [--events 10000000] [--tenants 20] [--rounds 20]

Cold is a new engine with nothing of its files in memory, a new read API and a new browser context; warm is a
new context each time (nothing cached in the browser) before a node that has answered the page before.

    asked      the page's one request for data is on its way
    first      the first answer to one of its questions is there
    data       both answers that the chart needs are there
    chart      its line is in the page, and the frame with it on the screen
    page       no card waits any more
    drawn in   from `data` to `chart`

The events are those of `bench read` and `bench page`.
"""

import asyncio
import statistics
from pathlib import Path

import click
from playwright.async_api import Browser, async_playwright

from nealytics.bench.machine import introduce, machine_at
from nealytics.bench.page import FUNNEL, RANGE, serving, tokens_of
from nealytics.bench.read import config_of
from tests.browser.conftest import CHROMIUM
from tests.waiting import until_async

_TIMEOUT_S = 300.0
_WATCH = r"""
addEventListener("DOMContentLoaded", () => {
  // The frame in which it is drawn, and then the next task, when it is on the screen.
  const when = (is, name) => {
    const look = () => {
      if (!is()) requestAnimationFrame(look);
      else requestAnimationFrame(() => setTimeout(() => performance.mark(name)));
    };
    look();
  };
  const shadow = (element, selector) => [...(element?.shadowRoot?.querySelectorAll(selector) ?? [])];
  const cards = () => shadow(document.querySelector("nealytics-dashboard"), ".layout > *");
  when(() => cards().some((card) => shadow(card, "path.line").length > 0), "chart");
  when(() => {
    const sections = cards().map((card) => shadow(card, "section")[0]);
    return sections.length > 0 && sections.every((one) => one?.getAttribute("aria-busy") === "false");
  }, "page");
});
const real = fetch;
window.answered = {};
window.fetch = async (url, init) => {
  const response = await real(url, init);
  // A later request is for something else.
  if (!String(url).endsWith("/analytics/query") || window.questions) return response;
  const { queries } = JSON.parse(init.body);
  window.questions = Object.keys(queries).length;
  const reader = response.clone().body.pipeThrough(new TextDecoderStream()).getReader();
  void (async () => {
    for (let rest = "", part; !(part = await reader.read()).done; ) {
      const lines = (rest + part.value).split("\n");
      rest = lines.pop();
      for (const name of lines.flatMap((line) => Object.keys(JSON.parse(line).results ?? {}))) {
        window.first ??= performance.now();
        window.answered[queries[name].endpoint] = performance.now();
      }
    }
  })();
  return response;
};
"""
_READ = """() => {
  const at = (name) => performance.getEntriesByName(name)[0]?.startTime;
  const all = [...performance.getEntriesByType("resource"), ...performance.getEntriesByType("navigation")];
  return {
    asked: all.find((entry) => entry.name.endsWith("/analytics/query")).requestStart,
    first: window.first, data: window.answered.timeseries, chart: at("chart"), page: at("page"),
    questions: window.questions, requests: all.length,
    bytes: all.reduce((sum, entry) => sum + entry.transferSize, 0),
  };
}"""
# The browser makes the entry of the request when its body is done with.
_IS_DONE = """() =>
  performance.getEntriesByType("mark").length === 2 &&
  performance.getEntriesByType("resource").some((entry) => entry.name.endsWith("/query"))
"""
_COLUMNS = ("asked", "first", "data", "chart", "page")


@click.command()
@click.option("--data", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--events", type=int, default=10_000_000, show_default=True)
@click.option("--tenants", type=int, default=20, show_default=True)
@click.option("--rounds", type=int, default=20, show_default=True)
def main(data: Path, events: int, tenants: int, rounds: int) -> None:
    asyncio.run(measure(data, events, tenants, rounds))


async def measure(data: Path, events: int, tenants: int, rounds: int) -> None:
    data.mkdir(parents=True, exist_ok=True)
    introduce(machine_at(data), click.echo)
    config = config_of(data)
    click.echo(f"medians of {rounds}, ms from the start of the navigation")
    columns = " ".join(f"{name:>7}" for name in _COLUMNS)
    click.echo(f"{'':<18} {columns} drawn in  requests  questions    kB")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        for whose, token in tokens_of(config, tenants).items():
            cold, warm = [], []
            for _ in range(rounds):
                async with serving(config, data, events, tenants, click.echo, cold=True) as port:
                    cold.append(await opened(browser, url_of(port, token)))
            async with serving(config, data, events, tenants, click.echo) as port:
                for number in range(rounds + 1):
                    found = await opened(browser, url_of(port, token))
                    if number > 0:
                        warm.append(found)
            click.echo(line(whose, "cold", cold))
            click.echo(line(whose, "warm", warm))
        await browser.close()


async def opened(browser: Browser, url: str) -> dict[str, float]:
    """What `_READ` finds when the page is there."""
    context = await browser.new_context(
        timezone_id=RANGE["tz"], locale="en-GB", viewport={"width": 1280, "height": 900}
    )
    try:
        page = await context.new_page()
        await page.add_init_script(_WATCH)
        await page.goto(url)
        # Asked again and again: the page's policy does not let Playwright wait in it.
        await until_async(lambda: page.evaluate(_IS_DONE), "the page is done", timeout_s=_TIMEOUT_S)
        found: dict[str, float] = await page.evaluate(_READ)
    finally:
        await context.close()
    return found


def line(whose: str, state: str, found: list[dict[str, float]]) -> str:
    middle = {name: statistics.median(each[name] for each in found) for name in found[0]}
    drawn_in = statistics.median(each["chart"] - each["data"] for each in found)
    times = " ".join(f"{middle[name]:>7.0f}" for name in _COLUMNS)
    return (
        f"{whose:<12} {state:<5} {times} {drawn_in:>8.0f} {middle['requests']:>9.0f}"
        f" {middle['questions']:>10.0f} {middle['bytes'] / 1000:>5.0f}"
    )


def url_of(port: int, token: str) -> str:
    range_ = f"range={RANGE['from']}..{RANGE['to']}"
    return f"http://127.0.0.1:{port}/embed?{range_}&funnel={','.join(FUNNEL)}#token={token}"


if __name__ == "__main__":
    main()
