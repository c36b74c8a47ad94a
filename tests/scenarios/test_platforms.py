"""One command, several platforms: one index, nothing emulated while building, what can be shared shared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from builder.host import Host
from builder.oci.descriptor import IMAGE_INDEX
from builder.oci.layout import Layout
from builder.oci.manifest import Index
from builder.oci.platform import Platform
from builder.oci.validate import validate_image
from builder.probe.embedded import EmbeddedRunner
from builder.probe.emulator import Emulator, emulator_names, find_emulator
from builder.probe.runner import EMULATED, ProbedImage, Unstartable
from builder.resources import schema_file
from tests.scenarios.conftest import Mbuild
from tests.support.registries import SecuredRegistry
from tests.support.tiny_image import tiny_layout

BOTH = "linux/amd64,linux/arm64"
PLATFORMS = BOTH.split(",")
OWN = str(Platform.of_this_machine())
OTHER = next(platform for platform in PLATFORMS if platform != OWN)
QUIET = ("--no-load", "--no-test")


def roles(result: dict[str, Any]) -> dict[str, list[str]]:
    """By role the digests of its layers."""
    found: dict[str, list[str]] = {}
    for layer in result["layers"]:
        found.setdefault(layer["role"], []).append(layer["digest"])
    return found


def require_emulator(host: Host) -> Emulator:
    found = find_emulator(Platform.parse(OTHER), host)
    if found is None:
        pytest.skip(f"no {emulator_names(Platform.parse(OTHER))} is here (`scripts/interop-tools` installs it)")
    return found


@pytest.fixture
def without_emulator(host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment in which no program is found, for a command that is to have none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    if find_emulator(Platform.parse(OTHER), host):
        pytest.skip("this machine's kernel starts an emulator by itself (binfmt_misc)")
    monkeypatch.undo()
    return {"PATH": str(tmp_path)}


def test_one_command_one_index_of_images_as_if_built_alone(mbuild: Mbuild, digits: Path, tmp_path: Path) -> None:
    """And a second time, with the platforms in another order, the same without a step that does anything."""
    result = mbuild.json(digits, "--platform", BOTH, *QUIET, "-o", tmp_path / "out")
    jsonschema.validate(result, json.loads(schema_file("result").read_bytes()))
    layout = Layout(tmp_path / "out")
    (entry,) = layout.index.manifests
    assert (entry.media_type, str(entry.digest)) == (IMAGE_INDEX, result["image"]["digest"])
    index = Index(layout.document(entry).raw)
    assert [str(one.platform) for one in index.manifests] == PLATFORMS
    for one, image in zip(index.manifests, result["platforms"], strict=True):
        validate_image(layout, one)
        assert (image["platform"], image["digest"]) == (str(one.platform), str(one.digest))
    alone = mbuild.json(digits, "--platform", PLATFORMS[1], "--locked", *QUIET)
    assert alone["platforms"] == result["platforms"][1:]
    assert [layer["digest"] for layer in alone["layers"]] == alone["platforms"][0]["layers"]
    counts = {role: len(digests) for role, digests in roles(result).items()}
    assert counts == {"base": 2, "runtime": 2, "server": 1, "model": 1}
    assert [step["name"] for step in result["steps"]].count("verify") == 1

    words = ("--platform", PLATFORMS[1], "--platform", PLATFORMS[0], "--locked", *QUIET)
    again = mbuild.json(digits, *words, "-o", tmp_path / "out")
    assert again["image"] == result["image"]
    assert all(step["cached"] for step in again["steps"])


@pytest.mark.registry
def test_the_index_is_pushed_and_each_machine_gets_its_own(
    mbuild: Mbuild, digits: Path, tmp_path: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    """From a layout and straight from where the weights lie it is the same index."""
    built = mbuild.json(digits, "--platform", BOTH, *QUIET, "-o", tmp_path / "out")
    reference = str(registry.fresh("both"))
    words = (digits, "--platform", BOTH, *QUIET, "-t", reference, "--push", "--max-size", "60MB")
    pushed = mbuild.json(*words, **registry_environ)
    assert pushed["image"]["digest"] == built["image"]["digest"]
    assert pushed["image"]["reference"].endswith("@" + built["image"]["digest"])
    again = mbuild.json("push", tmp_path / "out", reference, **registry_environ)
    assert (again["reference"], again["uploaded"]) == (pushed["image"]["reference"], 0)
    for image in built["platforms"]:
        output = tmp_path / image["identifier"]
        mbuild.json("pull", reference, "--platform", image["platform"], "-o", output, **registry_environ)
        assert str(Layout(output).find(platform=Platform.parse(image["platform"])).digest) == image["digest"]


@pytest.mark.registry
def test_a_base_of_several_platforms_carries_an_index(
    mbuild: Mbuild, digits: Path, tmp_path: Path, registry: SecuredRegistry, registry_environ: dict[str, str]
) -> None:
    base = str(registry.fresh("base"))
    done = mbuild("base", "push", "cpu", base, "--platform", BOTH, **registry_environ)
    assert done.returncode == 0, done.stderr
    words = (digits, "--platform", BOTH, *QUIET, "--lock", tmp_path / "base.lock")
    result = mbuild.json(*words, "--base", base, **registry_environ)
    assert roles(result) == roles(mbuild.json(*words[:-2]))


def test_what_is_shown_and_rendered_is_each_of_them(mbuild: Mbuild, digits: Path, tmp_path: Path) -> None:
    plans = json.loads(mbuild("plan", digits, "--platform", BOTH, "--format", "json").stdout)
    assert [plan["platform"] for plan in plans] == PLATFORMS
    done = mbuild("render", digits, "--platform", BOTH, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    lines = [f"docker build --platform {one} {tmp_path / 'out' / one.replace('/', '_')}" for one in PLATFORMS]
    assert done.stdout.splitlines() == lines
    assert (tmp_path / "out" / "linux_arm64" / "Dockerfile").is_file()


def test_each_of_them_is_held_to_the_size(mbuild: Mbuild, digits: Path) -> None:
    refused = mbuild(digits, "--platform", BOTH, *QUIET, "--max-size", "40.5MB")
    assert refused.returncode == 8
    assert "the image for linux/amd64 has" in refused.stderr


def test_what_this_processor_cannot_run_is_told_or_run_under_an_emulator(
    mbuild: Mbuild, host: Host, digits: Path, tmp_path: Path, without_emulator: dict[str, str]
) -> None:
    """Without one the result and a warning say that it was not run; with one the report says what ran it, since times
    and memory mean nothing then."""
    words = ("--platform", BOTH, "--no-load", "-o", tmp_path / "out", "--format", "json")
    done = mbuild(digits, *words, **without_emulator)
    assert done.returncode == 0, done.stderr
    assert f"warning: the image for {OTHER} was not run" in done.stderr
    result = json.loads(done.stdout)
    jsonschema.validate(result, json.loads(schema_file("result").read_bytes()))
    tests = {image["platform"]: image["test"] for image in result["platforms"]}
    assert tests[OWN] == result["test"]
    assert (tests[OWN]["exit_code"], tests[OWN]["emulator"]) == (0, None)
    assert "cannot run it" in tests[OTHER]["not_run"]
    assert {"no-shell", "libraries-present"} <= {check["name"] for check in tests[OTHER]["checks"] if check["passed"]}

    require_emulator(host)
    report = mbuild.json("test", tmp_path / "out", "--platform", OTHER)
    assert (report["exit_code"], report["emulator"].partition("-")[0]) == (0, "qemu")
    assert [case["case"] for case in report["cases"]] == [case["case"] for case in tests[OWN]["cases"]]
    assert all(not check["findings"] for check in report["checks"])


def test_for_that_processor_alone_it_is_refused_before_anything_is_built(
    mbuild: Mbuild, digits: Path, without_emulator: dict[str, str]
) -> None:
    refused = mbuild(digits, "--platform", OTHER, "--no-load", **without_emulator)
    assert refused.returncode == 2
    assert "qemu-user-static" in refused.stderr
    assert "--no-test" in refused.stderr


def test_a_program_that_is_not_in_the_image_is_told_as_on_its_own_processor(host: Host, tmp_path: Path) -> None:
    layout = tiny_layout(tmp_path, platform=Platform.parse(OTHER))
    manifest = layout.manifest(layout.find())
    image = ProbedImage(layout=layout, manifest=manifest, config=layout.config(manifest))
    with pytest.raises(Unstartable, match=f"for {OTHER} does not start: it cannot run /nothing: No such file"):
        EmbeddedRunner(host, require_emulator(host)).start(image, EMULATED)
