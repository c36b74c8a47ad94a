"""Does an image for GPUs have what ``gpu.json`` says of it (docs/gpu.md): the parts, what they open while they run, and
code for the compute capabilities? Read from the files alone; no GPU is needed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import PurePosixPath

from builder.elf.closure import Closure
from builder.elf.cuda import (
    CALLED_WITH,
    PROVIDERS,
    claimed,
    code_problems,
    libraries_called,
    opened_problems,
    part_problems,
)
from builder.elf.gpu_code import GpuCode
from builder.probe.contents import ImageContents

FACTS = PurePosixPath("/opt/mbuild/gpu.json")


def gpu_problems(contents: ImageContents, closure: Closure) -> Iterator[str]:
    """Everything that does not hold, as sentences that begin with the file."""
    try:
        value = json.loads(contents.kept[FACTS])
        parts, claims = [str(part) for part in value["parts"]], _claims(value)
        libraries = PROVIDERS.get(value["provider"], ())
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        yield f"{FACTS} cannot be read ({error!r})"
        return
    yield from (f"{FACTS} {text}" for text in part_problems(parts, closure.tree))
    idle = [library for part, library in CALLED_WITH.items() if part not in parts]
    yield from (f"{problem.file} {problem.text}" for problem in opened_problems(closure, idle))
    for library in libraries:
        if not libraries_called(library.removesuffix(".so"), closure.tree):
            yield f"{FACTS} names {value['provider']}, but there is no {library}"
    for provider in libraries_called(libraries[-1].removesuffix(".so"), closure.tree) if libraries else ():
        yield from (f"{problem.file} {problem.text}" for problem in code_problems(claims, provider, closure))


def provider_of(contents: ImageContents) -> str:
    """What ``gpu.json`` says, or nothing: whether that can be read is for ``gpu_problems`` to tell."""
    try:
        return str(json.loads(contents.kept[FACTS])["provider"])
    except (ValueError, TypeError, LookupError):
        return ""


def _claims(value: dict[str, list[str]]) -> tuple[GpuCode, ...]:
    ptx = str(value["ptx"])
    compiled = tuple(claimed(str(text)) for text in value["capabilities"])
    return (*compiled, claimed(ptx, is_ptx=True)) if ptx else compiled
