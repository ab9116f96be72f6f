"""Dagster's UI in headless Chromium: opens pages, waits for what they show, clicks, and takes pictures."""

from collections.abc import Callable
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

CHROMIUM, DRIVER = "/usr/bin/chromium", "/usr/bin/chromedriver"
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--force-color-profile=srgb",
)
PATIENCE_SECONDS = 90
COLORS = 128


class Browser:
    """One window on the UI at `url`; as a context manager it leaves no process behind.

    Args:
        profile: a new folder for what Chromium keeps.
        pictures: where pictures go; None takes none.
    """

    def __init__(self, url: str, profile: Path, pictures: Path | None) -> None:
        self.url, self._pictures = url, pictures
        options = webdriver.ChromeOptions()
        options.binary_location = CHROMIUM
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
        self.resize(1280, 800)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        self.driver.quit()

    def resize(self, width: int, height: int) -> None:
        """Makes the page so large."""
        self.driver.set_window_size(width, height)

    def open(self, path: str) -> None:
        """Goes to a page of the UI."""
        self.driver.get(self.url + path)

    def text(self) -> str:
        """All that the page shows now."""
        return self.driver.find_element(By.TAG_NAME, "body").text

    def wait_for(self, *texts: str, times: int = 1) -> None:
        """Waits until the page shows all of these, the last one so many times."""
        shown = ""

        def is_there() -> bool:
            nonlocal shown
            shown = self.text()
            return all(text in shown for text in texts) and shown.count(texts[-1]) >= times

        try:
            self.poll(is_there, "")
        except TimeoutException:
            missing = [text for text in texts if text not in shown] or f"{texts[-1]!r} {times} times"
            raise AssertionError(f"after {PATIENCE_SECONDS} s {self.driver.current_url} does not show {missing}, but:\n{shown}") from None

    def click(self, text: str) -> None:
        """Clicks the button with this text, once it can be clicked."""

        def click_it() -> bool:
            button = self.find_button(text)
            if button is not None:
                button.click()
            return button is not None

        self.poll(click_it, f"button {text!r}")

    def find_button(self, text: str) -> WebElement | None:
        """The first button with this text that can be clicked now."""
        found = self.driver.find_elements(By.XPATH, f"//button[not(@disabled) and normalize-space()={text!r}]")
        return next((button for button in found if button.is_displayed()), None)

    def poll(self, condition: Callable[[], bool], wanted: str) -> None:
        """Waits for something, looking twice a second.

        Raises:
            TimeoutException: there was no `wanted`.
        """
        # Not there yet, drawn anew meanwhile, or behind what fades out.
        passing = (StaleElementReferenceException, ElementClickInterceptedException)
        WebDriverWait(self.driver, PATIENCE_SECONDS, ignored_exceptions=passing).until(lambda _: condition(), f"there was no {wanted}")

    def take_picture(self, name: str) -> None:
        """Keeps what the window shows as `name`.png, in few colors, so that it is small."""
        if self._pictures is None:
            return
        file = self._pictures / f"{name}.png"
        self.driver.save_screenshot(str(file))
        with Image.open(file) as picture:
            picture.convert("RGB").quantize(COLORS, dither=Image.Dither.NONE).save(file, optimize=True)
