"""The page's forms: what is typed, chosen or dropped is sent, the answer is shown, and what is copied works."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select

from tests.contract.server.test_plain import colours, expected
from tests.support.browsers import PATIENCE, Browser
from tests.support.pages import MEASURES, assert_looks_right, assert_programs_give, output_of, program, send


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
