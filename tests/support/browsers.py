"""A headless Chromium, driven by selenium: Debian's own browser and driver, nothing else is fetched."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException, TimeoutException
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PATIENCE = 60
"""Seconds: a machine may be busy; nobody waits longer than the condition needs."""

CANNOT_SANDBOX = ("--no-sandbox", "--disable-dev-shm-usage")
"""As root, and in a container with a small /dev/shm, as CI is."""


@contextmanager
def chromium(downloads: Path) -> Iterator[Browser]:
    """Started; ended with its driver. Skips where Debian's chromium-driver is not installed."""
    driver, program = shutil.which("chromedriver"), shutil.which("chromium")
    if driver is None or program is None:
        pytest.skip("no chromium with chromedriver: apt-get install chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", *CANNOT_SANDBOX, "--disable-gpu", "--disable-extensions", "--lang=en"):
        options.add_argument(argument)
    options.add_experimental_option("prefs", {"download.default_directory": str(downloads)})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(executable_path=driver)
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("no_proxy", "localhost,127.0.0.1")  # the driver, whatever proxy leads out of here
        started = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(started)
    finally:
        started.quit()


class Browser:
    """What the tests do in a browser, waiting for what they need."""

    def __init__(self, driver: webdriver.Chrome) -> None:
        self.driver = driver

    def open(self, url: str, width: int = 1280, height: int = 1000, dark: bool = False) -> None:
        self.resize(width, height)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.driver.get("about:blank")
        self.problems()
        self.driver.get(url)

    def resize(self, width: int, height: int) -> None:
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)

    def find(self, selector: str, text: str = "") -> WebElement:
        """The first element that is shown and has this text, once there is one."""

        def found(driver: webdriver.Chrome) -> WebElement | None:
            try:
                every = driver.find_elements(By.CSS_SELECTOR, selector)
                return next((each for each in every if each.is_displayed() and text in each.text), None)
            except StaleElementReferenceException:
                return None

        try:
            element: WebElement = WebDriverWait(self.driver, PATIENCE, 0.05).until(found)
        except TimeoutException:
            raise AssertionError(f"no {selector} with {text!r} in {self.text()!r}") from None
        return element

    def fill(self, selector: str, text: str) -> None:
        field = self.find(selector)
        field.clear()
        field.send_keys(text)

    def choose(self, legend: str, name: str) -> None:
        """A radio button of a group, as a reader does who clicks on its words."""
        self.find(f'fieldset input[name$="{legend}"][value="{name}"] + span').click()

    def text(self) -> str:
        return self.driver.find_element(By.TAG_NAME, "body").text

    def run(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def screenshot(self, file: Path) -> Path:
        """The whole page, at its width."""
        height = self.run("return Math.ceil(document.documentElement.scrollHeight)")
        self.resize(self.run("return innerWidth"), max(height, 400))
        assert self.driver.save_screenshot(str(file))
        return file

    def overflow(self) -> int:
        """Pixels that stand out to the right of the window."""
        return int(self.run("return document.documentElement.scrollWidth - innerWidth"))

    def problems(self) -> list[str]:
        """What the browser complained of since it was last asked: errors, and what the content policy forbade."""
        log = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]
