"""uv, as every part of mbuild runs it: with the settings that the user gave to pip or to uv, and nothing else.

A setting of uv's own (UV_*, uv.toml) wins over pip's of the same kind. Indexes with credentials travel in environment
variables, never in arguments, where any user of the machine could read them; messages carry URLs without user and
password. uv runs in a directory without a project, so that a ``pyproject.toml`` near the model has no say.
"""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import uv

from builder.errors import ResolutionError, ToolMissing
from builder.host import Host
from builder.host.fs import DiskFull, temporary_directory
from builder.host.pip_settings import read_pip_settings
from builder.host.run import Command, Completed


class UvMissing(ToolMissing):
    code = "uv-missing"
    message = "the program uv, which comes with mbuild, is not on this machine"
    hint = "install it again: pip install --force-reinstall uv"


class IndexUnreachable(ResolutionError):
    code = "index-unreachable"
    message = "the package index cannot be reached: {reason}"
    hint = (
        "check the network and the proxy (HTTPS_PROXY); pip's and uv's index settings are used, see `pip config list`. "
        "What is in the lock and in the cache needs no network"
    )


class IndexRefused(ResolutionError):
    code = "index-refused"
    message = "the package index refused: {reason}"
    hint = "check the user and password in pip's or uv's index setting, or in ~/.netrc"


class Unsatisfiable(ResolutionError):
    code = "unsatisfiable"
    message = "no set of wheels satisfies the request: {reason}"
    hint = "ask for other versions, or check that the index (pip's and uv's settings) has wheels for that platform"


class UvFailed(ResolutionError):
    code = "uv-failed"
    message = "uv failed: {reason}"
    hint = "run it by hand to see more: {command}"


# What of the environment uv may see. Its own variables come too, but for those that name a project or a Python.
_PASSED = re.compile(
    r"PATH|HOME|USER|LOGNAME|USERPROFILE|APPDATA|LOCALAPPDATA|PROGRAMDATA|SYSTEMROOT|TEMP|TMP|TMPDIR|XDG_\w+|NETRC"
    r"|SSL_\w+|(HTTPS?|ALL|NO)_PROXY|(https?|all|no)_proxy|UV_\w+"
)
_NOT_PASSED = re.compile(
    r"UV_(PROJECT\w*|WORKING_DIR\w*|PYTHON\w*|SYSTEM_PYTHON|TORCH_BACKEND|CONSTRAINT|OVERRIDE|OUTPUT\w*)"
)
_INDEX = ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "UV_INDEX", "UV_EXTRA_INDEX_URL", "UV_NO_INDEX")
_INDEX_KEYS = ("index", "index-url", "extra-index-url", "no-index")


def package_environment(host: Host) -> dict[str, str]:
    """The whole environment for uv, and for fetching what uv found."""
    environ = translated(host.environ, read_pip_settings(host.environ), frozenset(_uv_file_keys(host.environ)))
    environ.setdefault("UV_CACHE_DIR", str(host.store.root / "uv"))
    return environ


