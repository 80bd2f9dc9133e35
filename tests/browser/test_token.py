"""What happens to the token of a page that stays open: it ends, is refused, comes late, or is somebody else's.

The numbers say whose data is shown, so they are compared with those of the tenant each time.
"""

from datetime import date, timedelta
from typing import Any

import pytest

from nealytics import demo
from tests.browser.conftest import Open, Site
from tests.browser.test_dashboard import chosen, figures, number, today, wait_for
from tests.browser.test_elements import live_event
from tests.e2e.node import token
from tests.waiting import until

DASHBOARD = '<nealytics-dashboard range="yesterday"></nealytics-dashboard>'
FIGURES = '<nealytics-figures range="yesterday"></nealytics-figures>'
UNAUTHORIZED = "status of 401"


def asking(life_s: float = 600, tenant: str = "acme", element: str = "body > *") -> str:
    """A `getToken` as a SaaS writes it."""
    fetched = f'fetch("/token?tenant={tenant}&life={life_s}").then((r) => r.text())'
    return f"document.querySelector('{element}').getToken = () => {fetched};"


def counted(site: Site, tenant: str, first: date, last: date | None = None) -> int:
    return len(chosen(site, first, last or first, tenant))


def shown_events(page: Any) -> float:
    return number(figures(page).get("Events") or "-1")


def pick(page: Any, name: str) -> None:
    page.locator("nealytics-dashboard [part=range]").click()
    page.get_by_role("button", name=name).click()


def view(page: Any) -> dict[str, Any]:
    """What must not change while a token does."""
    return {
        "range": page.locator("nealytics-dashboard [part=range]").inner_text(),
        "filters": page.locator("nealytics-dashboard .chip").all_inner_texts(),
        "scroll": page.evaluate("scrollY"),
    }


def watch(page: Any) -> None:
    """Notes from now on whether any element loses its picture."""
    page.evaluate(
        """() => {
          const all = (root) => [...root.querySelectorAll("*")].flatMap((e) => [e, ...(e.shadowRoot ? all(e.shadowRoot) : [])]);
          window.lost = [];
          const look = () => {
            for (const e of all(document)) {
              if (e.matches(".skeleton, [part=error]")) window.lost.push(e.getRootNode().host.localName);
            }
            requestAnimationFrame(look);
          };
          look();
        }"""
    )


def stable_view(page: Any) -> dict[str, Any]:
    """After a filter and a scroll, so that there is something to lose."""
    page.locator('nealytics-top[dimension="event_type"] .row', has_text="search").click()
    page.locator("nealytics-dashboard .chip", has_text="search").wait_for()
    wait_for(page)
    page.evaluate("scrollTo(0, 400)")
    page.wait_for_function("scrollY === 400")
    return view(page)


def refresh(page: Any, element: str = "nealytics-dashboard") -> None:
    """What the page does each minute while its range has today in it."""
    page.evaluate(f"document.querySelector('{element}').page.refresh()")


# The token ends


def test_a_new_token_is_asked_for_a_minute_before_the_old_one_ends(site: Site, opened: Open):
    page = opened("about:blank")
    page.clock.install()
    page.goto(site.page(DASHBOARD, script=asking(600)))
    wait_for(page)
    before = len(site.asked_tokens)
    page.clock.run_for(8 * 60_000)
    page.wait_for_timeout(200)
    assert len(site.asked_tokens) == before
    page.clock.run_for(122_000)  # the page looks each minute
    until(lambda: page.evaluate("1") == 1 and len(site.asked_tokens) == before + 1)


def test_a_token_that_ends_between_two_clicks_is_not_sent(site: Site, opened: Open):
    """Real time: the fixture would fail on the 401 that the browser notes."""
    page = opened(
        site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=asking(3)),
        viewport={"width": 1280, "height": 500},
    )
    wait_for(page)
    before = stable_view(page)
    asked = len(site.asked_tokens)
    watch(page)
    page.wait_for_timeout(3_500)
    refresh(page)
    until(lambda: page.evaluate("1") == 1 and len(site.asked_tokens) > asked)
    wait_for(page)
    assert view(page) == before
    assert page.evaluate("window.lost") == []


