"""Two at work in one store, a kill at any moment, a full disk: what the next run finds, says and makes."""

from __future__ import annotations

import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from builder.events import Warned
from builder.host import Host
from builder.host.fs import DiskFull
from builder.host.housekeeping import collect, remove_damaged
from builder.host.store import Store
from builder.oci.descriptor import LAYER_TAR, Descriptor
from builder.oci.digest import Digest
from builder.oci.layout import Layout
from builder.pipeline.cache import sweep_cache, tell_repairs
from tests.support.hosts import RecordedEvents
from tests.support.tiny_image import tiny_layout

FORK = multiprocessing.get_context("fork")
PARTS = [random.Random(number).randbytes(300_000) for number in range(8)]
FETCHED = [Descriptor.of(part[::-1], LAYER_TAR) for part in PARTS[:3]]


def work(cache: Path, place: Path) -> str:
    """What a build does with a store, in small: fetch, make by key, note, assemble. Its digest."""
    store, digests = Store(cache), []
    for blob, part in zip(FETCHED, PARTS, strict=False):
        content = part[::-1]
        store.fetch_blob(blob, lambda start, content=content: _pieces(content[start:]))
    for number, part in enumerate(PARTS):
        known = store.record("parts", str(number))
        if known is None or not store.has_blob(Digest(known["digest"])):
            stored = store.put_blob(_pieces(part))
            store.put_record("parts", str(number), {"digest": str(stored.digest)})
            known = {"digest": str(stored.digest)}
        digests.append(known["digest"])
        tree = store.directory("trees", str(number), lambda path, part=part: _make(path, part))
        digests += [str(Digest.of_file(path)) for path in sorted(tree.rglob("file*"))]
    with store.exclusive("layout"):
        layout = tiny_layout(place, weights=b"".join(b"".join(store.read_blob(Digest(one))) for one in digests[:1]))
    digests.append(str(layout.find().digest))
    return str(Digest.of("".join(digests).encode()))


def _pieces(content: bytes) -> Iterator[bytes]:
    for start in range(0, len(content), 10_000):
        yield content[start : start + 10_000]


def _make(path: Path, part: bytes) -> None:
    for number in range(5):
        (path / f"file{number}").write_bytes(part[number * 1000 :])


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    return work(tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("place"))


def running(cache: Path, place: Path) -> multiprocessing.process.BaseProcess:
    process = FORK.Process(target=work, args=(cache, place))
    process.start()
    return process


def kill(process: multiprocessing.process.BaseProcess) -> None:
    os.kill(process.pid or 0, signal.SIGKILL)
    process.join()


