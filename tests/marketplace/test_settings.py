"""Settings come from the environment; without any they are those of production."""

import os
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import send_mail

from marketplace import environment
from marketplace.mail import Files
from tests.billing.waiting import PATIENCE_SECONDS

ROOT = Path(__file__).resolve().parent.parent.parent


def manage(*arguments, **environ):
    environ = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )


def setting(name, **environ):
    code = f"from django.conf import settings; print(repr(settings.{name}))"
    return manage("shell", "--no-imports", "-c", code, **environ).stdout.strip()


def test_the_deployment_check_is_clean_without_any_environment(tmp_path):
    done = manage("check", "--deploy", "--fail-level", "WARNING", DATA_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "System check identified no issues (0 silenced).\n", "")


HTTPS = (
    "SECURE_SSL_REDIRECT",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SECURE_HSTS_INCLUDE_SUBDOMAINS",
    "SECURE_HSTS_PRELOAD",
)


@pytest.mark.parametrize(
    ("url", "hosts", "origins", "https", "hsts_seconds"),
    [
        (None, ["localhost", "127.0.0.1", "[::1]"], ["https://localhost"], True, 31536000),
        ("https://suanli.example.com/", ["suanli.example.com"], ["https://suanli.example.com"], True, 31536000),
        ("http://127.0.0.1:8000", ["localhost", "127.0.0.1", "[::1]"], ["http://127.0.0.1:8000"], False, 0),
    ],
)
def test_hosts_origins_and_the_rules_of_https_follow_from_the_public_url(
    tmp_path, url, hosts, origins, https, hsts_seconds
):
    environ = {"DATA_DIR": str(tmp_path)} | ({"PUBLIC_URL": url} if url else {})
    names = ("DEBUG", "ALLOWED_HOSTS", "CSRF_TRUSTED_ORIGINS", "SECURE_HSTS_SECONDS", *HTTPS)
    joined = ", ".join(f"settings.{name}" for name in names)
    done = manage("shell", "--no-imports", "-c", f"from django.conf import settings; print(({joined}))", **environ)
    assert done.stdout == f"{(False, hosts, origins, hsts_seconds, *[https] * len(HTTPS))}\n"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("DEBUG", "maybe", "DEBUG='maybe' is neither yes nor no: write DEBUG=1 or DEBUG=0."),
        (
            "LOG_LEVEL",
            "loud",
            "LOG_LEVEL='loud' is no level: write one of DEBUG, INFO, WARNING, ERROR, CRITICAL.",
        ),
        (
            "PUBLIC_URL",
            "foo",
            (
                "PUBLIC_URL='foo' is not where a site can be: write its scheme, host and perhaps port, such as"
                " https://suanli.example.com."
            ),
        ),
        (
            "DATABASE_URL",
            "postgresql://u:p@h/d",
            (
                "SECRET_KEY is not set, and with DATABASE_URL it must be: write at least 50 random characters, the same on every"
                " machine that uses that database."
            ),
        ),
        ("SECOND_FACTOR", "never", "SECOND_FACTOR='never' is neither: write required or optional."),
        (
            "SECOND_FACTOR",
            "optional",
            (
                "SECOND_FACTOR=optional lets people who handle money sign in by a password alone, which is for a demo or for"
                " debugging: unset SECOND_FACTOR, or set DEMO=1 or DEBUG=1 on a machine that others don't reach."
            ),
        ),
        (
            "EMAIL_URL",
            "http://mail.example.com",
            (
                "EMAIL_URL is not the address of a mail server (it is not shown, since it may hold a password): write"
                " smtp://user:password@host:587 (with STARTTLS), smtps://user:password@host:465, or file:///folder."
            ),
        ),
    ],
)
def test_a_bad_value_is_one_sentence_that_names_it_and_what_would_be_right(tmp_path, name, value, sentence):
    done = manage("check", **{"DATA_DIR": str(tmp_path), name: value})
    assert (done.returncode, done.stdout, done.stderr) == (1, "", f"manage.py: {sentence}\n")


@pytest.mark.parametrize(
    "value",
    [
        "",
        "foo",
        "ftp://a",
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://a:x",
        "https://u@a",
        "https://a:0",
    ],
)
def test_a_public_url_is_a_scheme_a_host_and_perhaps_a_port(value):
    with pytest.raises(ImproperlyConfigured, match=r"^PUBLIC_URL="):
        environment.public_url({"PUBLIC_URL": value})


@pytest.mark.parametrize(
    ("value", "debug"), [(None, False), ("", False), ("0", False), ("off", False), ("1", True), ("True", True)]
)
def test_debug_is_off_unless_it_is_asked_for(value, debug):
    assert environment.debug({} if value is None else {"DEBUG": value}) is debug


