"""The console in a real Chromium, in front of real fleets: what it shows, what it does, and what it must not do."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browser import NARROWEST, PHONE, PICTURES, chromium, visit
from tests.e2e.conftest import COMMAND, FleetMaker, RunningFleet
from tests.e2e.test_kill import LIFECYCLE, wait_for
from tritonfleet import demo
from tritonfleet.gateway.console.assets import assets
from tritonfleet.observe.scrape import RUNBOOK_PATH
from tritonfleet.planner import machine_of_gpus, plan, read_facts
from tritonfleet.spec.models import FleetSpec, ModelSpec
from tritonfleet.supervisor.memory_map import memory_map
from tritonfleet.wire import ShareMember, ShareStatus

pytestmark = pytest.mark.e2e

#: The whole page, charts included.
MOST_ASSET_BYTES = 150_000
#: Load before the pictures are taken, so that the charts have something to show.
LOAD_SECONDS = float(os.environ.get("TRITONFLEET_SCREENSHOT_SECONDS", "12"))
THEMES: tuple[Any, ...] = ("light", "dark")


def fake(name: str, *, load: bool = True, replicas: int = 1, **engine_args: Any) -> dict[str, Any]:
    return {
        "name": name,
        "source": "demo://llama2",
        "engine": "fake",
        "load": load,
        "replicas": replicas,
        "engine_args": engine_args,
    }


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for all tests."""
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningFleet]:
    """A fleet with models in all states; its broken model is why `up` ends with an error."""
    factory = FleetMaker(tmp_path_factory.mktemp("console"))
    made = factory.up(
        [
            fake("alpha", ttft_ms=40, tpot_ms=10),
            fake("beta", replicas=2, ttft_ms=80, tpot_ms=20),
            fake("broken", fail_start=99),
            fake("spare", load=False, start_seconds=1),
        ],
        name="console",
        expect=5,
        lifecycle={**LIFECYCLE, "max_restarts": 1},
    )
    yield made
    factory.down(made)


def link(fleet: RunningFleet) -> str:
    """The part behind the ``#`` of the address that `tritonfleet console` prints."""
    done = fleet.command("console")
    assert done.returncode == 0, done.stderr
    address, _, fragment = done.stdout.strip().partition("/#")
    assert address == f"http://127.0.0.1:{fleet.openai}"
    return f"#{fragment}"


def ask(fleet: RunningFleet, path: str, body: Any = None) -> Any:
    """Send a request to the gateway; return the decoded answer, an error's as well."""
    data = None if body is None else json.dumps(body).encode()
    url = f"http://127.0.0.1:{fleet.openai}{path}"
    try:
        request = urllib.request.Request(url, data, {"content-type": "application/json"})
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as err:
        return json.load(err)


@contextmanager
def load(fleet: RunningFleet, *models: str) -> Iterator[None]:
    """Keep each of *models* busy with one request after another; name one twice for two at once."""
    stop = threading.Event()

    def run(model: str) -> None:
        body = {"model": model, "prompt": "one two three", "max_tokens": 40, "ignore_eos": True}
        while not stop.is_set():
            ask(fleet, "/v1/completions", body)

    threads = [threading.Thread(target=run, args=(model,)) for model in models]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_the_page_is_small() -> None:
    sizes = {name: len(asset.content) for name, asset in assets().items()}
    assert sum(sizes.values()) < MOST_ASSET_BYTES, sizes


