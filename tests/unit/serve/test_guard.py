"""Keys, origins, certificates and the file of settings: what is taken, and the sentence for what is not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from builder.serve.environment import SettingError, settings_file, surroundings
from builder.serve.guard.certificates import Certificates
from builder.serve.guard.keys import Keys, has_key
from builder.serve.guard.origins import Origins
from builder.serve.guard.watched import Watched
from builder.serve.observe.logs import Rarely
from tests.support.certificates import make_certificate

KEY = "0123456789abcdef"


def written(folder: Path, text: str | bytes) -> Path:
    file = folder / "file"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_keys_have_names(tmp_path: Path) -> None:
    file = written(tmp_path, f"\ufeff# comment\n\nalice {KEY}a\r\n{KEY}b\n")
    keys = Keys(KEY, str(file))
    assert len(keys) == 3 and keys.shortest == 16
    assert keys.name({"x-api-key": KEY}) == "environment"
    assert keys.name({"x-api-key": KEY + "a"}) == "alice"
    assert keys.name({"authorization": f"BEARER {KEY}b"}) == "line 4"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": KEY},
        {"authorization": f"Basic {KEY}"},
        {"authorization": "Bearer"},
        {"authorization": f"Bearer {KEY}, Bearer {KEY}"},
        {"x-api-key": f"{KEY}, {KEY}"},
        {"x-api-key": KEY.upper()},
        {"x-api-key": "\xe9\xff"},
    ],
)
def test_what_is_no_key(headers: dict[str, str]) -> None:
    assert Keys(KEY, "").name(headers) is None


def test_whether_a_key_was_sent_at_all() -> None:
    assert not has_key({"authorization": "Basic abc"}) and not has_key({"x-api-key": ""})
    assert has_key({"authorization": "bearer a"}) and has_key({"x-api-key": "a"})


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "has no key."),
        ("# only a comment\n", "has no key."),
        ("\n\u00fc\n", "line 2 of "),
        ("a b c\n", "is not a key of printable ASCII without spaces, or NAME KEY."),
        (f"n\u00e4me {KEY}\n", "a name has letters, digits and"),
        (b"\xff\xfe", "is not UTF-8 text."),
        (b"x" * (2**20 + 1), "is larger than 1048576 bytes."),
    ],
)
def test_files_of_keys_that_cannot_be_used(tmp_path: Path, content: str | bytes, says: str) -> None:
    with pytest.raises(SettingError, match=r"^MBUILD_API_KEY_FILE: ") as raised:
        Keys("", str(written(tmp_path, content)))
    assert says in str(raised.value)


def test_a_wrong_key_is_not_repeated(tmp_path: Path) -> None:
    for key, file in (("secret words", ""), ("", str(written(tmp_path, "se cret words")))):
        with pytest.raises(SettingError) as raised:
            Keys(key, file)
        assert "words" not in str(raised.value)


def test_keys_are_read_again_when_the_file_changes(tmp_path: Path) -> None:
    file = written(tmp_path, KEY)
    keys = Keys("", str(file))
    assert not keys.reread()
    file.write_text(f"{KEY}2")
    assert keys.reread() and keys.name({"x-api-key": f"{KEY}2"}) and not keys.name({"x-api-key": KEY})
    file.write_text("")
    with pytest.raises(SettingError):
        keys.reread()
    assert keys.name({"x-api-key": f"{KEY}2"}) and not keys.reread()


def test_a_link_that_is_turned_counts_as_changed(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "key").write_text("same")
        os.utime(tmp_path / name / "key", (1, 1))
    link = tmp_path / "link"
    link.symlink_to("one")
    watched = Watched(str(link / "key"))
    assert not watched.changed()
    link.unlink()
    link.symlink_to("two")
    assert watched.changed() and not watched.changed()
    link.unlink()
    assert watched.changed() and not watched.changed()


@pytest.mark.parametrize(
    "text", ["https://a.example", "http://localhost:3000, https://[::1]:8443", "*", "moz-extension://a1-b2"]
)
def test_origins(text: str) -> None:
    Origins(text)


@pytest.mark.parametrize("text", ["a.example", "https://a.example/", "https://A.example", "https://*.example", "null"])
def test_what_is_no_origin(text: str) -> None:
    with pytest.raises(SettingError, match=r"^MBUILD_CORS_ORIGINS: "):
        Origins(f"https://good.example, {text}")


def test_only_a_browsers_question_is_a_preflight() -> None:
    origins = Origins("https://a.example")
    asks = {"origin": "https://a.example", "access-control-request-method": "POST"}
    assert origins.preflight("OPTIONS", asks)
    assert not origins.preflight("POST", asks) and not origins.preflight("OPTIONS", {"origin": "https://a.example"})


@pytest.mark.parametrize(
    ("cert", "key", "says"),
    [
        ("ca.crt", "", "MBUILD_TLS_KEY is not set, but MBUILD_TLS_CERT is"),
        ("", "server-key.pem", "MBUILD_TLS_CERT is not set, but MBUILD_TLS_KEY is"),
        ("", "", "MBUILD_TLS_CERT is not set, but MBUILD_TLS_CLIENT_CA is"),
        ("absent", "server-key.pem", "absent cannot be read: No such file"),
        ("server-key.pem", "server-key.pem", "server-key.pem has no certificate in PEM form."),
        ("ca.crt", "ca.crt", "ca.crt has no private key in PEM form."),
        ("ca.crt", "encrypted", "encrypted is encrypted; a server that starts alone"),
        ("ca.crt", "broken", "cannot be used: "),
    ],
)
def test_certificates_that_cannot_be_used(tmp_path: Path, cert: str, key: str, says: str) -> None:
    made = make_certificate(tmp_path)
    (tmp_path / "encrypted").write_text("-----BEGIN ENCRYPTED PRIVATE KEY-----\n")
    (tmp_path / "broken").write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    cert, key = (str(tmp_path / name) if name else "" for name in (cert, key))
    with pytest.raises(SettingError, match=r"^MBUILD_TLS_(CERT|KEY)") as raised:
        Certificates(cert, key, str(made.certificate))
    assert says in str(raised.value)


def test_the_authority_of_clients_is_checked_too(tmp_path: Path) -> None:
    made = make_certificate(tmp_path)
    assert Certificates(str(made.certificate), str(made.key), str(made.certificate)).mutual
    with pytest.raises(SettingError, match=r"^MBUILD_TLS_CLIENT_CA: .* has no certificate in PEM form."):
        Certificates(str(made.certificate), str(made.key), str(made.key))


def test_a_file_of_settings(tmp_path: Path) -> None:
    text = "# mounted\n\nMBUILD_QUEUE = 7\nMBUILD_API_KEY='a=b'\nOTEL_SERVICE_NAME=\"x\"\nMBUILD_UI=\n"
    environ = {"MBUILD_SETTINGS": str(written(tmp_path, text)), "MBUILD_QUEUE": "9", "MBUILD_API_KEY": " ", "A": "b"}
    found = surroundings(environ)
    assert (found["MBUILD_QUEUE"], found["MBUILD_API_KEY"], found["OTEL_SERVICE_NAME"]) == ("9", "a=b", "x")
    assert (found["MBUILD_UI"], found["A"]) == ("", "b")
    assert surroundings({"A": "b"}) == {"A": "b"}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("MBUILD_QUEUE", "line 1 of "),
        ("\nexport MBUILD_QUEUE=1", "line 2 of "),
        ("MBUILD_QUEUE=1\nMBUILD_QUEUE=2", "gives MBUILD_QUEUE a second time."),
    ],
)
def test_a_file_of_settings_that_is_wrong(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingError, match=r"^MBUILD_SETTINGS: ") as raised:
        settings_file({"MBUILD_SETTINGS": str(written(tmp_path, text))})
    assert says in str(raised.value)


def test_lines_that_come_in_floods_are_counted() -> None:
    now = [0.0]
    rarely = Rarely(10, lambda: now[0])
    assert [rarely.due() for _ in range(4)] == [1, 0, 0, 0]
    now[0] = 11
    assert [rarely.due() for _ in range(2)] == [4, 0]
