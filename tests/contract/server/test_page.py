"""The page at / in a real headless Chromium: it opens, asks by its form, shows the answer; what is copied works."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from builder.model.golden import GoldenCase
from tests.contract.server.test_plain import LINES, colours, expected, place_case, place_plain
from tests.support import plain_models
from tests.support.browsers import PATIENCE, Browser, chromium
from tests.support.onnx_models import identity, mlp, named_columns, place, two_inputs
from tests.support.prefixes import below
from tests.support.servers import RunningServer, running

MEASURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")
PARITY = {
    "schema": 1,
    "passed": True,
    "source": "scikit-learn",
    "versions": {"scikit-learn": "1.9.1"},
    "tolerance": {"absolute": 1e-5, "relative": 1e-4, "outputs": {}},
    "cases": [{"name": "one", "given": True, "outputs": ["probabilities"]}],
}
KEY = "a-key-for-these-tests"


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def chrome(downloads: Path) -> Iterator[Browser]:
    with chromium(downloads) as browser:
        yield browser


@pytest.fixture
def browser(chrome: Browser) -> Iterator[Browser]:
    """The browser; it must have had nothing to complain of."""
    yield chrome
    assert chrome.problems() == []


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("page-models")
    text = GoldenCase(name="one", inputs={"text": np.array([b"the quick fox"])}, outputs={})
    for name, graph, interface in (
        ("embed", plain_models.embedder(), plain_models.embedding_interface()),
        ("tag", plain_models.tagger(), plain_models.tagging_interface()),
    ):
        place_plain(models, name, graph, interface)
        place_case(models / name, text)
    place_plain(models, "colour", plain_models.brightness(), plain_models.colour_interface())
    red = np.array([colours((255, 0, 0))[0]])
    place_case(models / "colour", GoldenCase(name="red", inputs={"image": red}, outputs={}))
    case = {name: np.array([[number]], np.float32) for name, number in zip(MEASURES, (5, 3.5, 1.25, 0.5), strict=True)}
    manifest = {"version": "2.1.0", "description": "Names an iris from four measures.", "licence": "BSD-3-Clause"}
    folder = place(models, "iris", named_columns(*MEASURES), manifest=manifest)
    place_case(folder, GoldenCase(name="one", inputs=case, outputs={}))
    (folder / "parity.json").write_text(json.dumps(PARITY))
    place(models, "two", two_inputs())
    place(models, "matrix", identity("INT64"))
    place(models, "half", identity("FP16"))
    place(models, "pixels", identity("FP32", ("batch", 3, 224, 224)))
    place(models, "brain", identity("BF16"))
    return models


@pytest.fixture(scope="module")
def url(server_source: Path, models: Path) -> Iterator[str]:
    with running(server_source, models) as server:
        yield f"http://{server.ready().address}/"
        server.send_signal()
        assert server.exit_code() == 0


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


def test_a_text_is_sent_and_its_embedding_comes(browser: Browser, url: str, tmp_path: Path) -> None:
    browser.open(f"{url}#embed")
    browser.find("h1", "embed")
    browser.find("#ready", "ready")
    assert browser.find("textarea").get_attribute("value") == "the quick fox"
    browser.fill("textarea", 'The lazy dog\'s "Berlin" – $HOME,\nüber Grüße')
    outputs = send(browser)
    np.testing.assert_allclose(outputs["embedding"], expected("the lazy dog ' s \" berlin a b c d , e f"), atol=1e-6)
    assert_programs_give(browser, outputs, tmp_path)
    assert_looks_right(browser, tmp_path)


def test_what_is_copied_is_what_is_shown(browser: Browser, url: str) -> None:
    browser.open(f"{url}#embed")
    browser.find("h1", "embed")
    shown = program(browser, "Python")
    browser.find("button.copy").click()
    browser.find("button.copy", "Copied")
    area = browser.find("textarea")
    area.clear()
    area.send_keys(Keys.CONTROL, "v")
    assert area.get_attribute("value") == shown


def test_what_was_found_in_a_text_is_marked_in_it(browser: Browser, url: str) -> None:
    browser.open(f"{url}#tag", dark=True)
    browser.find("h1", "tag")
    browser.fill("textarea", "Grüße: the Fox in Berlin")
    browser.find("button.main", "Send").click()
    browser.find("mark", "Berlin")
    assert browser.find("p.found").text.split() == ["Grüße:", "the", "Fox", "ANIMAL", "in", "Berlin", "PLACE"]


def test_an_image_is_chosen_or_dropped_and_labelled(
    browser: Browser, url: str, tmp_path: Path, downloads: Path
) -> None:
    browser.open(f"{url}#colour")
    browser.find("h1", "colour")
    browser.find(".drop small", "example.png")
    assert send(browser)["label"].tolist() == ["red"]
    save(browser, "example.png", downloads)
    assert_programs_give(browser, send(browser), downloads)
    photo = tmp_path / "my photo's.png"
    photo.write_bytes(colours((3, 9, 250))[0])
    browser.driver.find_element("css selector", ".drop input").send_keys(str(photo))
    browser.find(".drop small", "9 × 5")
    outputs = send(browser)
    assert browser.find(".answer .big").text == "blue"
    assert browser.find(".bars .top").text.split()[0] == "blue"
    assert_programs_give(browser, outputs, tmp_path)
    assert_looks_right(browser, tmp_path)
    browser.choose("Input as", "JSON")
    assert send(browser)["label"].tolist() == ["blue"]
    assert "b64decode" in program(browser, "tritonclient")
    assert "blue" in output_of(browser, "tritonclient", tmp_path)
    browser.choose("Input as", "Image")
    browser.run(DROP, list(colours((0, 255, 0))[0]))
    browser.find(".drop small", "dropped.png")
    assert send(browser)["label"].tolist() == ["green"]


DROP = """
    const files = new DataTransfer();
    files.items.add(new File([new Uint8Array(arguments[0])], "dropped.png", {type: "image/png"}));
    document.querySelector(".drop").dispatchEvent(new DragEvent("drop", {dataTransfer: files, bubbles: true}));