@pytest.mark.parametrize("theme", THEMES)
def test_the_overview_shows_the_fleet_as_it_is(browser: Browser, fleet: RunningFleet, theme: Any) -> None:
    with load(fleet, "alpha", "alpha", "beta"), visit(browser, fleet.openai, color_scheme=theme) as seen:
        page = seen.open()
        expect(page).to_have_title("console: degraded")
        for model, state in {"alpha": "ready", "beta": "ready", "broken": "failed", "spare": "stopped"}.items():
            expect(seen.state(model)).to_have_text(state)
        expect(page.locator("#models tbody", has_text="broken")).to_contain_text("was told to fail")
        expect(page.locator("tr.replica")).to_have_count(2)
        expect(seen.row("alpha").locator("[data-label=Running]")).to_have_text("2")
        expect(seen.row("alpha").locator("[data-label='Tokens/s']")).to_have_text(re.compile(r"\d{2,}"))
        expect(seen.row("alpha").locator("[data-label=TTFT]")).to_have_text(re.compile(r"\d+ ms"))
        expect(seen.row("spare").locator("[data-label=Running]")).to_have_text("\u2013")
        expect(page.locator("#totals")).to_contain_text("2 of 4")
        for chart in ("Tokens per second", "Time to first token"):
            expect(page.get_by_role("img", name=chart)).to_have_attribute("aria-label", re.compile(r"alpha \d"))
        expect(page.locator("#memory")).to_contain_text("No GPU here")
        expect(page.locator("#doors")).to_contain_text(f"127.0.0.1:{fleet.grpc}")
        seen.check_accessible()
        page.set_viewport_size(PHONE)
        seen.check_fits()
        seen.check_accessible()


def test_the_history_survives_a_reload_of_the_page(browser: Browser, fleet: RunningFleet) -> None:
    with load(fleet, "alpha"):
        wait_for(lambda: busy(fleet, "alpha") >= 2)
    with visit(browser, fleet.openai) as seen:
        page = seen.open()
        first = page.evaluate("fetch('console/api/live').then(answer => answer.json())")
        page.reload()
        # Drawn from the first answer: no sample has to be waited for.
        expect(page.get_by_role("img", name="Tokens per second")).to_have_attribute("aria-label", re.compile("alpha"))
        again = page.evaluate("fetch('console/api/live').then(answer => answer.json())")
        assert again["history"]["times"][: len(first["history"]["times"])] == first["history"]["times"]


def busy(fleet: RunningFleet, model: str) -> int:
    """Return how many samples show tokens of *model*."""
    columns = ask(fleet, "/console/api/live")["history"]["models"].get(model, {})
    return sum(bool(value) for value in columns.get("tokens_per_second", ()))


def test_a_model_is_unloaded_and_loaded_with_the_keyboard_alone(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai) as seen:
        page = seen.open(link(fleet))
        assert "token" not in page.url, "the token does not stay in sight"
        unload = seen.row("alpha").get_by_role("button", name="Unload alpha")
        unload.press("Enter")
        expect(page.get_by_role("dialog")).to_contain_text("Running requests of alpha finish first")
        seen.check_accessible()
        page.keyboard.press("Escape")
        expect(page.get_by_role("dialog")).to_have_count(0)
        expect(seen.state("alpha")).to_have_text("ready")

        expect(unload).to_be_focused()
        page.keyboard.press("Enter")
        expect(page.get_by_role("button", name="Unload alpha").last).to_be_focused()
        page.keyboard.press("Enter")
        expect(seen.state("alpha")).to_have_text("stopped")
        assert ask(fleet, "/v1/completions", {"model": "alpha", "prompt": "x"})["error"]["code"] == "model_not_ready"
        seen.row("alpha").get_by_role("button", name="Load alpha").press("Enter")
        expect(seen.state("alpha")).to_have_text("ready")
        expect(page.locator("#news")).to_have_text("alpha is ready")
        assert ask(fleet, "/v1/completions", {"model": "alpha", "prompt": "x"})["choices"]


