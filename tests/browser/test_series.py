"""The series view: what its chart shows is what the API says, and everything can be done in several ways."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from observer_core.shared.clock import parse_time
from tests.browser import desk as desk_data
from tests.browser.hostile import NAMES, RUN
from tests.browser.large import LONG, MANY
from tests.browser.recorder import MINUTE
from tests.browser.served import Process, Site
from tests.browser.tab import OpenTab, Tab

FAILED = r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|request failed"
BTC = {"source": "binance", "subject": "BTC/USDT", "field": "close"}
SOL = {**BTC, "subject": "SOL/USDT"}
KRW = {"source": "upbit", "subject": "BTC/KRW", "field": "last"}
TAPE = {"source": "long", "subject": "LONG", "field": "price", "domain": "tape"}
HALT_FROM, HALT_TO = (desk_data.START_NS + minute * MINUTE for minute in desk_data.HALT)


def look(tab: Tab, **params: str) -> None:
    tab.goto("series", **params)
    ready(tab)


def ready(tab: Tab) -> None:
    """Until the chart is that of what is asked for."""
    tab.eventually("""document.querySelector(".chart")?.getAttribute("aria-busy") === "false"
        && document.querySelector(".chart canvas") !== null""")


def told(tab: Tab) -> str:
    """What the chart says of itself to who cannot see it."""
    return str(tab.locator(".chart [role=img]").get_attribute("aria-label"))


def count(tab: Tab, name: str) -> int:
    found = re.search(rf"\b{name}: ([\d,]+)", told(tab), re.IGNORECASE)
    assert found, told(tab)
    return int(found[1].replace(",", ""))


def seen(tab: Tab) -> tuple[int, int]:
    """From when to when the address says that is looked (ns)."""
    query = parse_qs(urlsplit(tab.page.url).fragment.partition("?")[2])
    return parse_time(query["since"][0]), parse_time(query["until"][0])


def box(tab: Tab) -> dict[str, float]:
    found: dict[str, float] = tab.locator(".chart .u-over").bounding_box()
    return found


def point(tab: Tab, across: float, down: float = 0.5) -> tuple[float, float]:
    """A place of the chart: parts of its width and height."""
    at = box(tab)
    return at["x"] + at["width"] * across, at["y"] + at["height"] * down


def drag(tab: Tab, start: float, end: float) -> None:
    tab.mouse.move(*point(tab, start))
    tab.mouse.down()
    tab.mouse.move(*point(tab, end), steps=4)
    tab.mouse.up()


def moved(tab: Tab, before: str) -> None:
    """Until the address is another one, and what it asks for is there."""
    tab.eventually(f"location.hash !== {json.dumps(before)}")
    ready(tab)


def place(tab: Tab) -> str:
    return str(tab.evaluate("location.hash"))


def readout(tab: Tab) -> str:
    return str(tab.locator(".readout").inner_text())


def span(tab: Tab, name: str) -> None:
    tab.locator(".spans").get_by_role("button", name=re.compile(f"^{name}(:|$)")).click()
    ready(tab)


def answers(tab: Tab) -> list[dict[str, Any]]:
    """All points that have come."""
    return [
        found.json() for found in tab.responses if "/v1/series/points" in found.url and found.status == 200
    ]


# ---------------------------------------------------------------------- what is to be seen


def test_a_line_its_patterns_and_its_blocks_are_those_of_the_api(page: Tab, desk: Site) -> None:
    part = {"since": "2026-03-02T04:00:00Z", "until": "2026-03-02T09:00:00Z"}
    look(page, **SOL, **part, form="line")
    answer = desk.get(f"v1/series/points?{urlencode({**SOL, **part})}")
    markers = desk.get(f"v1/series/markers?{urlencode({**SOL, **part})}")["items"]
    about = {"domain": "live", "subject": "SOL/USDT", "standing": "false"}
    blocks = desk.get(f"v1/blocks?{urlencode({**about, **part})}")["items"]
    assert count(page, "points") == answer["rows"] > 200
    assert count(page, "patterns") == len(markers) > 2
    assert count(page, "blocks") == len(blocks) > 0
    lowest = re.search(r"Lowest ([\d,.]+),", told(page))
    assert lowest
    assert float(lowest[1].replace(",", "")) == pytest.approx(min(answer["value"]), rel=1e-5)
    names = page.locator(".series-patterns tbody td:first-child").all_inner_texts()
    assert [name.strip() for name in names] == [marker["pattern"] for marker in reversed(markers)]
    policies = page.locator(".series-blocks tbody td:first-child").all_inner_texts()
    assert policies == [block["policy"] for block in blocks]


def test_all_of_a_subject_are_more_than_those_of_one_field(page: Tab, desk: Site) -> None:
    look(page, **SOL, since="all", form="line")
    own = desk.get(f"v1/series/markers?{urlencode(SOL)}")["items"]
    every = desk.get(f"v1/series/markers?{urlencode({**SOL, 'all': 'true'})}")["items"]
    assert count(page, "patterns") == len(own) < len(every)
    page.get_by_label("All of the subject").check()
    page.eventually(f"document.querySelectorAll('.series-patterns tbody tr').length === {len(every)}")
    assert count(page, "patterns") == len(every)


def test_bars_are_candles_with_their_volume(page: Tab, desk: Site) -> None:
    look(page, **BTC)
    assert page.get_by_role("button", name="Candles").get_attribute("aria-pressed") == "true"
    span(page, "1h")
    page.mouse.move(*point(page, 0.5))
    shown = re.fullmatch(
        r"(.+?)O([\d.,]+)H([\d.,]+)L([\d.,]+)C([\d.,]+)[▲▼][+−][\d.]+%V([\d.,]+)",
        re.sub(r"\s", "", readout(page)),
    )
    assert shown, readout(page)
    values = [float(text.replace(",", "")) for text in shown.groups()[1:]]
    minute = re.search(r"(\d\d:\d\d:00)$", shown[1])
    assert minute
    at = f"2026-03-02T{minute[1]}Z"
    bar = desk.get(f"v1/series/points?{urlencode({**BTC, 'since': at, 'until': at, 'form': 'candles'})}")
    fields = ("open", "high", "low", "close", "volume")
    assert values == [pytest.approx(bar[name][0], rel=1e-4) for name in fields]


def test_a_gap_is_a_gap(page: Tab) -> None:
    look(page, **KRW, since="2026-03-02T07:00:00Z", until="2026-03-02T08:30:00Z", form="line")
    assert count(page, "gaps") == 1
    first, last = (
        (moment - parse_time("2026-03-02T07:00:00Z")) / (90 * MINUTE) for moment in (HALT_FROM, HALT_TO)
    )
    assert curve_at(page, first - 0.1)
    assert curve_at(page, last + 0.1)
    assert not curve_at(page, first + 0.1 * (last - first))
    assert not curve_at(page, (first + last) / 2)
    page.mouse.move(*point(page, (first + last) / 2))
    assert "no data" in readout(page)
    page.shot("series-gap")


def test_the_chart_follows_the_theme(page: Tab) -> None:
    look(page, **KRW, form="line")
    assert curve_at(page, 0.5)
    before = page.evaluate(CURVE)
    page.emulate_media(color_scheme="dark")
    page.eventually(f"({CURVE}) !== {json.dumps(before)}")
    page.eventually(f"({PAINTED})([0.5, {CURVE}])")


CURVE = """(() => {
    const probe = document.createElement("i");
    probe.style.color = "var(--curve)";
    document.querySelector(".chart-card").append(probe);
    const { color } = getComputedStyle(probe);
    probe.remove();
    return color;
})()"""
PAINTED = """([across, colour]) => {
    const [r, g, b] = colour.match(/\\d+/g).map(Number);
    const canvas = document.querySelector(".chart canvas"), over = document.querySelector(".chart .u-over");
    const ratio = canvas.width / canvas.clientWidth, box = over.getBoundingClientRect();
    const left = Math.round((box.left - canvas.getBoundingClientRect().left + across * box.width) * ratio);
    const {data} = canvas.getContext("2d").getImageData(left - 2, 0, 5, Math.round(box.height * ratio));
    let rows = 0;
    for (let at = 0; at < data.length; at += 20) for (let x = 0; x < 20; x += 4) {
        const far = [r, g, b].reduce((sum, want, place) => sum + Math.abs(data[at + x + place] - want), 0);
        if (far < 30 && data[at + x + 3] > 200) { rows += 1; break; }
    }
    return rows > 1;
}"""


def curve_at(tab: Tab, across: float) -> bool:
    """Whether the curve is drawn there: more than the dotted line of the newest value, which is one pixel."""
    tab.allow("Canvas2D: Multiple readback operations")
    return bool(tab.evaluate(PAINTED, [across, tab.evaluate(CURVE)]))


def test_nothing_moves_while_it_is_loaded_and_zoomed(page: Tab) -> None:
    look(page, **BTC)
    span(page, "4h")
    page.get_by_role("button", name="Line", exact=True).click()
    ready(page)
    page.set_viewport_size({"width": 900, "height": 700})
    page.eventually("document.querySelector('.chart .uplot').clientWidth < 900")
    assert sum(shift["value"] for shift in page.shifted()) < 0.01, page.shifted()


# ---------------------------------------------------------------------- closer and wider


def test_closer_is_finer_from_everything_to_a_second(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    look(tab, **TAPE)
    asked = [answer for answer in answers(tab) if answer["rows"] == LONG]
    assert asked
    whole = count(tab, "points")
    assert whole < LONG / 2
    span(tab, "1m")
    assert count(tab, "points") in (60, 61)
    tab.locator(".chart").focus()
    before = place(tab)
    for _ in range(9):
        tab.keyboard.press("+")
    moved(tab, before)
    since, until = seen(tab)
    assert (until - since) == pytest.approx(1e9, rel=0.01)
    assert curve_at(tab, 0.5), "between two points there is a line"
    tab.shot("series-second")


def test_a_part_is_chosen_by_dragging_and_left_by_back_and_double_click(page: Tab) -> None:
    look(page, **BTC)
    first = place(page)
    drag(page, 0.3, 0.6)
    moved(page, first)
    since, until = seen(page)
    assert 2.5 * 3_600e9 < until - since < 3.5 * 3_600e9
    second = place(page)
    drag(page, 0.4, 0.5)
    moved(page, second)
    shown = told(page)
    page.reload()
    page.settle()
    ready(page)
    assert told(page) == shown, "a link shows the same"
    third = place(page)
    page.mouse.dblclick(*point(page, 0.5))
    moved(page, third)
    assert "since" not in place(page)
    page.get_by_role("button", name="Back").click()
    page.eventually(f"location.hash === {json.dumps(third)}")


def test_ctrl_and_wheel_zoom_where_the_mouse_is_and_the_wheel_alone_scrolls(page: Tab) -> None:
    look(page, **BTC)
    before = place(page)
    page.mouse.move(*point(page, 0.25))
    page.mouse.wheel(0, 120)
    page.eventually("scrollY > 0")
    assert place(page) == before
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(*point(page, 0.25))
    page.keyboard.down("Control")
    for _ in range(10):
        page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    moved(page, before)
    since, until = seen(page)
    middle = (since + until) / 2
    assert until - since < 2 * 3_600e9
    assert desk_data.START_NS + 1.5 * 3_600e9 < middle < desk_data.START_NS + 3.5 * 3_600e9


def test_what_was_seen_stays_until_there_is_something_else(page: Tab) -> None:
    look(page, **KRW, form="line", since="4h")

    def late(route: Any) -> None:
        page.wait_for_timeout(700)
        route.continue_()

    page.route("**/v1/series/points*", late)
    drag(page, 0.2, 0.5)
    page.eventually("document.querySelector('.chart').classList.contains('waiting')")
    assert curve_at(page, 0.5)
    assert page.locator(".over-chart").count() == 0
    ready(page)
    page.eventually("getComputedStyle(document.querySelector('.chart canvas')).opacity === '1'")


def test_fingers_pinch_and_move_it(open_tab: OpenTab, desk: Site) -> None:
    tab = open_tab(desk, phone=True)
    look(tab, **BTC, since="4h")
    before = place(tab)
    fingers = tab.context.new_cdp_session(tab.page)

    def touch(kind: str, *across: float) -> None:
        points = [
            {"x": x, "y": y, "id": number}
            for number, (x, y) in enumerate(point(tab, part) for part in across)
        ]
        fingers.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 0.4, 0.6)
    for by in (0.05, 0.1, 0.15, 0.2):
        touch("touchMove", 0.4 - by, 0.6 + by)
    touch("touchEnd")
    moved(tab, before)
    since, until = seen(tab)
    assert 1.2 * 3_600e9 < until - since < 1.5 * 3_600e9
    before = place(tab)
    touch("touchStart", 0.3)
    for part in (0.4, 0.5, 0.6, 0.7):
        touch("touchMove", part)
    touch("touchEnd")
    moved(tab, before)
    earlier, _ = seen(tab)
    assert earlier < since
    tab.shot("series-phone")


# ---------------------------------------------------------------------- one place of it


def test_keys_go_along_the_points_and_say_where_they_are(page: Tab) -> None:
    look(page, **BTC, since="1h")
    page.locator(".chart").focus()
    page.keyboard.press("End")
    page.eventually("document.querySelector('[aria-live=polite]').textContent.includes('09:59:00')")
    page.keyboard.press("ArrowLeft")
    page.eventually("document.querySelector('[aria-live=polite]').textContent.includes('09:58:00')")
    page.keyboard.press("PageUp")
    page.eventually("document.querySelector('[aria-live=polite]').textContent.includes('price_shock')")
    assert "price_shock" in page.locator(".near").inner_text()
    page.keyboard.press("Enter")
    evidence = page.locator(".series-evidence")
    evidence.get_by_text("move_bp").wait_for()
    assert re.search(r"move_bp\s+[-−]464", evidence.inner_text())
    evidence.get_by_role("link", name="Its incident").click()
    page.eventually("location.hash.startsWith('#/incident/')")


def test_a_mark_is_clicked_in_the_chart_or_in_the_list(page: Tab, desk: Site) -> None:
    look(page, **SOL, since="2026-03-02T04:30:00Z", until="2026-03-02T05:30:00Z")
    evidence = page.locator(".series-evidence")
    page.locator(".series-patterns").get_by_role("button", name="volume_surge").click()
    evidence.get_by_text("sigmas").wait_for()
    assert "volume_surge" in evidence.inner_text()
    assert (
        page.locator(".series-patterns tr[aria-current=true]").inner_text().strip().startswith("volume_surge")
    )
    page.locator(".chart").focus()
    page.keyboard.press("Escape")
    # The marks below the candle of the fall: the one of them that is met first.
    left = (parse_time("2026-03-02T05:00:30Z") - parse_time("2026-03-02T04:30:00Z")) / (60 * MINUTE)
    for down in range(60, 90):
        page.mouse.move(*point(page, left, down / 100))
        if page.locator(".chart .u-over.hit").count():
            break
    page.mouse.click(*point(page, left, down / 100))
    page.eventually("!document.querySelector('.series-evidence').textContent.includes('volume_surge')")
    evidence.get_by_role("link", name=re.compile("block by price-shock|judgment by drawdown")).wait_for()
    page.evaluate("scrollTo(0, 0)")
    assert page.axe() == []
    page.shot("series-evidence", full_page=True)


# ---------------------------------------------------------------------- choosing


def test_one_of_five_hundred_is_found_by_typing_and_the_next_by_a_key(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    look(tab, source="wide")
    assert MANY[0] in tab.locator("h1").inner_text()
    tab.keyboard.press("/")
    tab.keyboard.type("s12")
    options = tab.locator(".choose [role=option]")
    assert options.all_inner_texts() == [name for name in MANY if name.startswith("S12")]
    assert tab.axe() == []
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    tab.eventually("document.querySelector('h1').textContent.includes('S121/USDT')")
    tab.keyboard.press("]")
    tab.eventually("document.querySelector('h1').textContent.includes('S122/USDT')")
    tab.keyboard.press("[")
    tab.eventually("document.querySelector('h1').textContent.includes('S121/USDT')")
    ready(tab)
    assert "S121/USDT" in told(tab)
    tab.get_by_label("Field").select_option("volume")
    tab.eventually("document.querySelector('[role=img]').ariaLabel.includes('S121/USDT volume')")
    assert tab.get_by_role("button", name="Candles").is_disabled()


def test_the_domain_follows_the_series_and_the_series_the_domain(open_tab: OpenTab, large: Site) -> None:
    tab = open_tab(large)
    look(tab, source="long", subject="LONG")
    chosen = tab.locator("label.domain select")
    assert chosen.input_value() == "tape"
    chosen.select_option("live")
    tab.eventually("document.querySelector('h1').textContent.includes('wide')")
    ready(tab)
    assert chosen.input_value() == "live"


def test_names_from_outside_are_shown_as_they_are(open_tab: OpenTab, hostile: Site) -> None:
    tab = open_tab(hostile)
    for name in (NAMES[0], NAMES[5], NAMES[7], NAMES[9]):
        look(tab, source="feed", subject=name, field=NAMES[1])
        assert name in tab.locator("h1").text_content()
        assert name in told(tab)
        assert tab.locator(".choose input").input_value() == name
    tab.locator(".choose input").click()
    texts = tab.locator(".choose [role=option]").all_text_contents()
    assert [name for name in NAMES if name.strip() and name not in texts] == []
    assert tab.evaluate("window.__xss") is None
    assert RUN in told(tab)


# ---------------------------------------------------------------------- as time goes on


def test_what_comes_is_drawn_and_only_that_is_fetched(open_tab: OpenTab, acting: Site) -> None:
    tab = open_tab(acting)
    look(tab, source="rates", subject="USD/KRW", field="price", since="15m")
    before = count(tab, "points")
    asked = len(answers(tab))
    body = json.dumps({"subject": "USD/KRW", "price": 1_555.5}).encode()
    push = urllib.request.Request(
        f"{acting.url}/v1/snapshots/rates", body, {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(push, timeout=5).close()
    tab.eventually("document.querySelector('[role=img]').ariaLabel.includes('latest 1,555.5')", seconds=5.0)
    assert count(tab, "points") >= before
    new = answers(tab)[asked:]
    assert new
    assert max(len(answer["time_ms"]) for answer in new) < 5


def test_without_its_server_the_chart_is_grey_and_says_so(open_tab: OpenTab, mortal: Process) -> None:
    tab = open_tab(mortal)
    tab.allow(FAILED)
    look(tab, **BTC)
    mortal.kill()
    tab.says(re.compile("No connection: this chart is from"))
    tab.eventually("document.documentElement.dataset.live === 'lost'")
    assert "grayscale" in tab.evaluate("getComputedStyle(document.querySelector('main')).filter")
    assert count(tab, "points") > 100, "what was known is still to be seen"
    assert tab.axe() == []
    tab.shot("series-lost")
    mortal.start()
    tab.settle()
    tab.locator(".chart-note.bad").wait_for(state="detached")


def test_what_is_not_complete_says_so_and_is_asked_for_again(page: Tab) -> None:
    full = []

    def partly(route: Any) -> None:
        answer = route.fetch().json()
        full.append(answer)
        route.fulfill(json=answer if len(full) > 2 else {**answer, "complete": False})

    page.route("**/v1/series/points*", partly)
    page.goto("series", **BTC)
    page.says(re.compile("Older rows are still being read in"))
    page.locator(".chart-note").wait_for(state="detached")
    assert len(full) > 2


def test_an_answer_that_fails_leaves_the_old_picture_and_is_tried_again(page: Tab) -> None:
    page.allow("500", "Failed to load")
    page.route("**/v1/series/points*", lambda route: route.fulfill(status=500, json={"detail": "broken"}))
    page.page.goto(page.address("series", **BTC))
    page.says("This could not be read")
    page.unroute("**/v1/series/points*")
    page.get_by_role("button", name="Try again").click()
    ready(page)
    shown = count(page, "points")
    page.route("**/v1/series/points*", lambda route: route.fulfill(status=500, json={"detail": "broken"}))
    drag(page, 0.3, 0.6)
    page.says(re.compile("could not be read again"))
    assert 0 < count(page, "points") < shown
    page.unroute("**/v1/series/points*")
    page.locator(".strip").wait_for(state="detached")


def test_where_there_is_nothing_the_chart_says_so(page: Tab) -> None:
    page.allow("40[04]")
    look(page, **BTC, since="2026-03-01T00:00:00Z", until="2026-03-01T01:00:00Z")
    page.says("Nothing was observed in this span.")
    assert page.axe() == []
    page.get_by_role("button", name="Show all").click()
    ready(page)
    assert count(page, "points") > 100
    page.goto("series", source="binance", subject="NOTHING/USDT")
    page.says("There is no such series.")