"""


def save(browser: Browser, name: str, downloads: Path) -> None:
    """What the programs read, put beside them by the page's link."""
    browser.find("a[download]", name).click()
    end = time.monotonic() + PATIENCE
    while not (downloads / name).exists() or list(downloads.glob("*.crdownload")):
        assert time.monotonic() < end, list(downloads.iterdir())
        time.sleep(0.02)


def test_a_table_has_a_field_for_each_column_and_rows(browser: Browser, url: str, tmp_path: Path) -> None:
    browser.open(f"{url}#iris")
    browser.find("h1", "iris")
    for words in ("2.1.0", "BSD-3-Clause", "scikit-learn 1.9.1", "1 golden case", "Names an iris"):
        browser.find(".about", words)
    browser.find("form .fields")
    fields = browser.driver.find_elements("css selector", "form .fields label")
    assert [each.text for each in fields] == list(MEASURES)
    browser.fill(".fields label:nth-child(3) input", "4.75")
    outputs = send(browser)
    scores = np.exp(np.array([5, 3.5, 4.75, 0.5]) @ np.linspace(-1, 1, 12).reshape(4, 3))
    np.testing.assert_allclose(outputs["probabilities"], scores / scores.sum(), atol=1e-5)
    assert_programs_give(browser, outputs, tmp_path)
    assert_looks_right(browser, tmp_path)
    browser.fill(".fields label:nth-child(3) input", "long")
    browser.find("form .error", "petal_length is “long”, which is not a number.")
    browser.fill(".fields label:nth-child(3) input", "4.75")
    browser.choose("Input as", "Rows")
    browser.fill("textarea", "petal_width;petal_length;sepal_width;sepal_length\n0.5;4.75;3.5;5\n1;1;1;1")
    rows = send(browser)["probabilities"]
    np.testing.assert_allclose(rows[:3], outputs["probabilities"], atol=1e-6)
    assert len(browser.driver.find_elements("css selector", ".grid tr")) == 2