def test_a_request_that_runs_is_finished_before_its_model_is_gone(browser: Browser, fleet: RunningFleet) -> None:
    body = {"model": "alpha", "prompt": "one two three", "max_tokens": 600, "ignore_eos": True}  # 6 s
    with visit(browser, fleet.openai) as seen, ThreadPoolExecutor() as pool:
        page = seen.open(link(fleet))
        running = pool.submit(ask, fleet, "/v1/completions", body)
        expect(seen.row("alpha").locator("[data-label=Running]")).to_have_text("1")
        seen.row("alpha").get_by_role("button", name="Unload alpha").click()
        page.get_by_role("dialog").get_by_role("button", name="Unload alpha").click()
        expect(seen.state("alpha")).to_have_text("draining")
        refused = ask(fleet, "/v1/completions", {**body, "max_tokens": 1})
        assert refused["error"]["code"] == "model_not_ready"
        expect(seen.state("alpha")).to_have_text("stopped")
        assert running.result()["usage"]["completion_tokens"] == 600
        seen.row("alpha").get_by_role("button", name="Load alpha").click()
        expect(seen.state("alpha")).to_have_text("ready")


def test_a_model_that_was_never_loaded_is_shown_on_its_way(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai) as seen:
        seen.open(link(fleet))
        seen.row("spare").get_by_role("button", name="Load spare").click()
        expect(seen.state("spare")).to_have_text(re.compile("starting|loading"))
        expect(seen.state("spare")).to_have_text("ready")
        restarts = seen.row("broken").locator("[data-label=Restarts]")
        expect(restarts).to_have_text("1")
        seen.row("broken").get_by_role("button", name="Try again broken").click()
        expect(restarts).to_have_text("2")
        expect(seen.state("broken")).to_have_text("failed")


def test_without_the_right_to_it_nothing_is_unloaded(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai) as seen:
        page = seen.open()
        seen.row("beta").get_by_role("button", name="Unload beta").click()
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("To unload beta takes an admin key")
        expect(dialog).to_contain_text("tritonfleet console")
        seen.check_accessible()
        dialog.get_by_label("Key").fill("tfa-guessed")
        dialog.get_by_role("button", name="Use it").click()
        expect(page.get_by_role("button", name="Key unknown")).to_be_visible()
        seen.row("beta").get_by_role("button", name="Unload beta").click()
        expect(dialog).to_contain_text("To unload beta takes an admin key. The key that is set is not one")
        page.keyboard.press("Escape")
        expect(seen.state("beta")).to_have_text("ready")


def test_a_killed_engine_is_seen_going_and_coming_back(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai) as seen:
        seen.open()
        before = ask(fleet, "/console/api/live")["status"]
        (pid,) = [entry["replicas"][0]["pid"] for entry in before["models"] if entry["model"] == "alpha"]
        os.kill(pid, signal.SIGKILL)
        expect(seen.row("alpha").locator("[data-label=Restarts]")).to_have_text("1")
        expect(seen.state("alpha")).to_have_text("ready")


def test_logs_are_followed_and_never_taken_for_markup(browser: Browser, fleet: RunningFleet) -> None:
    path = fleet.layout.engine_log("alpha", 0)
    with visit(browser, fleet.openai) as seen:
        page = seen.open()
        seen.go("Logs")
        page.get_by_label("Log of").select_option("alpha")
        expect(page.locator("#log")).to_contain_text("fake engine: alpha is served")
        with path.open("a") as file:
            file.write("<img src=x onerror=\"document.title='taken'\"> comes later\n")
        expect(page.locator("#log")).to_contain_text("<img src=x onerror=")
        assert page.locator("#log img").count() == 0
        page.get_by_label("Only lines with").fill("COMES LATER")
        expect(page.locator("#log")).not_to_contain_text("fake engine")
        page.get_by_label("Only lines with").fill("nobody wrote this")
        expect(page.locator("#log-note")).to_have_text("No line has this text.")
        page.get_by_label("Log of").select_option("supervisor")
        page.get_by_label("Only lines with").fill("alpha: ready")
        expect(page.locator("#log")).to_contain_text("alpha: ready")
        seen.check_accessible()