def test_the_data_folder_is_beside_manage_py_or_where_the_environment_says(tmp_path):
    assert setting("DATA_DIR", SECRET_KEY="x" * 50) == repr(ROOT / ".data")
    assert setting("DATA_DIR", SECRET_KEY="x" * 50, DATA_DIR=str(tmp_path)) == repr(tmp_path)


def test_the_embedded_database_has_one_random_key_however_many_ask_first(tmp_path):
    with ThreadPoolExecutor(12) as pool:
        keys = set(pool.map(lambda _: environment.secret_key({}, tmp_path / "data"), range(48)))
    assert len(keys) == 1
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["secret_key"]
    assert len((tmp_path / "data" / "secret_key").read_text()) == 86  # 64 random bytes
    assert stat.S_IMODE((tmp_path / "data" / "secret_key").stat().st_mode) == 0o600
    assert environment.secret_key({}, tmp_path / "other") not in keys


def test_a_key_in_the_environment_leaves_no_file(tmp_path):
    assert environment.secret_key({"SECRET_KEY": "given"}, tmp_path / "data") == "given"
    assert not (tmp_path / "data").exists()


def test_keys_of_before_are_read_from_the_environment():
    assert environment.secret_key_fallbacks({}) == []
    old, older = "a" * 50, "b" * 20
    assert environment.secret_key_fallbacks({"SECRET_KEY_FALLBACKS": f" {old}  {older}\n"}) == [old, older]
    with pytest.raises(
        ImproperlyConfigured, match=r"^SECRET_KEY_FALLBACKS has a key of less than 20 characters \(it is not"
    ):
        environment.secret_key_fallbacks({"SECRET_KEY_FALLBACKS": f"{old} {'b' * 19}"})


def test_an_empty_key_file_is_refused(tmp_path):
    (tmp_path / "secret_key").touch()
    with pytest.raises(ImproperlyConfigured) as refusal:
        environment.secret_key({}, tmp_path)
    assert (
        str(refusal.value)
        == f"The secret key in {tmp_path}/secret_key is empty: delete that file, and a new key is made."
    )


@pytest.mark.parametrize(
    ("environ", "lenient", "wanted"),
    [({}, False, "required"), ({}, True, "required"), ({"SECOND_FACTOR": "optional"}, True, "optional")],
)
def test_a_second_factor_is_required_unless_a_demo_says_otherwise(environ, lenient, wanted):
    assert environment.second_factor(environ, lenient=lenient) == wanted


@pytest.mark.parametrize(
    ("url", "host", "port", "user", "tls", "ssl"),
    [
        ("smtp://u%40a:p%2Fw@mail.example.com", "mail.example.com", 587, "u@a", True, False),
        ("smtps://u:p@mail.example.com:4650", "mail.example.com", 4650, "u", False, True),
        ("smtp://localhost:25", "localhost", 25, "", False, False),
    ],
)
def test_mail_goes_to_the_server_of_email_url_never_in_the_clear_to_another_machine(url, host, port, user, tls, ssl):
    found = environment.mail({"EMAIL_URL": url}, Path("data"))
    names = ("EMAIL_HOST", "EMAIL_PORT", "EMAIL_HOST_USER", "EMAIL_USE_TLS", "EMAIL_USE_SSL", "EMAIL_TIMEOUT")
    assert [found[name] for name in names] == [host, port, user, tls, ssl, 10]


def test_without_a_server_letters_are_kept_in_a_folder_that_only_its_owner_reads(tmp_path, settings):
    found = environment.mail({}, tmp_path)
    assert found == {"EMAIL_BACKEND": "marketplace.mail.Files", "EMAIL_FILE_PATH": str(tmp_path / "mail")}
    settings.EMAIL_FILE_PATH = found["EMAIL_FILE_PATH"]
    send_mail("s", "a letter", "a@example.com", ["b@example.com"], connection=Files())
    [letter] = (tmp_path / "mail").iterdir()
    assert "a letter" in letter.read_text()
    assert stat.S_IMODE((tmp_path / "mail").stat().st_mode) == 0o700


@pytest.mark.parametrize("url", ["mail.example.com", "smtp://", "file://relative", "smtp://h:x", "smtp://h:99999"])
def test_an_address_that_is_no_mail_servers_is_refused(url):
    with pytest.raises(ImproperlyConfigured, match="EMAIL_URL is not the address of a mail server"):
        environment.mail({"EMAIL_URL": url}, Path("data"))
