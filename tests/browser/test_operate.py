"""What a person does is asked once, done as its record says, and told as it is done: never before."""

from __future__ import annotations

import json
import re
import urllib.request
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Locator, Route, expect

from observer_core.decision_pipeline.control import ControlConfig
from observer_core.runtime.settings import Settings
from observer_core.runtime.web_config import TokenConfig, WebConfig
from observer_core.safety.tokens import digest_of, new_token
from observer_core.shared.clock import SECOND
from tests.browser.desk import END_NS
from tests.browser.hostile import NAMES, RUN
from tests.browser.served import Site
from tests.browser.tab import OpenTab, Tab

MINUTE = 60 * SECOND
ADA, BTC, DOGE = "subject:ADA/USDT", "subject:BTC/USDT", "subject:DOGE/USDT"
STOP = re.compile("Stop everything in live")


@pytest.fixture
def acting(scene: Any) -> Site:
    """A desk of this test's own, on which time passes, and nothing needs a second person."""
    alone = {"control": ControlConfig()}
    site: Site = scene.site(
        "desk", running=True, change=lambda settings: settings.model_copy(update=alone)
    )  # fmt: skip
    return site


@pytest.fixture
def tab(open_tab: OpenTab, acting: Site) -> Tab:
    tab = open_tab(acting)
    tab.goto("operate")
    return tab


def gate(site: Site, subject: str) -> str:
    return str(site.get(f"v1/gate/{quote(subject, safe='')}")["decision"])


def commands(site: Site) -> list[dict[str, Any]]:
    """What was asked since the recording has ended, the newest first."""
    entries = site.observer.journals.open("commands.live").scan()
    return [dict(it.record.body) for it in entries if it.time_ns > END_NS][::-1]  # type: ignore[union-attr]


def asks(tab: Tab, author: str = "mira", reason: str = "orders repeat themselves") -> Locator:
    """The dialog that is open, with author and reason given."""
    dialog = tab.get_by_role("dialog")
    dialog.get_by_label("Author").fill(author)
    dialog.get_by_label("Reason").fill(reason)
    return dialog


def hold(tab: Tab, milliseconds: int = 1_500) -> None:
    box = tab.locator("dialog button.hold").bounding_box()
    tab.mouse.move(box["x"] + 30, box["y"] + 20)
    tab.mouse.down()
    tab.wait_for_timeout(milliseconds)
    tab.mouse.up()


def told(tab: Tab, text: str = "It is done.") -> Locator:
    """What the dialog says that became of it."""
    dialog = tab.get_by_role("dialog")
    dialog.get_by_text(text).first.wait_for()
    return dialog


def close(tab: Tab) -> None:
    tab.keyboard.press("Escape")
    tab.get_by_role("dialog").wait_for(state="detached")


def choose(tab: Tab, scope: str) -> Locator:
    """What is chosen, with its buttons."""
    tab.goto("operate", scope=scope)
    return tab.locator("#operate-chosen")


# ---------------------------------------------------------------------- the kill switch


def test_the_kill_switch_closes_everything_until_it_is_unkilled(tab: Tab, acting: Site) -> None:
    assert gate(acting, "ADA/USDT") == "allow"
    tab.get_by_role("button", name=STOP).click()
    dialog = asks(tab)
    assert "every subject of live, at once: 14 of 14" in dialog.inner_text()
    assert "Other domains are not touched: kospi" in dialog.inner_text()
    dialog.get_by_role("button", name="Next").click()
    assert commands(acting) == [], "it was asked at the first step"
    assert tab.axe() == []
    hold(tab)
    assert "kill switch set by mira: orders repeat themselves" in told(tab).inner_text()
    assert gate(acting, "ADA/USDT") == "deny"
    close(tab)
    tab.locator(".kill-card").get_by_text("THE KILL SWITCH IS ON").wait_for()
    tab.locator("section.line").get_by_text("KILL SWITCH IS ON").wait_for()
    tab.shot("operate-killed")
    assert tab.axe() == []
    tab.locator(".killed button").click()
    asks(tab, "jin", "checked with the venue").get_by_role("button", name="Next").click()
    tab.get_by_label("or type OPEN").fill("open")
    tab.keyboard.press("Enter")
    told(tab)
    assert gate(acting, "ADA/USDT") == "allow"
    close(tab)
    tab.locator(".kill-card").get_by_text("The kill switch is off").wait_for()
    assert [(it["command"], it["scope"], it["author"]) for it in commands(acting)] == [
        ("unkill", "*", "jin"), ("kill", "*", "mira"),
    ]  # fmt: skip
    assert tab.locator(".asked li").count() == 2