def test_a_gateway_that_is_away_is_said_and_the_page_heals(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai, "Failed to load resource") as seen:
        page = seen.open()
        page.context.set_offline(True)
        alert = page.get_by_role("alert")
        expect(alert).to_contain_text(re.compile(r"does not answer. Trying again. The state below is that of \d+:\d+"))
        page.mouse.wheel(0, 5_000)
        expect(alert).to_be_in_viewport()
        page.context.set_offline(False)
        expect(page.get_by_role("alert")).to_be_hidden()
        expect(seen.state("beta")).to_have_text("ready")


def test_models_that_take_turns_on_a_gpu_and_its_memory(browser: Browser, fleet: RunningFleet) -> None:
    """What this machine cannot have: the planner's map of an H100, and a share group, in place of the fleet's own."""
    models = [ModelSpec(name=name, source="demo://llama2", share="one") for name in ("alpha", "beta")]
    folder = next(Path(demo.__file__).parent.rglob("llama2/config.json")).parent
    facts = {model.name: read_facts(model, folder) for model in models}
    memory = memory_map(plan(FleetSpec(models=tuple(models)), facts, machine_of_gpus("h100:1")))
    members = [member("alpha", "awake", 0), member("beta", "asleep", 3)]
    group = asdict(ShareStatus("one", "gpu 0", tuple(members), switches=4, switch_seconds_sum=3.0))

    def with_group(route: Any) -> None:
        answer = route.fetch()
        live = answer.json()
        live["status"]["shares"] = [group]
        route.fulfill(response=answer, json=live)

    with visit(browser, fleet.openai, "Failed to load resource") as seen:
        seen.page.route("**/console/api/live*", with_group)
        seen.page.route("**/console/api/memory", lambda route: route.fulfill(json=memory))
        page = seen.open(link(fleet))
        expect(page.locator("#shares")).to_have_text("one on gpu 0: alpha awake; 3 waiting; 4 switches, 0.75 s each")
        expect(seen.state("beta")).to_have_text("asleep")
        expect(seen.row("beta").locator("[data-label=Waiting]")).to_have_text("3")
        expect(page.get_by_role("heading", name="GPU 0: h100")).to_be_visible()
        expect(page.get_by_role("row", name="alpha/0").last).to_contain_text("GiB")
        with page.expect_request("**/console/api/models/beta/wake") as asked:
            seen.row("beta").get_by_role("button", name="Wake beta").click()
        assert asked.value.headers["authorization"].startswith("Bearer tfa-")
        expect(page.get_by_role("alert")).to_contain_text("beta")  # this fleet's beta has a device of its own
        seen.check_accessible()
        page.get_by_role("button", name="Dismiss").click()
        expect(page.get_by_role("alert")).to_have_count(0)
        page.set_viewport_size(PHONE)
        seen.check_fits()


def member(model: str, phase: str, waiting: int) -> ShareMember:
    return ShareMember(model, phase, 0, waiting, 0.0, 0, 0, 0)


def test_events_are_read_however_the_network_cuts_them(browser: Browser, fleet: RunningFleet) -> None:
    read = """async (pieces) => {
        const { events } = await import('/console/assets/stream.js');
        const bytes = new TextEncoder().encode(pieces.text);
        const body = new ReadableStream({
            start(controller) {
                for (let at = 0; at < bytes.length; at += pieces.size) {
                    controller.enqueue(bytes.slice(at, at + pieces.size));
                }
                controller.close();
            },
        });
        const found = [];
        for await (const event of events(body)) found.push(event);
        return found;
    }"""
    wanted = [{"a": "é🙂"}, {"b": "x\n\ny"}, {"error": {"message": "no"}}]
    first, second, third = (json.dumps(event, ensure_ascii=False) for event in wanted)
    text = (
        f": hello\n\ndata: {first}\n\ndata:{second}\r\n\r\nevent: error\ndata: {third}\n\ndata: [DONE]\n\ndata: 1\n\n"
    )
    with visit(browser, fleet.openai) as seen:
        page = seen.open()
        for size in (1, 2, 3, 7, 1000):
            assert page.evaluate(read, {"text": text, "size": size}) == wanted


