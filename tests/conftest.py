"""Fixtures and rules of all suites. What a fixture needs and this machine lacks skips the test, with the reason; with
CI=true a skip is a failure, so that nothing is left out there unseen."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from builder.host import Host
from tests.support.golden import Golden
from tests.support.hosts import real_host
from tests.support.purity import only_this_process
from tests.support.registries import SecuredRegistry

# A busy machine is no reason to fail.
hypothesis.settings.register_profile("mbuild", deadline=None)
hypothesis.settings.load_profile("mbuild")

CI = os.environ.get("CI") == "true"
UNIT = Path(__file__).parent / "unit"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-goldens", action="store_true", help="rewrite tests/golden, then look at the diff")
    parser.addoption(
        "--kills", type=int, default=3, help="how often the build that is killed again and again is killed"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With --update-goldens only the tests run that have a golden file."""
    if config.getoption("--update-goldens"):
        items[:] = [item for item in items if "golden" in getattr(item, "fixturenames", ())]


def _no_skips(report: pytest.TestReport | pytest.CollectReport) -> None:
    if CI and report.skipped and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"a skip is a failure with CI=true: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    _no_skips(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    _no_skips(report)
    return report


@pytest.fixture(autouse=True)
def _unit_tests_stay_in_this_process(request: pytest.FixtureRequest) -> Iterator[None]:
    if UNIT in request.path.parents:
        with only_this_process():
            yield
    else:
        yield


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """``golden(name, text)``: see tests/support/golden.py."""
    return Golden(update=bool(request.config.getoption("--update-goldens")))


@pytest.fixture(scope="session")
def make_host(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Host]:
    """``make_host()`` has an empty cache of its own; ``make_host(cache, environ)`` as given."""

    def make(cache: Path | None = None, environ: dict[str, str] | None = None) -> Host:
        return real_host(cache or tmp_path_factory.mktemp("cache"), environ)

    return make


@pytest.fixture(scope="session")
def host(make_host: Callable[..., Host], tmp_path_factory: pytest.TempPathFactory) -> Host:
    """One cache for the whole session and all its workers, or MBUILD_TEST_CACHE, kept between sessions."""
    session = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        session = session.parent
    kept = os.environ.get("MBUILD_TEST_CACHE")
    return make_host(Path(kept) if kept else session / "shared-cache")


@pytest.fixture(scope="session")
def docker_engine() -> Any:
    """A client of the Docker engine (docker SDK)."""
    import docker
    from docker.errors import DockerException

    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except (DockerException, OSError) as error:
        pytest.skip(f"no Docker engine is reachable (`scripts/services start` starts one as root): {error}")
    return client


@pytest.fixture(scope="session")
def registry() -> SecuredRegistry:
    """The registry with TLS and a password that ``scripts/services`` started."""
    found = SecuredRegistry.from_environ(os.environ)
    if found is None:
        pytest.skip('no test registry: `scripts/services start; eval "$(scripts/services env)"`')
    return found