def test_the_kill_switch_can_be_held_by_a_key(tab: Tab, acting: Site) -> None:
    tab.get_by_role("button", name=STOP).click()
    asks(tab).get_by_role("button", name="Next").click()
    tab.locator("dialog button.hold").focus()
    tab.keyboard.down("Space")
    told(tab)
    tab.keyboard.up("Space")
    assert gate(acting, "ADA/USDT") == "deny"


def test_what_is_let_go_too_soon_or_typed_otherwise_does_nothing(tab: Tab, acting: Site) -> None:
    tab.get_by_role("button", name=STOP).click()
    asks(tab).get_by_role("button", name="Next").click()
    hold(tab, 300)
    tab.locator("dialog button.hold").click()
    tab.get_by_label("or type STOP").fill("STO")
    assert tab.locator("dialog .typed button").is_disabled()
    tab.get_by_label("or type STOP").press("Enter")
    tab.wait_for_timeout(1_500)
    assert commands(acting) == []
    tab.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    assert gate(acting, "ADA/USDT") == "allow"


def test_one_source_alone_can_be_stopped(tab: Tab, acting: Site) -> None:
    choose(tab, "source:upbit").get_by_role("button", name="Kill switch").click()
    dialog = asks(tab)
    assert "every subject that all of upbit observes, at once: 4" in dialog.inner_text()
    dialog.get_by_role("button", name="Next").click()
    hold(tab)
    told(tab)
    assert (gate(acting, "BTC/KRW"), gate(acting, "ADA/USDT")) == ("deny", "allow")
    close(tab)
    tab.locator(".killed").get_by_text("all of upbit").wait_for()


# ---------------------------------------------------------------------- closing and opening


def test_a_subject_is_found_blocked_for_a_while_and_released(tab: Tab, acting: Site) -> None:
    tab.keyboard.press("/")
    tab.keyboard.type("ada")
    tab.locator(".options button", has_text="ADA/USDT").click()
    tab.locator("#operate-chosen").get_by_role("button", name="Block").click()
    dialog = asks(tab, reason="odd prints")
    assert "The gate denies ADA/USDT, at once" in dialog.inner_text()
    dialog.get_by_label("30 min").check()
    dialog.get_by_role("button", name="Block").click()
    told(tab)
    (block,) = [it for it in acting.get("v1/blocks?domain=live")["items"] if it["scope"] == ADA]
    assert block["until_ns"] - block["since_ns"] == 30 * MINUTE
    assert gate(acting, "ADA/USDT") == "deny"
    close(tab)
    row = tab.locator("#operate-blocks tr", has_text="ADA/USDT")
    row.get_by_text("blocked by mira: odd prints").wait_for()
    row.get_by_role("button", name="Release").click()
    dialog = asks(tab, reason="explained")
    assert "the gate of ADA/USDT may open at once" in dialog.inner_text()
    dialog.get_by_role("button", name="Release").click()
    told(tab)
    assert gate(acting, "ADA/USDT") == "allow"
    close(tab)
    row.wait_for(state="detached")


def test_an_override_says_what_it_lifts_ends_by_itself_and_can_be_rearmed(tab: Tab, acting: Site) -> None:
    assert gate(acting, "BTC/USDT") == "deny"
    tab.locator("#operate-blocks tr", has_text="BTC/USDT").get_by_role("button", name="Override").click()
    dialog = asks(tab, reason="hedge only")
    assert "are lifted, at once: price-shock on BTC/USDT" in dialog.inner_text()
    dialog.get_by_placeholder("1h30m").fill("soon")
    dialog.get_by_role("button", name="Override").click()
    dialog.get_by_text("How long is not understood: soon").wait_for()
    dialog.get_by_placeholder("1h30m").fill("1h30m")
    dialog.get_by_role("button", name="Override").click()
    told(tab)
    assert gate(acting, "BTC/USDT") == "allow"
    (override,) = [it for it in acting.get("v1/overrides?domain=live")["items"] if it["scope"] == BTC]
    assert override["until_ns"] - override["since_ns"] == 90 * MINUTE
    close(tab)
    row = tab.locator("#operate-overrides tr", has_text="BTC/USDT")
    assert re.search(r"1:(29|30):\d\d", row.inner_text())
    row.get_by_role("button", name="Rearm").click()
    asks(tab, reason="hedged").get_by_role("button", name="Rearm").click()
    told(tab)
    assert gate(acting, "BTC/USDT") == "deny"