def test_the_page_keeps_fifteen_minutes(browser: Browser, fleet: RunningFleet) -> None:
    keep = """async (batches) => {
        const { History } = await import('/console/assets/history.js');
        const history = new History();
        for (const batch of batches) history.add(batch);
        return { times: history.times, names: history.names(), models: Object.fromEntries(history.models) };
    }"""
    column = {"waiting": [None], "tokens_per_second": [None], "ttft_seconds": [None]}
    batches: list[dict[str, Any]] = [{"times": [0], "models": {"old": {"running": [1], **column}}}]
    batches += [{"times": [time], "models": {"new": {"running": [time], **column}}} for time in range(5, 1000, 5)]
    with visit(browser, fleet.openai) as seen:
        kept = seen.open().evaluate(keep, batches)
    assert kept["times"] == list(range(95, 1000, 5))
    assert kept["names"] == ["new"], "nothing is left of the other"
    assert kept["models"]["new"]["running"] == kept["times"]


def test_a_page_that_nobody_sees_asks_nothing(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai) as seen:
        page = seen.open()
        asked: list[str] = []
        page.on("request", lambda sent: asked.append(sent.url))
        page.clock.install()
        page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
        page.clock.run_for(5_000)
        asked.clear()
        page.clock.run_for(60_000)
        assert asked == []
        page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
        with page.expect_response(re.compile("/console/api/live")):
            page.clock.run_for(3_000)


def test_the_theme_that_was_chosen_stays(browser: Browser, fleet: RunningFleet) -> None:
    with visit(browser, fleet.openai, color_scheme="light") as seen:
        page = seen.open()
        light = background(page)
        page.get_by_label("Theme").select_option("dark")
        dark = background(page)
        assert dark != light
        page.reload()
        assert background(page) == dark
        page.get_by_label("Theme").select_option("auto")
        assert background(page) == light


def background(page: Any) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


@pytest.mark.parametrize("theme", THEMES)
def test_the_playground_streams_two_real_models_side_by_side(
    browser: Browser, demo_fleet: RunningFleet, theme: Any
) -> None:
    question = "What is a KV cache?"
    with visit(browser, demo_fleet.openai, color_scheme=theme) as seen:
        page = seen.open()
        seen.go("Playground")
        lanes = page.locator("#lanes > section")
        expect(lanes).to_have_count(2)
        page.get_by_label("Temperature").fill("0")
        page.get_by_label("Most tokens").fill("48")
        page.get_by_label("Message").fill(question)
        page.keyboard.press("Enter")
        for model, lane in zip(("llama2", "mistral7b"), lanes.all(), strict=True):
            expect(lane.locator(".measured")).to_have_text(re.compile(r"^TTFT \d.*, [\d.,]+ tokens/s, \d+ tokens"))
            body = {"model": model, "messages": [{"role": "user", "content": question}], "max_tokens": 48}
            answer = ask(demo_fleet, "/v1/chat/completions", {**body, "temperature": 0})
            assert lane.locator(".answer > p").first.text_content() == answer["choices"][0]["message"]["content"]
            assert f"{answer['usage']['completion_tokens']} tokens" in str(lane.locator(".measured").text_content())
        seen.check_accessible()
        seen.picture(f"playground-{theme}")
        page.set_viewport_size(PHONE)
        seen.check_fits()


