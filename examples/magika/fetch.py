"""Fetches model.onnx and config.min.json of this directory from the wheel magika 1.0.3 (Apache-2.0, Google).

    python examples/magika/fetch.py

The wheel comes from the package index that pip is set up for, and is refused unless its hash is the one below. Nothing
in it is run, and nothing is installed. Files that are already there with the right digest are kept.
"""

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
REQUIREMENT = "magika==1.0.3 --hash=sha256:938d8e033953f2ddeb8c35dc423aa289ca116bfa7a71a778f6e77460f9025803\n"
MEMBERS = {
    "model.onnx": "fe2d2eb49c5f88a9e0a6c048e15d6ffdf86235519c2afc535044de433169ec8c",
    "config.min.json": "ae24c742205358f6ff6dfd5facb6743fb69743dbba8373e73da58ff0cbd695db",
}
FOLDER = "magika/models/standard_v3_3/"


def is_there(name: str) -> bool:
    path = HERE / name
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == MEMBERS[name]


def download(directory: Path) -> Path:
    """The wheel without platform code, so that one hash serves every machine."""
    requirements = directory / "requirements.txt"
    requirements.write_text(REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--implementation", "py", "--abi", "none", "--platform", "any"]
    subprocess.run([*command, "--dest", str(directory), "-r", str(requirements)], check=True)
    return next(directory.glob("*.whl"))


def extract(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in MEMBERS.items():
            content = archive.read(FOLDER + name)
            if hashlib.sha256(content).hexdigest() != digest:
                raise SystemExit(f"{name} in {wheel.name} is not the file that this example was written for")
            (HERE / name).write_bytes(content)
            print(f"{name}: {len(content)} bytes")


def main() -> None:
    if all(is_there(name) for name in MEMBERS):
        print("model.onnx and config.min.json are there")
        return
    with tempfile.TemporaryDirectory() as directory:
        extract(download(Path(directory)))


if __name__ == "__main__":
    main()
