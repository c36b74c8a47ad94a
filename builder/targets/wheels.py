"""Which wheels go into an image: one file for each requirement, found by uv, written down with its hash.

The list is closed: what a wheel says that it depends on is not followed, since the runtime needs less than the wheels
ask for (onnxruntime infers without protobuf, flatbuffers and packaging; measured). ``stage_wheels`` checks that the
wheels of a list agree with each other. Only wheels are taken; a source distribution would run code here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from packaging.tags import Tag, compatible_tags, cpython_tags
from packaging.utils import InvalidWheelFilename, parse_wheel_filename

from builder.errors import ResolutionError
from builder.host import Host
from builder.host.fs import require_room
from builder.host.store import Stored
from builder.oci.platform import Platform
from builder.plan.wheel import LockedWheel
from builder.targets.pylock import Offer, list_offers
from builder.targets.wheel_download import download_wheel

_MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
_UV_GLIBC = (17, 28, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40)
"""The manylinux_2_N that ``uv pip compile --python-platform`` knows (uv 0.9 to 0.13)."""


class UnsupportedWheelPlatform(ResolutionError):
    code = "unsupported-wheel-platform"
    message = "wheels cannot be chosen for {platform} with glibc {glibc}"
    hint = "wheels are chosen for linux/amd64 and linux/arm64 with glibc 2.17 or newer"


class NoWheelForPlatform(ResolutionError):
    code = "no-wheel-for-platform"
    message = "the index has no wheel of {name} {version} for CPython {python} on {platform} with glibc {glibc}"
    hint = "ask for another version, or put a wheel for that platform into the index or a find-links directory"


class WheelGone(ResolutionError):
    code = "wheel-gone"
    message = "the index no longer offers {filename} with the hash in the lock ({sha256})"
    hint = "point pip's or uv's settings at an index that has it, or build once without --locked to lock anew"


def resolve_wheels(
    requirements: tuple[str, ...], python: str, platform: Platform, glibc: tuple[int, int], host: Host
) -> tuple[LockedWheel, ...]:
    """One wheel for each requirement, sorted by name, for CPython ``python`` ("3.13" or "3.13.5") on that platform.

    Raises Unsatisfiable, NoWheelForPlatform, UnsupportedWheelPlatform, IndexUnreachable or IndexRefused.
    """
    where = ("--python-version", python, "--python-platform", uv_platform(platform, glibc))
    offers = list_offers(requirements, where, host)
    chosen = []
    for name, version in sorted({(offer.name, offer.version) for offer in offers}):
        best = best_offer(tuple(offer for offer in offers if offer.name == name), python, platform, glibc)
        if best is None:
            known = ".".join(map(str, glibc))
            raise NoWheelForPlatform(name=name, version=version, python=python, platform=platform, glibc=known)
        chosen.append(_locked(best, host))
    return tuple(chosen)


def best_offer(offers: tuple[Offer, ...], python: str, platform: Platform, glibc: tuple[int, int]) -> Offer | None:
    """The wheel with the most specific tags that this Python takes on this platform, as pip ranks them."""
    tags = _supported_tags(python, platform, glibc)
    fitting = [(rank, offer.filename, offer) for offer in offers for rank in _rank(offer, tags)]
    return min(fitting, key=lambda item: item[:2])[2] if fitting else None


def fetch_wheels(wheels: tuple[LockedWheel, ...], python: str, host: Host) -> tuple[Stored, ...]:
    """The wheel files as blobs of the store, in the same order; those that are there cost nothing, not even a process.

    Raises WheelGone, WrongDigest, IndexUnreachable, IndexRefused or NotEnoughRoom.
    """
    missing = [wheel for wheel in wheels if not host.store.has_blob(wheel.digest)]
    if missing:
        require_room(host.store.root, sum(wheel.size for wheel in missing), "wheels that are still to be fetched")
        pins = tuple(f"{wheel.name}=={wheel.version}" for wheel in missing)
        offers = list_offers(pins, ("--universal", "--python-version", python), host)
        for wheel in missing:
            download_wheel(_offer_of(wheel, offers), host)
    return tuple(Stored(digest=w.digest, size=w.size, path=host.store.blob_path(w.digest)) for w in wheels)


def _offer_of(wheel: LockedWheel, offers: tuple[Offer, ...]) -> Offer:
    """Where the index has these very bytes; an index without hashes is taken at the file's name (and checked after)."""
    for offer in offers:
        if offer.sha256 == wheel.sha256 or (not offer.sha256 and offer.filename == wheel.filename):
            return Offer(
                name=wheel.name,
                version=wheel.version,
                filename=wheel.filename,
                url=offer.url,
                sha256=wheel.sha256,
                size=wheel.size,
            )
    raise WheelGone(filename=wheel.filename, sha256=wheel.sha256)


def _locked(offer: Offer, host: Host) -> LockedWheel:
    """An index need not tell hash and size; then the file itself does."""
    sha256, size = offer.sha256, offer.size
    if not sha256 or size is None:
        stored = download_wheel(offer, host)
        sha256, size = stored.digest.hex, stored.size
    return LockedWheel(name=offer.name, version=offer.version, filename=offer.filename, sha256=sha256, size=size)


def uv_platform(platform: Platform, glibc: tuple[int, int]) -> str:
    known = [minor for minor in _UV_GLIBC if (2, minor) <= glibc]
    machine = _MACHINES.get(platform.architecture)
    if platform.os != "linux" or not machine or not known:
        raise UnsupportedWheelPlatform(platform=platform, glibc=".".join(map(str, glibc)))
    return f"{machine}-manylinux_2_{known[-1]}"


def _supported_tags(python: str, platform: Platform, glibc: tuple[int, int]) -> dict[Tag, int]:
    """Each tag that the image's Python takes, with its rank, best first (PEP 425, PEP 600)."""
    machine = _MACHINES[platform.architecture]
    legacy = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
    platforms = []
    for minor in range(glibc[1], 4, -1):
        platforms.append(f"manylinux_2_{minor}_{machine}")
        platforms += [f"{legacy[minor]}_{machine}"] if minor in legacy else []
    platforms.append(f"linux_{machine}")
    version = tuple(map(int, python.split(".")[:2]))
    abi = f"cp{version[0]}{version[1]}"
    tags = [
        *cpython_tags(version, abis=[abi], platforms=platforms),
        *compatible_tags(version, interpreter=abi, platforms=platforms),
    ]
    return {tag: rank for rank, tag in reversed(list(enumerate(tags)))}


def _rank(offer: Offer, tags: Mapping[Tag, int]) -> Iterator[int]:
    """The best rank of the offer's tags, if any."""
    try:
        ranks = [tags[tag] for tag in parse_wheel_filename(offer.filename)[3] if tag in tags]
    except InvalidWheelFilename:
        return
    if ranks:
        yield min(ranks)