def stop_amid_writing(process: multiprocessing.process.BaseProcess, cache: Path) -> None:
    """Stops the process at a moment at which a file of the cache is half written; not at all if it ends before."""
    number = process.pid or 0
    while process.is_alive():
        os.kill(number, signal.SIGSTOP)
        os.waitid(os.P_PID, number, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if list(cache.rglob(".part-*")):
            return
        os.kill(number, signal.SIGCONT)


def said(host: Host) -> str:
    assert isinstance(host.events, RecordedEvents)
    return " ".join(event.message for event in host.events.events if isinstance(event, Warned))


def test_killed_at_any_moment(make_host: Callable[..., Host], tmp_path: Path, undisturbed: str) -> None:
    """Thirty times, each in what the ones before left; then the next run has the digest of an undisturbed one."""
    chance, swept = random.Random(3), 0
    for number in range(30):
        cache = tmp_path / f"cache-{number // 10}"
        process = running(cache, tmp_path / f"place-{number // 10}")
        if number % 10 == 0:
            stop_amid_writing(process, cache)
        time.sleep(chance.random() * 0.25)
        kill(process)
        host = make_host(cache)
        before = set(cache.rglob(".part-*"))
        sweep_cache(host)
        assert not list(cache.rglob(".part-*")), "what a killed run left goes with the next"
        swept += "killed left unfinished" in said(host)
        assert bool(before) == bool(said(host))
        assert remove_damaged(host.store) == (), "what is there is whole"
    assert swept >= 3
    for number in range(3):
        assert work(tmp_path / f"cache-{number}", tmp_path / f"place-{number}") == undisturbed
        assert not list((tmp_path / f"place-{number}").rglob(".part-*"))


def test_a_killed_clean_up_is_finished_by_the_next(
    make_host: Callable[..., Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = running(tmp_path / "cache", tmp_path / "place")
    stop_amid_writing(process, tmp_path / "cache")
    kill(process)
    host, removed = make_host(tmp_path / "cache"), []

    def killed_there(path: Path) -> None:
        removed.append(path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("builder.host.housekeeping.remove_tree", killed_there)
        with pytest.raises(KeyboardInterrupt):
            sweep_cache(host)
    assert removed and removed[0].exists()
    sweep_cache(host)
    assert not list((tmp_path / "cache").rglob(".part-*"))
    assert "killed left unfinished" in said(host)


def test_several_at_once(make_host: Callable[..., Host], tmp_path: Path, undisturbed: str) -> None:
    """One of them is killed, and one cleans up all the time."""
    cache = tmp_path / "cache"
    processes = [running(cache, tmp_path / f"place-{number}") for number in range(3)]
    cleaner = make_host(cache)
    for number in range(20):
        sweep_cache(cleaner)
        collect(cleaner.store, 0)
        time.sleep(0.01)
        if number == 5:
            os.kill(processes[0].pid or 0, signal.SIGKILL)
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes[1:]] == [0, 0], "nothing was taken from them"
    sweep_cache(cleaner)
    assert work(cache, tmp_path / "place") == undisturbed
    assert remove_damaged(cleaner.store) == ()


def test_after_everything_was_collected_it_is_made_again(tmp_path: Path, undisturbed: str) -> None:
    work(tmp_path / "cache", tmp_path / "place")
    assert collect(Store(tmp_path / "cache"), 0).size == 0
    assert work(tmp_path / "cache", tmp_path / "place") == undisturbed


def test_what_was_damaged_is_said_when_it_is_made_again(
    make_host: Callable[..., Host], tmp_path: Path, undisturbed: str
) -> None:
    cache = tmp_path / "cache"
    work(cache, tmp_path / "place")
    host = replace(make_host(cache))
    blob = host.store.blob_path(Digest.of(PARTS[0]))
    blob.write_bytes(b"something else")
    (cache / "directories/trees/1/file0").unlink()
    assert not host.store.has_blob(Digest.of(PARTS[0]))
    host.store.directory("trees", "1", lambda path: _make(path, PARTS[1]))
    tell_repairs(host)
    assert f"blobs/sha256/{blob.name}" in said(host)
    assert "directories/trees/1" in said(host)
    assert work(cache, tmp_path / "place") == undisturbed


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
from pathlib import Path
from tests.fault.test_store_faults import work
work(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_a_file_that_may_not_grow_leaves_nothing_half_written(
    make_host: Callable[..., Host], tmp_path: Path, undisturbed: str
) -> None:
    """RLIMIT_FSIZE ends every large write in its middle, as a full disk or a quota does."""
    argv = [sys.executable, "-c", LIMITED, str(tmp_path / "cache"), str(tmp_path / "place")]
    done = subprocess.run(argv, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert done.returncode != 0
    assert "DiskFull" in done.stderr, done.stderr
    host = make_host(tmp_path / "cache")
    assert remove_damaged(host.store) == ()
    assert not list((tmp_path / "cache").rglob(".part-*")), "it was not killed: it cleaned up itself"
    assert work(tmp_path / "cache", tmp_path / "place") == undisturbed


@pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="only root on Linux can mount a tmpfs")
def test_a_disk_that_is_full(make_host: Callable[..., Host], tmp_path: Path, undisturbed: str) -> None:
    cache = tmp_path / "small"
    cache.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", cache], check=True)
    try:
        with pytest.raises(DiskFull, match="no space left"):
            work(cache, tmp_path / "place")
        host = make_host(cache)
        assert remove_damaged(host.store) == ()
        assert not list(cache.rglob(".part-*"))
        subprocess.run(["mount", "-o", "remount,size=100m", cache], check=True)
        assert work(cache, tmp_path / "place") == undisturbed
    finally:
        subprocess.run(["umount", cache], check=True)
    shutil.rmtree(cache)


def test_an_output_keeps_no_part_of_the_dead(tmp_path: Path) -> None:
    layout = Layout(tiny_layout(tmp_path).path)
    child = subprocess.Popen(["true"])
    child.wait()
    dead = layout.path / "blobs/sha256" / f".part-{child.pid}-abc"
    ours = layout.path / f".part-{os.getpid()}-abc"
    for part in (dead, ours):
        part.write_bytes(b"half")
    tiny_layout(tmp_path)
    assert (dead.exists(), ours.exists()) == (False, True)