def test_several_tensors_with_free_dims(browser: Browser, url: str, tmp_path: Path, downloads: Path) -> None:
    browser.open(f"{url}#two")
    browser.find("h1", "two")
    browser.find("fieldset.tensor textarea")
    a, b, index = browser.driver.find_elements("css selector", "fieldset.tensor textarea")
    for field, text in ((a, "1 2\n3 4"), (b, "[[10, 20], [30, 40]]"), (index, "1")):
        field.clear()
        field.send_keys(text)
    outputs = send(browser)
    assert (outputs["total"].tolist(), outputs["picked"].tolist()) == ([11, 22, 33, 44], [3, 4])
    assert_programs_give(browser, outputs, tmp_path)
    browser.open(f"{url}#matrix")
    browser.find("h1", "matrix")
    browser.fill("textarea", "1 2 3\n4 5 6")
    browser.find("pre", '"shape": [2, 3]')
    numbers = [2**53 + 1, *range(799)]
    browser.run("const area = document.querySelector('textarea'); area.value = arguments[0];"
                "area.dispatchEvent(new Event('input', {bubbles: true}))", json.dumps([numbers]))  # fmt: skip
    outputs = send(browser)
    assert outputs["y"].tolist() == numbers
    assert [each.get_attribute("value") for each in browser.driver.find_elements("css selector", ".field input")] == [
        "1",
        "800",
    ]
    assert "@request.json" in program(browser, "curl")
    save(browser, "request.json", downloads)
    assert_programs_give(browser, outputs, downloads)


def test_an_input_of_many_values_is_filled_and_a_long_vector_shortened(browser: Browser, url: str) -> None:
    browser.open(f"{url}#pixels")
    browser.find("h1", "pixels")
    Select(browser.find("fieldset select")).select_by_visible_text("Random")
    browser.find("fieldset canvas")
    browser.find("button.main", "Send").click()
    output = browser.find(".output", "150528 values from").text
    assert re.search(r"150528 values from (0|0\.00\d+|\d\.\d*e-\d) to (1|0\.99\d*),", output), output


@pytest.mark.parametrize(("model", "number"), [("half", "65504"), ("brain", "3.0e38")])
def test_half_precision_travels_in_binary(browser: Browser, url: str, tmp_path: Path, model: str, number: str) -> None:
    browser.open(f"{url}#{model}")
    browser.find("h1", model)
    browser.fill("textarea", f"1.5, -2, {number}, 0")
    browser.find("button.main", "Send").click()
    browser.find(".answer .state", "200 OK")
    rows = [row.text.split() for row in browser.driver.find_elements("css selector", ".bars tr")]
    np.testing.assert_allclose([float(value) for _, value in rows], [1.5, -2, float(number), 0], rtol=1e-2)
    printed = re.findall(r"[-\d.e+]+", output_of(browser, "tritonclient", tmp_path))
    np.testing.assert_allclose([float(value) for value in printed], [1.5, -2, float(number), 0], rtol=1e-2)


def test_json_is_sent_as_it_is_written_and_errors_are_the_servers_own(chrome: Browser, url: str) -> None:
    chrome.open(f"{url}#two")
    chrome.find("h1", "two")
    chrome.choose("Input as", "JSON")
    request = json.loads(chrome.find("textarea").get_attribute("value") or "")
    assert [each["name"] for each in request["inputs"]] == ["a", "b", "index"]
    chrome.fill("textarea", "{")
    chrome.find("form .error", "This is not JSON")
    request["inputs"][2]["data"] = [5]
    chrome.fill("textarea", json.dumps(request))
    chrome.find("button.main", "Send").click()
    chrome.find(".answer .state", "400 Bad Request")
    chrome.find(".answer .error", "out of data bounds")
    assert ["400 (Bad Request)" in each for each in chrome.problems()] == [True]


def test_the_figures_move(browser: Browser, url: str) -> None:
    browser.open(f"{url}#iris")
    browser.find("h1", "iris")
    send(browser)
    browser.find("aside .tile .big", " ms")
    names = "[...document.querySelectorAll('aside dt')]"
    answered = browser.run(f"return {names}.find((each) => each.textContent === 'answered').nextSibling.textContent")
    assert int(answered) >= 1


def test_models_are_chosen_by_name_and_by_link(browser: Browser, url: str) -> None:
    browser.open(url)
    names = sorted(["brain", "colour", "embed", "half", "iris", "matrix", "pixels", "tag", "two"])
    browser.find("h1", names[0])
    every = [each.text for each in browser.driver.find_elements("css selector", "#model option")]
    assert [each for each in every if not each.endswith("-tensors")] == names
    browser.run("const choose = document.getElementById('model'); choose.value = 'iris';"
                "choose.dispatchEvent(new Event('change'))")  # fmt: skip
    browser.find("h1", "iris")
    assert browser.driver.current_url.endswith("#iris")


