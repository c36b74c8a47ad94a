"""The server's settings: one frozen type, read from environment variables; a wrong value names its variable."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from .environment import FILE, SettingError, settings_file, surroundings

__all__ = ["EVERY_ADDRESS", "GPU_FACTS", "SettingError", "Settings", "unknown"]

GPU_FACTS = "/opt/mbuild/gpu.json"
EVERY_ADDRESS = "*"
"""IPv4 and IPv6: pods of an IPv6-only cluster have no other."""


def setting(default: int | float | str, env: str, about: str, low: float = 0, high: float = 2**53) -> Any:
    return field(default=default, metadata={"env": env, "about": about, "low": low, "high": high})


def secret(env: str, about: str) -> Any:
    """Text that is in no message and in no repr."""
    return field(default="", repr=False, metadata={"env": env, "about": about})


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """All variables with their defaults; times are seconds, sizes are bytes."""

    models: str = setting("/models", "MBUILD_MODELS", "folder with one folder for each model")
    host: str = setting(EVERY_ADDRESS, "MBUILD_HOST", "address to listen on; * is every one, IPv4 and IPv6")
    port: int = setting(8000, "MBUILD_PORT", "port to listen on; 0 takes a free one", high=65535)
    threads: int = setting(0, "MBUILD_THREADS", "inference threads; 0 takes the container's CPU quota", high=1024)
    run_threads: int = setting(
        1, "MBUILD_RUN_THREADS", "threads of one run; more answer one sooner, and fewer of many", low=1, high=1024
    )
    server_name: str = setting(
        "mbuild-serve", "MBUILD_SERVER_NAME", "name in /v2; triton for clients that insist on it"
    )
    processes: int = setting(
        1, "MBUILD_PROCESSES", "processes behind the port; 0: one for each CPU of the container's quota", high=64
    )
    max_batch: int = setting(
        0,
        "MBUILD_MAX_BATCH",
        "rows of one run; 0: as the model says, else 8 on a CPU; 1: requests run alone",
        high=65536,
    )
    batch_delay: float = setting(
        -1.0,
        "MBUILD_BATCH_DELAY",
        "longest that a request is held back for more; -1: as the model says, else 0",
        low=-1,
    )
    batch_sizes: str = setting("auto", "MBUILD_BATCH_SIZES", "rows not held back, such as 4,8; auto: as the model says")
    queue: int = setting(512, "MBUILD_QUEUE", "requests accepted and not yet answered; more get 503", low=1)
    queue_timeout: float = setting(30.0, "MBUILD_QUEUE_TIMEOUT", "longest wait for an inference thread", low=0.001)
    max_connections: int = setting(4096, "MBUILD_MAX_CONNECTIONS", "open connections; more are turned away", low=1)
    max_body: int = setting(0, "MBUILD_MAX_BODY", "largest request body, also decompressed; 0: by the memory")
    max_head: int = setting(16 * 2**10, "MBUILD_MAX_HEAD", "largest request line with headers", low=256)
    head_timeout: float = setting(
        10.0, "MBUILD_HEAD_TIMEOUT", "from a request's first byte to its last header", low=0.1
    )
    body_timeout: float = setting(120.0, "MBUILD_BODY_TIMEOUT", "from the last header to the body's end", low=0.1)
    write_timeout: float = setting(60.0, "MBUILD_WRITE_TIMEOUT", "for a client to take a response", low=0.1)
    idle_timeout: float = setting(75.0, "MBUILD_IDLE_TIMEOUT", "a kept-alive connection without a request", low=0.1)
    grace: float = setting(25.0, "MBUILD_GRACE_SECONDS", "after SIGTERM, for requests in flight to finish")
    load_models: str = setting("", "MBUILD_LOAD_MODELS", "models to start with, with commas between; empty: all")
    repository_api: int = setting(0, "MBUILD_REPOSITORY_API", "1: clients may load and unload models", high=1)
    selftest: int = setting(0, "MBUILD_SELFTEST", "1: replay every golden case before ready", high=1)
    access_log: float = setting(0.0, "MBUILD_ACCESS_LOG", "share of requests to log: 0 none, 1 all", high=1)
    ui: int = setting(1, "MBUILD_UI", "the pages at / and /docs: 1 shows them, 0 does not", high=1)
    tls_cert: str = setting("", "MBUILD_TLS_CERT", "PEM file: the server's certificate, then its intermediates")
    tls_key: str = setting("", "MBUILD_TLS_KEY", "PEM file: the key of that certificate")
    tls_client_ca: str = setting("", "MBUILD_TLS_CLIENT_CA", "PEM file: who signs the certificates clients must bring")
    api_key: str = secret("MBUILD_API_KEY", "a key that requests must bring")
    api_key_file: str = setting("", "MBUILD_API_KEY_FILE", "file of such keys, one a line, each KEY or NAME KEY")
    metrics_open: int = setting(0, "MBUILD_METRICS_OPEN", "1: /metrics is answered without a key", high=1)
    cors_origins: str = setting("", "MBUILD_CORS_ORIGINS", "origins whose pages may read answers, by commas; * is all")
    allow_cpu: int = setting(0, "MBUILD_ALLOW_CPU", "1: an image for a GPU runs on the CPU where it cannot", high=1)
    gpu_device: int = setting(0, "MBUILD_GPU_DEVICE", "the GPU to run on, of those the container sees", high=1023)
    gpu_memory_limit: int = setting(0, "MBUILD_GPU_MEMORY_LIMIT", "of a model's arena on the GPU; 0: none")
    gpu_tf32: int = setting(0, "MBUILD_GPU_TF32", "1: products of FP32 in TF32, quicker and less exact", high=1)
    gpu_engine_cache: str = setting("", "MBUILD_GPU_ENGINE_CACHE", "folder that keeps what TensorRT 10 makes of models")
    gpu_facts: str = setting(GPU_FACTS, "MBUILD_GPU_FACTS", "file that says which GPUs the image is for")
    log_level: str = setting("info", "MBUILD_LOG_LEVEL", "debug, info, warning or error")

    @property
    def guarded(self) -> bool:
        """Whether TLS, keys or origins are set: else nothing of them is even imported."""
        tls = self.tls_cert or self.tls_key or self.tls_client_ca
        return bool(tls or self.api_key or self.api_key_file or self.cors_origins)

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> Settings:
        """Raises SettingError. An empty variable counts as unset, as in a compose file."""
        given: dict[str, Any] = {}
        said = surroundings(environ)
        for each in fields(cls):
            text = said.get(each.metadata["env"], "").strip()
            if text:
                given[each.name] = _value(each.metadata, type(each.default), text)
        level = given.get("log_level", "info")
        if level not in ("debug", "info", "warning", "error"):
            raise SettingError(f"MBUILD_LOG_LEVEL is {level!r}; it must be debug, info, warning or error.")
        sizes = given.get("batch_sizes", "auto")
        if sizes != "auto" and not re.fullmatch(r"[1-9]\d{0,4}(\s*,\s*[1-9]\d{0,4})*", sizes, re.ASCII):
            raise SettingError(f"MBUILD_BATCH_SIZES is {sizes!r}; it must be numbers of rows such as 4,8, or auto.")
        settings = cls(**given)
        if settings.repository_api and settings.processes != 1:
            raise SettingError(
                "MBUILD_REPOSITORY_API is 1, which needs MBUILD_PROCESSES 1: a model is loaded in one process."
            )
        return settings


def unknown(environ: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none, most likely misspelt; in a file of settings any name looks so."""
    known = {FILE, *(each.metadata["env"] for each in fields(Settings))}
    looks = {name for name in environ if name.startswith("MBUILD_")}
    return sorted((looks | {name for name in settings_file(environ) if not name.startswith("OTEL_")}) - known)


def _value(metadata: Mapping[str, Any], kind: type, text: str) -> int | float | str:
    if kind is str:
        return text
    what = "a whole number" if kind is int else "a number"
    bounds = f"{metadata['env']} ({metadata['about']}) is {text!r}; it must be {what}"
    try:
        if not text.isascii() or "_" in text:  # Python reads 1_000 and other scripts' digits, nobody else does
            raise ValueError(text)
        value: int | float = int(text) if kind is int else float(text)
    except ValueError:
        raise SettingError(f"{bounds}.") from None
    if not metadata["low"] <= value <= metadata["high"]:
        raise SettingError(f"{bounds} from {metadata['low']:g} to {metadata['high']:g}.")
    return value