def test_after_the_machine_has_slept_a_new_token_is_asked_for_first(site: Site, opened: Open):
    page = opened("about:blank")
    page.clock.install()
    page.goto(site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=asking(600)))
    page.set_viewport_size({"width": 1280, "height": 500})
    wait_for(page)
    before = stable_view(page)
    asked = len(site.asked_tokens)
    watch(page)
    page.clock.fast_forward("08:00:00")  # each timer fires once at most, as after sleep
    until(lambda: page.evaluate("1") == 1 and len(site.asked_tokens) > asked)
    wait_for(page)
    assert view(page) == before
    assert page.evaluate("window.lost") == []


def test_a_clock_that_is_wrong_by_hours_does_not_ask_for_a_token_each_time(site: Site, opened: Open):
    """The page goes by the server's clock, which is in the `Date` of each answer."""
    page = opened("about:blank")
    page.clock.install(time=f"{today() + timedelta(days=1)}T12:00:00Z")
    page.goto(site.page('<nealytics-dashboard range="7d"></nealytics-dashboard>', script=asking(600)))
    wait_for(page)
    asked = len(site.asked_tokens)
    for _ in range(3):
        with page.expect_response(lambda response: "/query" in response.url):
            refresh(page)
        wait_for(page)
    assert len(site.asked_tokens) == asked


def test_a_refused_token_is_asked_for_once_more_and_nothing_on_the_page_moves(site: Site, opened: Open):
    page = opened(
        site.page(
            '<nealytics-dashboard range="7d"></nealytics-dashboard>',
            script="""
              window.asked = 0; window.refused = false;
              document.querySelector("nealytics-dashboard").getToken = () => {
                window.asked += 1;
                return fetch("/token?tenant=acme").then((r) => r.text()).then((t) => {
                  const now = window.refused ? t + "x" : t;
                  window.refused = false;
                  return now;
                });
              };
            """,
        ),
        viewport={"width": 1280, "height": 500},
        expected=(UNAUTHORIZED,),
    )
    wait_for(page)
    before = stable_view(page)
    watch(page)
    page.evaluate(
        """window.refused = true; document.querySelector("nealytics-dashboard").page.client.forgetToken();"""
    )
    asked = page.evaluate("window.asked")
    with page.expect_response(lambda response: "/query" in response.url and response.status == 200):
        refresh(page)
    wait_for(page)
    assert page.evaluate("window.asked") == asked + 2
    assert view(page) == before
    assert page.evaluate("window.lost") == []


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        ("new Error(401)", "Your sign-in has ended"),
        ("new Error(500)", ""),
        ("new TypeError('Failed to fetch')", ""),
    ],
)
def test_a_token_that_cannot_be_renewed_leaves_the_picture_and_is_asked_for_soon_again(
    site: Site, opened: Open, failure: str, said: str
):
    page = opened("about:blank", expected=("getToken failed",))
    page.clock.install()
    page.set_viewport_size({"width": 1280, "height": 500})
    page.goto(
        site.page(
            '<nealytics-dashboard range="7d"></nealytics-dashboard>',
            script=f"""
              document.querySelector("nealytics-dashboard").getToken = () =>
                window.out ? Promise.reject({failure}) : fetch("/token?tenant=acme").then((r) => r.text());
            """,
        )
    )
    wait_for(page)
    before = stable_view(page)
    watch(page)
    page.evaluate(
        """window.out = true; document.querySelector("nealytics-dashboard").page.client.forgetToken();"""
    )
    refresh(page)
    notice = page.locator("[part=notice]")
    notice.get_by_text("Not updated since").wait_for()
    assert said in notice.inner_text()
    assert page.get_by_role("button", name="Try again").count() == 1
    page.evaluate("window.out = false")
    page.clock.run_for(7_000)
    until(lambda: notice.inner_text() == "")
    wait_for(page)
    assert view(page) == before
    assert page.evaluate("window.lost") == []


def test_where_there_will_be_no_other_token_there_is_no_button_that_asks_for_one(site: Site, opened: Open):
    page = opened("about:blank", expected=("getToken failed",))
    page.goto(
        site.page(
            FIGURES,
            script="document.querySelector('nealytics-figures').getToken = () => Promise.reject(new Error(410));",
        )
    )
    page.locator("[part=error]").get_by_text("Your sign-in has ended").wait_for()
    assert page.get_by_role("button").count() == 0


