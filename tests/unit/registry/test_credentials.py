"""Who we are for a registry: environment, docker config, credential helpers."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import pytest

from builder.events import NullSink
from builder.host import Host
from builder.host.clock import SystemClock
from builder.host.http import Http
from builder.host.run import Command, Completed, Process, ProgramMissing
from builder.host.store import Store
from builder.registry.credentials import (
    CredentialHelperFailed,
    Credentials,
    Purpose,
    Secret,
    UnreadableDockerConfig,
    find_credentials,
)


@dataclass
class Helpers:
    """A runner that knows only credential helpers: program -> (status, stdout)."""

    programs: Mapping[str, tuple[int, str]] = field(default_factory=dict)
    asked: list[tuple[str, bytes]] = field(default_factory=list)

    def run(self, command: Command) -> Completed:
        program = command.argv[0]
        if program not in self.programs:
            raise ProgramMissing(program=program)
        self.asked.append((program, command.stdin))
        status, out = self.programs[program]
        return Completed(argv=command.argv, returncode=status, stdout=out.encode(), stderr=b"")

    def start(self, command: Command, output: IO[bytes]) -> Process:
        raise NotImplementedError

    def which(self, program: str) -> Path | None:
        return None


@dataclass
class Machine:
    """A host with a docker config, an environment and credential helpers."""

    directory: Path
    environ: dict[str, str] = field(default_factory=dict)
    helpers: Helpers = field(default_factory=Helpers)

    def config(self, value: object) -> None:
        (self.directory / "config.json").write_text(json.dumps(value))

    def find(self, registry: str, purpose: Purpose = Purpose.PULL) -> Credentials | None:
        host = Host(
            run=self.helpers,
            http=Http({}),
            clock=SystemClock(),
            store=Store(self.directory),
            events=NullSink(),
            environ={"DOCKER_CONFIG": str(self.directory), **self.environ},
        )
        return find_credentials(registry, purpose, host)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def test_a_secret_never_shows() -> None:
    secret = Secret("hunter2")
    credentials = Credentials(user="ada", secret=secret, source="test")
    assert "hunter2" not in f"{secret} {secret!r} {credentials} {credentials!r} {[secret]}"
    assert secret.reveal() == "hunter2"


def test_nothing_anywhere_is_anonymous(machine: Machine) -> None:
    assert machine.find("registry.example") is None


@pytest.mark.parametrize(
    ("named", "registry", "purpose", "given"),
    [
        ("", "ours.example", Purpose.PUSH, True),
        ("", "base.example", Purpose.PULL, False),
        ("ours.example", "ours.example", Purpose.PULL, True),
        ("ours.example", "ours.example", Purpose.PUSH, True),
        ("ours.example", "base.example", Purpose.PULL, False),
        ("ours.example", "other.example", Purpose.PUSH, False),
    ],
)
def test_the_environment_speaks_to_one_registry(
    machine: Machine, named: str, registry: str, purpose: Purpose, given: bool
) -> None:
    machine.environ = {"MBUILD_REGISTRY_USERNAME": "ci", "MBUILD_REGISTRY_PASSWORD": "secret", "MBUILD_REGISTRY": named}
    assert (machine.find(registry, purpose) is not None) == given


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ours.example", "ours.example"),
        ("ours.example:5000", "ours.example:5000"),
        ("https://ours.example", "ours.example"),
        ("https://ours.example/v2/", "ours.example"),
        ("https://index.docker.io/v1/", "docker.io"),
    ],
)
def test_auths_are_found_under_every_spelling(machine: Machine, key: str, registry: str) -> None:
    machine.config({"auths": {key: auth("ada", "a:colon")}})
    found = machine.find(registry)
    assert found is not None
    assert (found.user, found.secret.reveal()) == ("ada", "a:colon")
    assert machine.find("ours.example.evil") is None
    assert machine.find("ours.example:1") is None


def test_an_identity_token_has_no_user(machine: Machine) -> None:
    machine.config({"auths": {"ours.example": {"identitytoken": "token"}}})
    found = machine.find("ours.example")
    assert found is not None
    assert (found.user, found.secret.reveal()) == ("", "token")


def test_a_helper_of_a_registry_wins_over_the_store(machine: Machine) -> None:
    machine.config({"credHelpers": {"ours.example": "cloud"}, "credsStore": "desktop"})
    machine.helpers.programs = {
        "docker-credential-cloud": (0, json.dumps({"Username": "<token>", "Secret": "t"})),
        "docker-credential-desktop": (0, json.dumps({"Username": "ada", "Secret": "p"})),
    }
    ours, other = machine.find("ours.example"), machine.find("docker.io")
    assert ours is not None and other is not None
    assert (ours.user, other.user) == ("", "ada")
    assert machine.helpers.asked == [
        ("docker-credential-cloud", b"ours.example"),
        ("docker-credential-desktop", b"https://index.docker.io/v1/"),
    ]


def test_a_helper_that_knows_nothing_is_anonymous(machine: Machine) -> None:
    machine.config({"credsStore": "desktop"})
    machine.helpers.programs = {"docker-credential-desktop": (1, "credentials not found in native keychain")}
    assert machine.find("ours.example") is None


@pytest.mark.parametrize("answer", [None, (1, "the keychain is locked"), (0, "not json"), (0, "{}")], ids=str)
def test_a_helper_that_fails_is_named(machine: Machine, answer: tuple[int, str] | None) -> None:
    machine.config({"credsStore": "desktop"})
    machine.helpers.programs = {"docker-credential-desktop": answer} if answer else {}
    with pytest.raises(CredentialHelperFailed, match="docker-credential-desktop"):
        machine.find("ours.example")


@pytest.mark.parametrize("text", ["{", "[]", '{"auths": {"ours.example": {"auth": "%%%"}}}'])
def test_a_broken_config_is_named(machine: Machine, text: str) -> None:
    (machine.directory / "config.json").write_text(text)
    with pytest.raises(UnreadableDockerConfig, match=r"config\.json"):
        machine.find("ours.example")