def test_all_of_it_below_a_path(browser: Browser, url: str, tmp_path: Path) -> None:
    with below("/team/models", url.split("/")[2]) as root:
        browser.open(f"{root}#iris")
        browser.find("h1", "iris")
        browser.find("#ready", "ready")
        assert_programs_give(browser, send(browser), tmp_path)
        browser.find("nav a", "API").click()
        browser.find("h1", "API")
        browser.find("code", "/v2/models/iris/infer")
        browser.find("a.home").click()
        browser.find("h1", "brain")


def test_the_reference_asks_every_path(browser: Browser, url: str) -> None:
    browser.open(f"{url}docs")
    browser.find("h1", "API")
    section = browser.find("main > section", "/v2/models/iris/infer")
    section.find_element("css selector", "button.main").click()
    browser.find("main > section", "200 OK")
    assert browser.overflow() <= 0


def test_a_key_is_asked_for_and_kept_out_of_what_is_copied(
    chrome: Browser, server_source: Path, models: Path, tmp_path: Path
) -> None:
    with running(server_source, models, MBUILD_API_KEY=KEY) as server:
        chrome.open(f"http://{server.ready().address}/#iris")
        chrome.find("#key", "wants a key")
        chrome.fill("#key input", "wrong")
        chrome.find("#key button").click()
        chrome.find("#key", "does not take that key")
        chrome.fill("#key input", KEY)
        chrome.find("#key button").click()
        chrome.find("h1", "iris")
        outputs = send(chrome)
        assert KEY not in program(chrome, "curl") + program(chrome, "Python") + program(chrome, "tritonclient")
        assert_programs_give(chrome, outputs, tmp_path, API_KEY=KEY)
        assert all("401 (Unauthorized)" in each for each in chrome.problems())
        chrome.run("sessionStorage.clear()")


def test_a_server_that_is_not_ready_says_so_and_is_shown_once_it_is(
    chrome: Browser, server_source: Path, tmp_path: Path
) -> None:
    folder = place_plain(tmp_path / "models", "lines", mlp(), LINES)
    gate = tmp_path / "go"
    waits = f"import os, time\nwhile not os.path.exists({str(gate)!r}):\n    time.sleep(0.02)\n"
    (folder / "handler.py").write_text(waits + (folder / "handler.py").read_text())
    with running(server_source, tmp_path / "models") as server:
        chrome.open(f"http://{server.address}/")
        chrome.find("#note", "the models are not loaded")
        chrome.find("#ready", "not ready")
        gate.touch()
        chrome.find("h1", "lines")
        chrome.find("#ready.good")
    assert all("503 (Service Unavailable)" in each for each in chrome.problems())


def test_a_server_that_comes_back_with_other_models(chrome: Browser, server_source: Path, tmp_path: Path) -> None:
    place(tmp_path, "iris", named_columns(*MEASURES))
    with running(server_source, tmp_path) as server:
        port = server.ready().port
        chrome.open(f"http://127.0.0.1:{port}/")
        chrome.find("h1", "iris")
        chrome.fill(".fields input", "7.25")
        assert not chrome.driver.find_element("id", "model").is_displayed()
    chrome.find("#ready", "no answer")
    place(tmp_path, "two", two_inputs())
    with running(server_source, tmp_path, MBUILD_PORT=str(port)) as server:
        server.ready()
        chrome.find("#ready.good", "ready")
        chrome.find("#model", "two")
        assert chrome.find(".fields input").get_attribute("value") == "7.25"  # what was typed is still there
        send(chrome)
    assert all("ERR_" in each for each in chrome.problems())


def test_a_server_without_a_model(chrome: Browser, server_source: Path, tmp_path: Path) -> None:
    with running(server_source, tmp_path) as server:
        started(server)
        chrome.open(f"http://{server.address}/")
        chrome.find("#note", "no model")
        chrome.find("#ready", "not ready")


def started(server: RunningServer) -> None:
    server.event("no models")