# What getToken gives


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("undefined", "returned undefined"),
        ("null", "returned null"),
        ("42", "returned number"),
        ("({token: 'a.b.c'})", "returned object"),
        ("''", 'begins with ""'),
        ("'<!doctype html><title>Sign in. Now. Please</title>'", 'begins with "<!doctype html>'),
        ("JSON.stringify(TOKEN('acme'))", "three parts"),
        ("'a.b.c\\r\\nX: y'", "three parts"),
        ("Promise.reject('no')", "getToken failed: no"),
        ("(() => { throw new Error('broken'); })()", "getToken failed: broken"),
    ],
)
def test_what_is_no_token_is_never_sent_and_the_page_says_that_it_cannot_show_anything(
    site: Site, opened: Open, given: str, told: str
):
    console: list[str] = []
    requests: list[str] = []
    page = opened("about:blank", expected=(told,))
    page.on("console", lambda message: console.append(message.text))
    page.on("request", lambda request: requests.append(request.url) if "/api/" in request.url else None)
    page.goto(
        site.page(FIGURES, script=f"document.querySelector('nealytics-figures').getToken = () => {given};")
    )
    page.get_by_text("The analytics cannot be shown right now").wait_for()
    until(
        lambda: page.evaluate("1") == 1 and any("token_failed" in text and told in text for text in console)
    )
    assert requests == []
    page.evaluate(
        f"document.querySelector('nealytics-figures').getToken = () => '{token(demo.PROJECT, 'acme')}'"
    )
    until(lambda: shown_events(page) == counted(site, "acme", today() - timedelta(days=1)))


def test_a_get_token_that_never_answers_ends_after_half_a_minute_and_may_be_tried_again(
    site: Site, opened: Open
):
    script = """document.querySelector("nealytics-figures").getToken = () =>
      window.answers ? TOKEN("acme") : new Promise(() => {});"""
    page = opened("about:blank", expected=("no token in 30 s",))
    page.clock.install()
    page.goto(site.page(FIGURES, script=script))
    page.locator("nealytics-figures .skeleton").first.wait_for()
    page.clock.run_for(31_000)
    page.get_by_text("The analytics cannot be shown right now").wait_for()
    page.evaluate("window.answers = true")
    page.get_by_role("button", name="Try again").click()
    until(lambda: shown_events(page) == counted(site, "acme", today() - timedelta(days=1)))


def test_a_get_token_that_is_set_a_moment_later_shows_no_error(site: Site, opened: Open):
    script = "setTimeout(() => { " + asking() + " }, 700);"
    page = opened(site.page(FIGURES, script=script))
    until(lambda: shown_events(page) == counted(site, "acme", today() - timedelta(days=1)))


# Whose it is


@pytest.mark.parametrize("signed", ["x", "with another key"])
def test_a_wrong_token_is_tried_twice_and_is_no_sign_in_that_has_ended(site: Site, opened: Open, signed: str):
    import jwt

    wrong = token(demo.PROJECT, "acme") + "x"
    if signed != "x":
        claims = {"project_id": demo.PROJECT, "tenant_id": "acme", "exp": 4_000_000_000}
        wrong = jwt.encode(claims, "another key that is of more than 32 bytes", algorithm="HS256")
    script = f"""window.asked = 0;
      document.querySelector("nealytics-figures").getToken = () => {{ window.asked += 1; return "{wrong}"; }};"""
    page = opened(site.page(FIGURES, script=script), expected=(UNAUTHORIZED, "unauthorized", "token"))
    page.get_by_text("The analytics cannot be shown right now").wait_for()
    assert page.get_by_role("button", name="Try again").count() == 1
    assert page.evaluate("window.asked") == 2


def test_a_token_of_the_past_is_a_sign_in_that_has_ended(site: Site, opened: Open):
    past = token(demo.PROJECT, "acme", life_s=-60)
    page = opened(
        site.page(
            DASHBOARD, script=f'document.querySelector("nealytics-dashboard").getToken = () => "{past}";'
        ),
        expected=(UNAUTHORIZED, "token_expired"),
    )
    page.get_by_text("Your sign-in has ended").wait_for()
    assert page.get_by_text("Sign in again.").count() == 1