def translated(environ: Mapping[str, str], pip: Mapping[str, str], uv_keys: frozenset[str]) -> dict[str, str]:
    """``environ`` without what is none of uv's business, with pip's settings where uv has none of its own.

    ``uv_keys`` are the settings that uv's own files make. Relative find-links become absolute.
    """
    own = {
        name: value for name, value in environ.items() if _PASSED.fullmatch(name) and not _NOT_PASSED.fullmatch(name)
    }
    new = {
        "UV_FIND_LINKS": ",".join(_absolute(link) for link in pip.get("find-links", "").split()),
        "UV_INSECURE_HOST": pip.get("trusted-host", ""),
        "UV_HTTP_TIMEOUT": pip.get("timeout", pip.get("default-timeout", "")),
        "UV_KEYRING_PROVIDER": "subprocess" if pip.get("keyring-provider") == "subprocess" else "",
        "SSL_CLIENT_CERT": pip.get("client-cert", ""),
        "SSL_CERT_FILE": pip.get("cert") or environ.get("REQUESTS_CA_BUNDLE") or environ.get("CURL_CA_BUNDLE") or "",
    }
    if "find-links" in uv_keys:
        del new["UV_FIND_LINKS"]
    if not any(environ.get(name) for name in _INDEX) and not uv_keys.intersection(_INDEX_KEYS):
        new |= _indexes(pip)
    if pip.get("proxy") and not any(environ.get(name) for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY")):
        new |= {"HTTPS_PROXY": pip["proxy"], "HTTP_PROXY": pip["proxy"]}
    if own.get("UV_FIND_LINKS"):
        own["UV_FIND_LINKS"] = ",".join(_absolute(link) for link in own["UV_FIND_LINKS"].split(","))
    return {name: value for name, value in new.items() if value} | {name: v for name, v in own.items() if v}


def _indexes(pip: Mapping[str, str]) -> dict[str, str]:
    """pip takes the best version of all its indexes, so uv must, too (its default is the first index that answers).

    UV_NO_INDEX is ours: uv has only the option, which ``run_uv`` gives.
    """
    extra = " ".join(pip.get("extra-index-url", "").split())
    return {
        "UV_DEFAULT_INDEX": pip.get("index-url", ""),
        "UV_INDEX": extra,
        "UV_INDEX_STRATEGY": "unsafe-best-match" if extra else "",
        "UV_NO_INDEX": "1" if pip.get("no-index", "").lower() in ("1", "true", "yes", "on") else "",
    }


def _absolute(link: str) -> str:
    path = Path(link).expanduser()
    return link if "://" in link else str(path.absolute())


def _uv_file_keys(environ: Mapping[str, str]) -> Iterator[str]:
    for value in uv_files(environ):
        yield from value
        if isinstance(value.get("pip"), dict):
            yield from value["pip"]


def uv_files(environ: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """uv's own configuration: the file of UV_CONFIG_FILE, else the user's and the system's ``uv.toml``."""
    home = environ.get("XDG_CONFIG_HOME") or (f"{environ['HOME']}/.config" if environ.get("HOME") else "")
    roots = [environ.get("APPDATA", "") if sys.platform == "win32" else home]
    roots += environ.get("XDG_CONFIG_DIRS", "/etc/xdg").split(":")
    paths = [Path(root, "uv", "uv.toml") for root in roots if root] + [Path("/etc/uv/uv.toml")]
    if environ.get("UV_NO_CONFIG"):
        return
    for path in [Path(environ["UV_CONFIG_FILE"])] if environ.get("UV_CONFIG_FILE") else paths:
        try:
            yield tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue


def run_uv(arguments: tuple[str, ...], host: Host, *, stdin: bytes = b"", timeout: float = 900) -> Completed:
    """Run ``uv ARGUMENTS``. Raises UvMissing, IndexUnreachable, IndexRefused, Unsatisfiable, DiskFull or UvFailed."""
    try:
        program = uv.find_uv_bin()
    except FileNotFoundError as error:
        raise UvMissing() from error
    environ = package_environment(host)
    closed = ("--no-index",) if environ.pop("UV_NO_INDEX", "") and arguments[0] == "pip" else ()
    argv = (program, *arguments, *closed, "--quiet", "--color", "never", "--no-progress")
    with temporary_directory(host.store.root / "tmp", prefix="uv-") as nowhere:
        done = host.run.run(Command(argv=argv, env=environ, cwd=nowhere, stdin=stdin, timeout=timeout))
    if not done.ok:
        if b"os error 28" in done.stderr:  # ENOSPC, as Rust prints it
            raise DiskFull(path=environ.get("UV_CACHE_DIR", host.store.root))
        raise failure(done)
    return done


_UNREACHABLE = ("Failed to fetch", "Could not connect", "error sending request", "network was disabled", "dns error")


def failure(done: Completed) -> ResolutionError:
    """uv's own words, shortened: its error line, the innermost cause and its hint."""
    text = without_credentials(done.stderr.decode(errors="replace"))
    causes = [line.strip().removeprefix("cause: ") for line in text.splitlines() if line.strip().startswith("cause:")]
    hints = [line.strip() for line in text.splitlines() if line.startswith("hint:")]
    reason = " ".join([*causes[:1], *hints[:1]]) or text.strip()[-600:]
    if re.search(r"401 Unauthorized|403 Forbidden|407 Proxy|authentication credentials", text):
        return IndexRefused(reason=reason)
    if any(sign in text for sign in _UNREACHABLE):
        return IndexUnreachable(reason=f"{causes[0]} ({causes[-1]})" if len(causes) > 1 else reason)
    if "No solution found" in text:
        return Unsatisfiable(reason=reason)
    return UvFailed(reason=reason, command=" ".join(done.argv))


def without_credentials(text: str) -> str:
    """The text with ``user:password@`` taken out of each URL."""
    return re.sub(r"(?<=://)[^/@\s]+@", "", text)