def test_the_playground_remembers_and_says_what_an_engine_refuses(browser: Browser, demo_fleet: RunningFleet) -> None:
    with visit(browser, demo_fleet.openai, "Failed to load resource") as seen:
        page = seen.open()
        bodies: list[Any] = []
        page.on("request", lambda sent: bodies.append(sent.post_data_json) if sent.method == "POST" else None)
        seen.go("Playground")
        page.get_by_label("Two models side by side").uncheck()
        lane = page.locator("#lanes > section").first
        lane.get_by_role("combobox", name="Left model").select_option("mistral7b")
        message = page.get_by_label("Message")
        for number, text in enumerate(("What is Triton?", "And vLLM?")):
            message.fill(text)
            message.press("Enter")
            expect(lane.locator(".measured").nth(number)).to_contain_text("TTFT")
        assert [entry["role"] for entry in bodies[1]["messages"]] == ["user", "assistant", "user"]

        page.get_by_label("Most tokens").fill("9999")
        message.fill("too long")
        message.press("Enter")
        expect(lane.locator(".failed")).to_contain_text(re.compile("max_tokens|context length|maximum"))
        page.get_by_role("button", name="Clear").click()
        expect(lane.locator("li")).to_have_count(0)


def test_a_long_answer_is_followed_unless_somebody_reads_above(browser: Browser, fleet: RunningFleet) -> None:
    end = "(list) => list.scrollHeight - list.scrollTop - list.clientHeight < 40"
    with visit(browser, fleet.openai, viewport={"width": 700, "height": 420}) as seen:
        page = seen.open()
        seen.go("Playground")
        page.get_by_label("Two models side by side").uncheck()
        lane = page.locator("#lanes > section").first
        lane.get_by_role("combobox", name="Left model").select_option("beta")
        talk, message = lane.get_by_role("list"), page.get_by_label("Message")
        page.get_by_label("Most tokens").fill("900")
        message.fill("on and on " * 300)
        message.press("Enter")
        answer = lane.locator(".answer > p").first
        expect(answer).to_have_attribute("aria-busy", "true")
        shown = talk.element_handle()
        page.wait_for_function("(list) => list.lastChild.offsetHeight > 1.2 * list.clientHeight", arg=shown)
        assert talk.evaluate(end), "the newest line is in sight"
        talk.evaluate("(list) => { list.scrollTop = 0; }")
        grown = talk.evaluate("(list) => list.scrollHeight + 40")
        page.wait_for_function("([list, grown]) => list.scrollHeight > grown", arg=[shown, grown])
        assert talk.evaluate("(list) => list.scrollTop") == 0
        page.get_by_role("button", name="Stop").click()
        expect(answer).not_to_have_attribute("aria-busy", "true")
        expect(answer).to_have_attribute("aria-live", "polite")


@pytest.mark.parametrize("part", ["Overview", "Playground", "Logs"])
def test_every_part_fits_the_narrowest_window_and_can_be_skipped_to(
    browser: Browser, fleet: RunningFleet, part: str
) -> None:
    with visit(browser, fleet.openai, viewport=NARROWEST) as seen:
        page = seen.open()
        seen.go(part)
        shown = page.locator(f"#{part.lower()}")
        expect(shown).to_be_visible()
        seen.check_fits()
        seen.check_accessible()
        page.locator(".skip").focus()
        page.keyboard.press("Enter")
        expect(page.locator("#main")).to_be_focused()
        expect(shown).to_be_visible()


@pytest.mark.parametrize("theme", THEMES)
def test_the_runbook_opens_at_its_alert(browser: Browser, fleet: RunningFleet, theme: Any) -> None:
    with visit(browser, fleet.openai, color_scheme=theme) as seen:
        page = seen.page
        page.goto(f"{seen.base}{RUNBOOK_PATH}#tritonfleetmodeldown")
        expect(page.get_by_role("heading", name="TritonfleetModelDown")).to_be_in_viewport()
        seen.check_accessible()
        page.set_viewport_size(NARROWEST)
        seen.check_fits()
        page.get_by_role("link", name="Console").click()
        expect(seen.state("beta")).to_have_text("ready")
        seen.go("Runbook")
        expect(page).to_have_title("tritonfleet: runbook")