def test_a_token_of_another_project_shows_that_project_and_nothing_of_this_one(site: Site, opened: Open):
    other = token("another-project", "acme")
    page = opened(
        site.page(
            DASHBOARD, script=f'document.querySelector("nealytics-dashboard").getToken = () => "{other}";'
        )
    )
    page.get_by_text("No events yet").wait_for()
    assert page.locator("section").count() == 0  # one card in place of a page of zeros
    page.evaluate("document.querySelector('nealytics-dashboard').dev = true")
    page.get_by_text("The token is for project “another-project”, tenant “acme”.").wait_for()


def test_a_token_for_some_routes_only_shows_those_and_says_so_of_the_others(site: Site, opened: Open):
    narrow = token(demo.PROJECT, "acme", endpoints=["top"])
    page = opened(
        site.page(
            '<nealytics-dashboard range="yesterday"><nealytics-figures></nealytics-figures>'
            "<nealytics-top></nealytics-top></nealytics-dashboard>",
            script=f'document.querySelector("nealytics-dashboard").getToken = () => "{narrow}";',
        ),
        expected=("nealytics: ",),
    )
    wait_for(page)
    assert page.locator("nealytics-figures [part=error]").count() == 1
    assert page.locator("nealytics-top .row").count() > 0


def test_the_token_that_the_former_tenant_gets_too_late_is_not_used(site: Site, opened: Open):
    script = """
      const dashboard = document.querySelector("nealytics-dashboard");
      dashboard.getToken = () => new Promise((resolve) => { window.late = () => resolve(TOKEN("acme")); });
      window.switch = () => { dashboard.getToken = () => TOKEN("initech"); };
    """
    page = opened(site.page(DASHBOARD, script=script))
    page.wait_for_function("window.late !== undefined")
    page.evaluate("window.switch()")
    yesterday = today() - timedelta(days=1)
    until(lambda: shown_events(page) == counted(site, "initech", yesterday))
    page.evaluate("window.late()")
    pick(page, "Last 7 days")
    until(lambda: shown_events(page) == counted(site, "initech", today() - timedelta(days=6), today()))


def test_after_the_tenant_was_switched_no_kept_or_late_answer_of_the_former_one_is_shown(
    site: Site, opened: Open
):
    script = """
      const dashboard = document.querySelector("nealytics-dashboard");
      dashboard.getToken = () => TOKEN("acme");
      window.switch = () => { dashboard.getToken = () => TOKEN("initech"); };
    """
    page = opened(site.page('<nealytics-dashboard range="last_month"></nealytics-dashboard>', script=script))
    wait_for(page)
    pick(page, "Yesterday")
    yesterday = today() - timedelta(days=1)
    until(lambda: shown_events(page) == counted(site, "acme", yesterday))
    held: list[Any] = []
    page.route("**/query", lambda route: held.append(route))
    pick(page, "Last 7 days")
    until(lambda: page.evaluate("1") == 1 and len(held) == 1)
    page.evaluate("window.switch()")
    until(lambda: page.evaluate("1") == 1 and len(held) == 2)
    held[1].continue_()
    week = counted(site, "initech", today() - timedelta(days=6), today())
    until(lambda: shown_events(page) == week)
    held[0].continue_()
    page.unroute("**/query")
    page.wait_for_timeout(300)
    assert shown_events(page) == week
    pick(page, "Yesterday")
    until(lambda: shown_events(page) == counted(site, "initech", yesterday))


