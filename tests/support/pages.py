"""What a person does with the page at /, and what the programs that it shows print."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.support.browsers import PATIENCE, Browser

MEASURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


def send(browser: Browser) -> dict[str, Any]:
    """Presses the button; outputs by name, as they came."""
    browser.find("button.main", "Send").click()
    browser.find(".answer .state", "200 OK")
    raw = browser.run("return document.querySelector('.answer details pre').textContent")
    return {each["name"]: np.array(each["data"]) for each in json.loads(raw)["outputs"]}


def program(browser: Browser, language: str) -> str:
    browser.choose("Language", language)
    return str(browser.run("return [...document.querySelectorAll('pre')].at(-1).textContent"))


def output_of(browser: Browser, language: str, folder: Path, **environ: str) -> str:
    """What the program that the page shows prints, run as it is."""
    shown = program(browser, language)
    line = ["bash", "-ec", shown] if language == "curl" else [sys.executable, "-c", shown]
    surroundings = {"PATH": "/usr/local/bin:/usr/bin:/bin", "no_proxy": "127.0.0.1", **environ}
    done = subprocess.run(line, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, (shown, done.stdout, done.stderr)
    return done.stdout


def assert_programs_give(browser: Browser, outputs: dict[str, Any], folder: Path, **environ: str) -> None:
    """curl's and Python's answers have these outputs, and tritonclient prints them in their order."""
    for language in ("curl", "Python"):
        printed = output_of(browser, language, folder, **environ)
        answer = json.loads(printed) if language == "curl" else eval(printed)  # a dict as Python prints it
        assert {each["name"]: each["data"] for each in answer["outputs"]} == {n: a.tolist() for n, a in outputs.items()}
    printed = output_of(browser, "tritonclient", folder, **environ)
    arrays = [array for array in outputs.values() if array.dtype.kind not in "US"]
    words = [item for array in outputs.values() if array.dtype.kind in "US" for item in array.tolist()]
    assert all(str(item.encode()) in printed for item in words)
    numbers = [float(each) for each in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", printed)]
    np.testing.assert_allclose(numbers, np.concatenate(arrays), rtol=1e-4)


def assert_looks_right(browser: Browser, folder: Path) -> None:
    """A picture of the page, dark and light, wide and as narrow as a phone: not blank, and nothing stands out of it."""
    for width in (1280, 360):
        browser.resize(width, 900)
        assert browser.overflow() <= 0, width
        with Image.open(browser.screenshot(folder / f"page-{width}.png")) as picture:
            assert picture.width == width
            colours_found = picture.convert("RGB").getcolors(2**24)
        assert len(colours_found) > 20
        assert max(count for count, _ in colours_found) < 0.95 * sum(count for count, _ in colours_found)
    browser.resize(1280, 1000)
