"""A real Chromium that looks at the console, and notes what a page must not do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, ViewportSize, expect, sync_playwright

#: The fleet and the browser share two cores.
EXPECT_MS = 20_000
DESKTOP: ViewportSize = {"width": 1280, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
#: To this width WCAG wants pages to reflow: a desktop's window at a zoom of 400 %.
NARROWEST: ViewportSize = {"width": 320, "height": 700}
#: Where the pictures of the documentation are written, for example docs/images; nowhere without it.
PICTURES = os.environ.get("TRITONFLEET_SCREENSHOTS")


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run Debian's Chromium, or the one that `playwright install chromium` fetched."""
    expect.set_options(timeout=EXPECT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


@dataclass
class Visit:
    """One person's look at the console, in a browser profile of its own."""

    page: Page
    base: str
    errors: list[str] = field(default_factory=list)
    """What the page wrote to the console as an error, or threw; failed requests apart."""
    elsewhere: list[str] = field(default_factory=list)
    """Requests to other servers."""
    asset_bytes: int = 0
    expected: tuple[str, ...] = ()
    """Errors that the test brings about: parts of their texts."""

    def open(self, fragment: str = "") -> Page:
        """Open the console and wait for its first state."""
        self.page.goto(f"{self.base}/{fragment}")
        expect(self.page.locator("#models tbody").first).to_be_visible()
        return self.page

    def row(self, model: str) -> Any:
        """The main row of a model."""
        return self.page.locator("#models tbody > tr:first-child", has_text=model)

    def state(self, model: str) -> Any:
        """The state of a model, as text."""
        return self.row(model).locator(".state")

    def go(self, part: str) -> None:
        """Choose a part of the page in its navigation."""
        self.page.get_by_role("link", name=part).click()

    def picture(self, name: str, *, whole: bool = False) -> None:
        """Write a picture of the window, or the whole page, for the documentation, if asked to."""
        if PICTURES:
            self.page.screenshot(path=Path(PICTURES) / f"console-{name}.png", full_page=whole)

    def check_accessible(self) -> None:
        """Fail for every rule of axe-core that the page breaks as it is now."""
        found = Axe().run(self.page)
        broken = [(rule["id"], [node["html"] for node in rule["nodes"]]) for rule in found.response["violations"]]
        assert not broken, broken

    def check_fits(self) -> None:
        """Fail if the page is wider than its window."""
        wide = self.page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        assert wide == 0, f"{wide} pixels too wide"

    def check_clean(self) -> None:
        """Fail if the page did something that it must not."""
        surprising = [text for text in self.errors if not any(part in text for part in self.expected)]
        assert not surprising, surprising
        assert not self.elsewhere, self.elsewhere


@contextmanager
def visit(browser: Browser, port: int, *expected: str, **options: Any) -> Iterator[Visit]:
    """Open a fresh browser profile; at the end the page must have been clean but for *expected* errors."""
    context = browser.new_context(**{"viewport": DESKTOP, "locale": "en-GB", **options})
    made = Visit(context.new_page(), f"http://127.0.0.1:{port}", expected=expected)
    page = made.page
    page.on("console", lambda message: made.errors.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: made.errors.append(str(error)))
    page.on("request", lambda sent: None if sent.url.startswith(f"{made.base}/") else made.elsewhere.append(sent.url))
    yield made
    made.check_clean()
    context.close()
