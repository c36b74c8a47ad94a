"""Writes what a process of the image can see and do as one line of JSON, then serves a word until SIGTERM."""

import json
import os
import signal
import socket
from pathlib import Path


def attempt(action):
    try:
        return action() or "done"
    except OSError as error:
        return error.strerror


def fill():
    with Path("/tmp/full").open("wb", buffering=0) as out:
        while out.write(bytes(1 << 16)):
            pass


def filled():
    seen = attempt(fill)
    size = Path("/tmp/full").stat().st_size
    Path("/tmp/full").unlink()
    return seen, size


def datagram():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(b"hello", ("192.0.2.1", 9))


def descriptors():
    """Those that were inherited: all but the standard ones and the one that lists them."""
    own = [int(place.name) for place in Path("/proc/self/fd").iterdir()]
    return [number for number in own if number > 2 and Path(f"/proc/self/fd/{number}").exists()]


status = dict(line.split(":\t", 1) for line in Path("/proc/self/status").read_text().splitlines() if ":\t" in line)
seen = {
    "pid": os.getpid(),
    "ids": [os.getuid(), os.getgid()],
    "capabilities": [status[name] for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
    "no_new_privileges": status["NoNewPrivs"],
    "processes": [place.name for place in Path("/proc").iterdir() if place.name.isdecimal()],
    "descriptors": descriptors(),
    "write root": attempt(lambda: Path("/written").write_text("x")),
    "write models": attempt(lambda: Path("/models/written").write_text("x")),
    "write dev": attempt(lambda: Path("/dev/written").write_text("x")),
    "chmod": attempt(lambda: Path("/usr/bin/python3.13").chmod(0o777)),
    "fill tmp": filled(),
    "null": attempt(lambda: Path("/dev/null").write_text("x")),
    "shm": attempt(lambda: Path("/dev/shm/x").write_text("x")),
    "random": attempt(lambda: len(os.getrandom(8)) + Path("/dev/urandom").is_char_device()),
    "interfaces": [name for _, name in socket.if_nameindex()],
    "outside": attempt(lambda: socket.create_connection(("192.0.2.1", 443), timeout=2).close()),
    "datagram": attempt(datagram),
    "chroot": attempt(lambda: os.chroot("/tmp")),
    "env": dict(os.environ),
    "cwd": str(Path.cwd()),
    "mounted": attempt(lambda: Path("/mounted/in/word").read_text()),
    "write mounted": attempt(lambda: Path("/mounted/in/word").write_text("x")),
    "write beside mounted": attempt(lambda: Path("/mounted/in/other").write_text("x")),
    "may run on": len(os.sched_getaffinity(0)),
    "processors": Path("/sys/devices/system/cpu/online").exists(),
}
print(json.dumps(seen), flush=True)
signal.signal(signal.SIGTERM, lambda *_: os._exit(7))
with socket.create_server(("0.0.0.0", 8000)) as listener:
    while True:
        connection, _ = listener.accept()
        with connection:
            word = connection.recv(100)
            connection.sendall(word * 100_000)