def test_a_get_token_that_gives_another_tenants_token_later_takes_the_first_ones_data_away(
    site: Site, opened: Open
):
    """Somebody signs in as somebody else in another tab; this one learns it by the next token."""
    script = """
      window.tenant = "acme";
      document.querySelector("nealytics-dashboard").getToken = () =>
        fetch("/token?life=600&tenant=" + window.tenant).then((r) => r.text());
    """
    page = opened("about:blank")
    page.clock.install()
    page.goto(site.page('<nealytics-dashboard range="last_month"></nealytics-dashboard>', script=script))
    wait_for(page)
    pick(page, "Yesterday")
    yesterday = today() - timedelta(days=1)
    until(lambda: shown_events(page) == counted(site, "acme", yesterday))
    page.evaluate("window.tenant = 'initech'")
    page.clock.fast_forward(
        "00:11:00"
    )  # the old token has ended; the range is closed, so nothing else is asked
    until(lambda: shown_events(page) == counted(site, "initech", yesterday))
    page.evaluate(
        """() => { window.seen = []; const look = () => {
          const value = document.querySelector("nealytics-dashboard").shadowRoot.querySelector("nealytics-figures")
            .shadowRoot.querySelectorAll(".value")[2]?.title;
          if (value !== undefined && window.seen.at(-1) !== value) window.seen.push(value); requestAnimationFrame(look); }; look(); }"""
    )
    pick(page, "Last month")  # which was kept, of the other tenant
    first = (today().replace(day=1) - timedelta(days=1)).replace(day=1)
    last = today().replace(day=1) - timedelta(days=1)
    month = counted(site, "initech", first, last)
    until(lambda: shown_events(page) == month)
    seen = {number(value) for value in page.evaluate("window.seen")}
    assert seen <= {month, counted(site, "initech", yesterday)}


# The live stream


def test_a_live_stream_goes_on_with_a_new_token_when_its_own_has_ended(site: Site, opened: Open):
    tenant = "live-renewed"
    states: list[str] = []
    script = f"""
      window.asked = 0;
      document.querySelector("nealytics-live").getToken = () => {{
        window.asked += 1;
        return fetch("/token?project=live&tenant={tenant}&life=3").then((r) => r.text());
      }};
    """
    page = opened(site.page('<nealytics-live range="today"></nealytics-live>', script=script))
    state = page.locator("nealytics-live [role=status]")
    until(lambda: state.count() == 1 and state.inner_text() == "Connected")
    names = page.locator("nealytics-live .what")
    for turn in range(4):
        assert site.node.post("batch", [live_event(tenant, f"turn {turn}")])[0] == 202
        until(lambda: names.count() == turn + 1)  # noqa: B023
        asked = page.evaluate("window.asked")
        until(lambda: page.evaluate("window.asked") > asked)  # noqa: B023
        states.append(state.inner_text())
    assert [name.strip() for name in names.all_inner_texts()] == [f"turn {turn}" for turn in (3, 2, 1, 0)]
    until(lambda: state.inner_text() == "Connected")
    assert "Disconnected" not in states


def test_a_live_stream_of_the_former_tenant_ends_with_the_switch(site: Site, opened: Open):
    tokens = {name: token("live", f"live-{name}") for name in ("one", "two")}
    script = f"""
      const live = document.querySelector("nealytics-live");
      live.getToken = () => "{tokens["one"]}";
      window.switch = () => {{ live.getToken = () => "{tokens["two"]}"; }};
    """
    page = opened(site.page('<nealytics-live range="today"></nealytics-live>', script=script))
    state = page.locator("nealytics-live [role=status]")
    until(lambda: state.count() == 1 and state.inner_text() == "Connected")
    names = page.locator("nealytics-live .what")

    def send(tenant: str, name: str) -> None:
        assert site.node.post("batch", [live_event(f"live-{tenant}", name)])[0] == 202

    send("one", "of one")
    until(lambda: names.all_inner_texts() == ["of one"])
    page.evaluate("window.switch()")
    until(lambda: names.count() == 0)
    send("one", "of one again")
    send("two", "of two")
    until(lambda: names.count() > 0)
    send("two", "of two again")
    until(lambda: names.count() == 2)
    assert sorted(name.strip() for name in names.all_inner_texts()) == ["of two", "of two again"]


def test_a_live_stream_that_lost_its_token_is_back_when_there_is_one(site: Site, opened: Open):
    script = """
      document.querySelector("nealytics-live").getToken = () =>
        window.out ? Promise.reject(new Error("signed out")) : fetch("/token?project=live&tenant=live-back&life=2").then((r) => r.text());
    """
    page = opened(
        site.page('<nealytics-live range="today"></nealytics-live>', script=script), expected=("signed out",)
    )
    state = page.locator("nealytics-live [role=status]")
    until(lambda: state.count() == 1 and state.inner_text() == "Connected")
    page.evaluate("window.out = true")
    until(lambda: state.inner_text() == "Disconnected")
    page.evaluate("window.out = false")
    refresh(page, "nealytics-live")
    until(lambda: state.inner_text() == "Connected")
