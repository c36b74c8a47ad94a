"""What the page shows of its server: figures, other models, a key that is asked for, a server that is not ready."""

from __future__ import annotations

from pathlib import Path

from tests.contract.server.test_plain import LINES, place_plain
from tests.support.browsers import Browser
from tests.support.onnx_models import mlp, named_columns, place, two_inputs
from tests.support.pages import MEASURES, assert_programs_give, program, send
from tests.support.prefixes import below
from tests.support.servers import RunningServer, running

KEY = "a-key-for-these-tests"


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