def test_the_playground_stops(browser: Browser, fleet: RunningFleet) -> None:
    """The engine says the words of the prompt again, one every 20 ms."""
    with visit(browser, fleet.openai) as seen:
        page = seen.open()
        seen.go("Playground")
        page.get_by_label("Two models side by side").uncheck()
        lane = page.locator("#lanes > section").first
        lane.get_by_role("combobox", name="Left model").select_option("beta")
        page.get_by_label("Most tokens").fill("400")
        message = page.get_by_label("Message")
        message.fill("on and on " * 100)
        message.press("Enter")
        page.get_by_role("button", name="Stop").click()
        expect(lane.locator(".failed, .measured").last).to_contain_text("Stopped.")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()


def test_pictures_of_a_fleet_at_work(browser: Browser, demo_fleet: RunningFleet) -> None:
    """The overview with real engines, and the pictures of docs/console.md."""
    stop = threading.Event()
    with load(demo_fleet, "llama2", "mistral7b", "mistral7b"):
        stop.wait(LOAD_SECONDS if PICTURES else 0)
        for theme in THEMES:
            with visit(browser, demo_fleet.openai, color_scheme=theme) as seen:
                page = seen.open(link(demo_fleet))
                expect(page.get_by_role("img", name="Tokens per second")).to_have_attribute(
                    "aria-label", re.compile(r"llama2 [1-9]")
                )
                expect(page.locator("#memory table")).to_contain_text("weights")
                seen.picture(f"overview-{theme}", whole=True)
                page.set_viewport_size(PHONE)
                seen.check_fits()
                if theme == "light":
                    seen.picture("phone")


def test_with_keys_the_console_asks_for_one_and_shows_what_it_may(browser: Browser, fleet: RunningFleet) -> None:
    """The last test of this fleet: from the first key on, its door asks for one."""
    load_unless_ready(fleet, "spare")
    team = key(fleet, "team", "--model", "alpha")
    boss = key(fleet, "boss", "--admin")
    wait_for(lambda: "error" in ask(fleet, "/v1/models"))
    with visit(browser, fleet.openai, "Failed to load resource") as seen:
        page = seen.page
        page.goto(seen.base)
        dialog = page.get_by_role("dialog")
        expect(dialog).to_contain_text("an API key is needed")
        dialog.get_by_label("Key").fill(team)
        page.keyboard.press("Enter")
        expect(seen.state("alpha")).to_have_text("ready")
        assert page.locator("#models tbody").count() == 1
        expect(page.locator("#memory")).to_contain_text("for some models only")
        seen.go("Logs")
        expect(page.locator("#log-note")).to_contain_text("logs are for admin keys")
        seen.go("Overview")

        page.get_by_role("button", name="Key set").click()
        dialog.get_by_label("Key").fill(boss)
        page.keyboard.press("Enter")
        expect(page.locator("#models tbody")).to_have_count(4)
        seen.row("spare").get_by_role("button", name="Unload spare").click()
        page.get_by_role("button", name="Unload spare").last.click()
        expect(seen.state("spare")).to_have_text("stopped")
        seen.go("Playground")
        page.get_by_label("Message").fill("one two three")
        page.keyboard.press("Enter")
        expect(page.locator(".measured").first).to_contain_text("TTFT")
    assert boss not in fleet.layout.logs.joinpath("gateway.log").read_text()


def load_unless_ready(fleet: RunningFleet, model: str) -> None:
    """Have *model* served, whichever tests ran before; Triton answers when it is."""
    models = ask(fleet, "/console/api/live")["status"]["models"]
    if not any(entry["model"] == model and entry["state"] == "ready" for entry in models):
        url = f"http://127.0.0.1:{fleet.http}/v2/repository/models/{model}/load"
        with urllib.request.urlopen(urllib.request.Request(url, data=b"{}", method="POST"), timeout=60):
            pass


def key(fleet: RunningFleet, name: str, *options: str) -> str:
    """Make an API key."""
    where = ["--fleet", str(fleet.spec_path), "--state", str(fleet.layout.state)]
    argv = [*COMMAND, "key", "create", name, *options, *where]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout.strip()