def test_what_cannot_be_done_is_told_with_the_reason(tab: Tab, acting: Site) -> None:
    tab.locator("#operate-blocks tr", has_text="DOGE/USDT").get_by_role("button", name="Release").click()
    dialog = asks(tab, reason="the rumour is wrong")
    body = {"command": "release", "scope": DOGE, "domain": "live", "author": "jin", "reason": "was first"}
    request = urllib.request.Request(
        f"{acting.url}/v1/commands", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    urllib.request.urlopen(request, timeout=5).close()
    tab.eventually("!document.querySelector('#operate-blocks').textContent.includes('DOGE/USDT')")
    dialog.get_by_role("button", name="Release").click()
    text = told(tab, "Nothing was done.").inner_text()
    assert "no block by operator stands on subject:DOGE/USDT" in text
    assert "done" not in text.split()
    assert tab.axe() == []


def test_without_author_or_reason_nothing_is_asked(tab: Tab, acting: Site) -> None:
    tab.locator("#operate-blocks tr", has_text="DOGE/USDT").get_by_role("button", name="Release").click()
    dialog = tab.get_by_role("dialog")
    dialog.get_by_role("button", name="Release").click()
    dialog.get_by_label("Author").fill("mira")
    dialog.get_by_role("button", name="Release").click()
    assert dialog.get_by_label("Reason").evaluate("field => field.validity.valueMissing")
    assert commands(acting) == []


def test_the_author_is_remembered(tab: Tab) -> None:
    tab.locator("#operate-blocks tr", has_text="DOGE/USDT").get_by_role("button", name="Release").click()
    asks(tab, "mira").get_by_role("button", name="Release").click()
    told(tab)
    tab.reload()
    tab.settle()
    tab.get_by_role("button", name=STOP).click()
    assert tab.get_by_role("dialog").get_by_label("Author").input_value() == "mira"
    assert tab.evaluate("document.activeElement.name") == "reason"


# ---------------------------------------------------------------------- once, and never guessed


def test_a_double_click_is_one_record(tab: Tab, acting: Site) -> None:
    acting.weather.delay = 0.3
    choose(tab, ADA).get_by_role("button", name="Block").click()
    asks(tab).get_by_role("button", name="Block").dblclick()
    told(tab)
    acting.weather.delay = 0.0
    assert [it["scope"] for it in commands(acting)] == [ADA]


def lose_answers(tab: Tab, count: int) -> list[str]:
    """The server hears the next acts, but its answers get lost. The keys under which they came."""
    keys: list[str] = []
    tab.allow("request failed", "console error", "ERR_")

    def handle(route: Route) -> None:
        if route.request.method != "POST":
            route.continue_()
            return
        keys.append(route.request.headers["idempotency-key"])
        if len(keys) <= count:
            route.fetch()
            route.abort()
        else:
            route.continue_()

    tab.route("**/v1/commands*", handle)
    return keys


def test_a_lost_answer_is_asked_for_again_under_the_same_key(tab: Tab, acting: Site) -> None:
    keys = lose_answers(tab, 1)
    choose(tab, ADA).get_by_role("button", name="Block").click()
    asks(tab).get_by_role("button", name="Block").click()
    tab.says("nobody knows whether it was recorded")
    tab.shot("operate-unsure")
    told(tab)
    assert (len(keys), len(set(keys))) == (2, 1)
    assert [it["scope"] for it in commands(acting)] == [ADA]


def test_who_stops_waiting_can_ask_later_even_after_a_reload(tab: Tab, acting: Site) -> None:
    keys = lose_answers(tab, 99)
    choose(tab, ADA).get_by_role("button", name="Block").click()
    asks(tab).get_by_role("button", name="Block").click()
    tab.says("nobody knows whether it was recorded")
    close(tab)
    tab.reload()
    tab.settle()
    act = tab.locator(".asked li")
    assert "not known" in act.inner_text()
    act.get_by_role("button").click()
    tab.unroute("**/v1/commands*")
    with tab.expect_request("**/v1/commands") as sent:
        tab.get_by_role("button", name="Send it once more under the same key").click()
    assert {sent.value.headers["idempotency-key"]} == set(keys)
    told(tab)
    assert [it["scope"] for it in commands(acting)] == [ADA]


def test_nothing_is_called_done_before_its_stage_has_done_it(open_tab: OpenTab, scene: Any) -> None:
    idle = scene.site("desk")
    tab = open_tab(idle)
    choose(tab, ADA).get_by_role("button", name="Block").click()
    asks(tab).get_by_role("button", name="Block").click()
    dialog = told(tab, "It is recorded, but not done yet")
    dialog.get_by_text("Nothing has changed so far").wait_for()
    assert "It is done" not in tab.text
    assert gate(idle, "ADA/USDT") == "allow"


def test_what_is_old_is_closed_upon_but_never_opened_upon(tab: Tab) -> None:
    tab.allow("request failed", "console error", "ERR_")
    release = tab.locator("#operate-blocks tr", has_text="DOGE/USDT").get_by_role("button", name="Release")
    assert release.is_enabled()
    tab.context.set_offline(True)
    tab.eventually("document.documentElement.dataset.live !== 'live'")
    assert release.is_disabled()
    assert "old" in release.get_attribute("title")
    assert tab.get_by_role("button", name=STOP).is_enabled()


# ---------------------------------------------------------------------- who may, and a second person


def with_tokens(*people: tuple[str, str], two_person: tuple[str, ...] = ()) -> tuple[Any, dict[str, str]]:
    """What changes the settings so that these people have tokens of a scope, and the tokens."""
    tokens = {name: new_token() for name, _ in people}

    def change(settings: Settings) -> Settings:
        given = tuple(
            TokenConfig(name=name, sha256=digest_of(tokens[name]).hex(), scopes=(scope,))  # type: ignore[arg-type]
            for name, scope in people
        )
        control = ControlConfig(two_person=two_person)  # type: ignore[arg-type]
        return settings.model_copy(update={"web": WebConfig(token=given), "control": control})

    return change, tokens


def logged_in(open_tab: OpenTab, site: Site, token: str) -> Tab:
    tab = open_tab(site)
    held = json.dumps(json.dumps({"kind": "bearer", "value": token}))
    tab.context.add_init_script(f"sessionStorage.setItem('observer.token', {held})")
    tab.goto("operate")
    return tab


def test_who_may_not_act_sees_everything_and_why_not(open_tab: OpenTab, scene: Any) -> None:
    change, tokens = with_tokens(("viewer", "read"))
    tab = logged_in(open_tab, scene.site("desk", change=change), tokens["viewer"])
    tab.says("You may look, but not act: that needs the scope operate.")
    tab.says("You act as viewer, by a token.")
    tab.says("blocked by jin: listing rumour")
    buttons = tab.locator(".operate button", has_text=re.compile("…$"))
    assert buttons.count() > 10
    assert [it for it in buttons.all() if it.is_enabled()] == []
    assert buttons.first.get_attribute("title") == "This needs the scope operate."
    tab.shot("operate-read-only")
    assert tab.axe() == []


def test_subscriptions_are_for_admins(open_tab: OpenTab, scene: Any) -> None:
    change, tokens = with_tokens(("mira", "operate"), ("root", "admin"))
    site = scene.site("desk", change=change, running=True)
    tab = logged_in(open_tab, site, tokens["mira"])
    pause = tab.locator("#operate-subscriptions").get_by_role("button", name="Pause: journal")
    assert pause.get_attribute("title") == "This needs the scope admin."
    admin = logged_in(open_tab, site, tokens["root"])
    admin.locator("#operate-subscriptions").get_by_role("button", name="Pause: journal").click()
    dialog = admin.get_by_role("dialog")
    expect(dialog.get_by_label("Author")).not_to_be_editable()
    dialog.get_by_label("Reason").fill("its disk is full")
    dialog.get_by_role("button", name="Pause").click()
    told(admin)
    close(admin)
    admin.locator("#operate-subscriptions tr", has_text="journal").get_by_text("paused").wait_for()


def test_what_needs_a_second_person_is_not_done_by_one(open_tab: OpenTab, scene: Any) -> None:
    change, tokens = with_tokens(("mira", "operate"), ("jin", "operate"), two_person=("kill",))
    site = scene.site("desk", change=change, running=True)
    mira = logged_in(open_tab, site, tokens["mira"])
    mira.get_by_role("button", name=STOP).click()
    dialog = mira.get_by_role("dialog")
    assert "a second person must confirm it within 15 min" in dialog.inner_text()
    dialog.get_by_label("Reason").fill("orders repeat themselves")
    dialog.get_by_role("button", name="Next").click()
    hold(mira)
    text = told(mira, "Nothing is done yet").inner_text()
    (asked,) = re.findall(r"observer gate confirm (commands\.live@\d+) ", text)
    mira.shot("operate-second-person")
    close(mira)
    waiting = mira.locator(".requests li", has_text=asked)
    waiting.get_by_text("Another person must confirm it").wait_for()
    assert waiting.get_by_role("button").count() == 0

    jin = logged_in(open_tab, site, tokens["jin"])
    assert jin.locator(".kill-card").get_by_text("The kill switch is off").is_visible()
    waiting = jin.locator(".requests li", has_text=asked)
    waiting.get_by_role("button", name="Confirm").click()
    dialog = jin.get_by_role("dialog")
    assert "mira asks for this: “orders repeat themselves”" in dialog.inner_text()
    assert "every subject of live" in dialog.inner_text()
    dialog.get_by_label("Reason").fill("I see it too")
    dialog.get_by_role("button", name="Confirm").click()
    told(jin)
    close(jin)
    jin.locator(".kill-card").get_by_text("THE KILL SWITCH IS ON").wait_for()
    mira.locator(".asked li").get_by_text("done").wait_for()


def test_a_request_is_not_confirmed_under_the_name_that_asked(
    open_tab: OpenTab, scene: Any
) -> None:  # fmt: skip
    site = scene.site("desk", running=True)
    tab = open_tab(site)
    tab.goto("operate")
    request = tab.locator(".requests li")
    assert "mira: the rumour was denied" in request.inner_text()
    request.get_by_role("button", name="Confirm").click()
    dialog = asks(tab, " MIRA ")
    dialog.get_by_role("button", name="Confirm").click()
    dialog.get_by_text("This is who asked.").wait_for()
    assert commands(site) == []
    dialog.get_by_label("Author").fill("jin")
    dialog.get_by_role("button", name="Confirm").click()
    assert "released by mira, confirmed by jin" in told(tab).inner_text()
    assert gate(site, "DOGE/USDT") == "allow"


# ---------------------------------------------------------------------- who is told, what was set aside


def test_a_silence_is_added_and_ended(tab: Tab, acting: Site) -> None:
    tab.get_by_role("button", name="New silence").click()
    dialog = asks(tab, reason="maintenance")
    dialog.get_by_role("button", name="Silence", exact=True).click()
    dialog.get_by_text("Say what to silence").wait_for()
    dialog.get_by_label("Subjects").fill("BTC/*, ETH/*")
    dialog.get_by_label("4 h").check()
    dialog.get_by_role("button", name="Silence", exact=True).click()
    told(tab)
    (silence,) = [it for it in acting.get("v1/silences?domain=live")["items"] if it["author"] == "mira"]
    assert silence["match"] == {"subjects": ["BTC/*", "ETH/*"]}
    assert silence["end_ns"] - silence["start_ns"] == 240 * MINUTE
    close(tab)
    row = tab.locator("#operate-silences tr", has_text="BTC/*, ETH/*")
    row.get_by_role("button", name="End it").click()
    asks(tab, reason="over").get_by_role("button", name="End it").click()
    told(tab)
    close(tab)
    row.wait_for(state="detached")
    assert [it["author"] for it in acting.get("v1/silences?domain=live")["items"]] == ["jin"]


def test_what_was_set_aside_is_redriven_and_opens_again(tab: Tab, acting: Site) -> None:
    tab.locator("#operate-quarantined").get_by_role("button", name="Redrive").click()
    dialog = asks(tab, reason="the defect is mended")
    assert "this opens again: all of rates" in dialog.inner_text()
    dialog.get_by_role("button", name="Redrive").click()
    told(tab, "It is recorded.")
    close(tab)
    tab.locator("#operate-quarantined").get_by_text("Nothing is set aside").wait_for()
    assert acting.get("v1/quarantine")["items"] == []


def test_a_dead_letter_is_dropped_and_stays_on_record(tab: Tab, acting: Site) -> None:
    letters = tab.locator("#operate-letters")
    letters.get_by_role("button", name="Drop").click()
    asks(tab, reason="the pager is gone").get_by_role("button", name="Drop").click()
    told(tab, "It is recorded.")
    close(tab)
    letters.get_by_text("Nothing was given up").wait_for()
    letters.get_by_label("State of dead letters").select_option("dropped")
    letters.get_by_text("HTTP 410 Gone").wait_for()
    assert [it["state"] for it in acting.get("v1/dead-letters")["items"]] == ["dropped"]


# ---------------------------------------------------------------------- what comes from outside


def test_what_people_write_is_text_wherever_it_is_shown(tab: Tab, acting: Site) -> None:
    author, reason = f"<b>{RUN}</b>", f'"><img src=x onerror={RUN}>'
    choose(tab, ADA).get_by_role("button", name="Block").click()
    asks(tab, author, reason).get_by_role("button", name="Block").click()
    text = told(tab).inner_text()
    assert author in text
    assert reason in text
    close(tab)
    row = tab.locator("#operate-blocks tr", has_text="ADA/USDT")
    row.wait_for()
    assert f"blocked by {author}: {reason}" in row.inner_text()
    assert [(it["author"], it["reason"]) for it in commands(acting)] == [(author, reason)]
    assert tab.evaluate("window.__xss") is None


def test_every_name_can_be_found_and_chosen(open_tab: OpenTab, hostile: Site) -> None:
    tab = open_tab(hostile)
    for name in NAMES[:9]:
        choose(tab, f"subject:{name}").get_by_text("Operator").first.wait_for()
        assert tab.locator("#operate-chosen h3").inner_text() == name
        assert tab.evaluate("window.__xss") is None
    assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


@pytest.mark.parametrize("phone", [False, True])
def test_every_dialog_is_accessible(open_tab: OpenTab, acting: Site, phone: bool) -> None:
    tab = open_tab(acting, phone=phone, lang="ko" if phone else "en", scheme="dark")
    tab.goto("operate", scope=BTC)
    opened = [
        tab.locator(".kill-do button.danger"), tab.locator(".opening button").nth(1),
        tab.locator("#operate-silences header button"),
    ]  # fmt: skip
    for number, button in enumerate(opened):
        button.click()
        tab.get_by_role("dialog").wait_for()
        assert tab.axe() == []
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.shot(f"operate-dialog-{number}-{'phone' if phone else 'desk'}")
        close(tab)


def test_nothing_is_opened_while_what_closes_it_cannot_be_read_and_everything_can_be_stopped(
    open_tab: OpenTab, acting: Site
) -> None:
    tab = open_tab(acting)
    tab.allow("503")
    problem = {"type": "about:blank", "title": "", "status": 503, "detail": "the disk sleeps"}
    for path in ("blocks", "whoami", "board"):
        tab.route(f"**/v1/{path}*", lambda route: route.fulfill(status=503, json=problem))
    choose(tab, BTC).get_by_role("button", name="Override").wait_for()
    assert tab.locator("#operate-chosen").get_by_role("button", name="Override").is_disabled()
    tab.get_by_role("button", name=STOP).click()
    dialog = asks(tab)
    assert "every subject of live, at once: 14 of 14" in dialog.inner_text()
    dialog.get_by_role("button", name="Next").click()
    hold(tab)
    told(tab)
    assert gate(acting, "ADA/USDT") == "deny"
