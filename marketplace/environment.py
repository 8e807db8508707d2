"""What the environment says, checked: each function reads one variable or refuses it in one sentence."""

import errno
import os
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

BACKEND = "marketplace.postgresql"
_LOOPBACK = ["localhost", "127.0.0.1", "::1"]
_SHORTEST_FALLBACK = 20
_FLAGS = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
    "": False,
}


def debug(environ: Mapping[str, str]) -> bool:
    return _flag(environ, "DEBUG")


def demo(environ: Mapping[str, str], url: SplitResult) -> bool:
    """Whether anybody sees the demo's invoices without signing in: only at an address of this machine."""
    if not _flag(environ, "DEMO"):
        return False
    if url.hostname not in _LOOPBACK:
        raise ImproperlyConfigured(
            f"DEMO=1 shows invoices without sign-in, and PUBLIC_URL={url.geturl()!r} is not this machine's own address: unset"
            " DEMO, or write PUBLIC_URL=http://127.0.0.1:8000."
        )
    return True


def second_factor(environ: Mapping[str, str], *, lenient: bool) -> str:
    """Whether owners, finance and staff must have a second factor. `lenient` where nobody else reaches the machine."""
    value = environ.get("SECOND_FACTOR") or "required"
    if value not in ("required", "optional"):
        raise ImproperlyConfigured(f"SECOND_FACTOR={value!r} is neither: write required or optional.")
    if value == "optional" and not lenient:
        raise ImproperlyConfigured(
            "SECOND_FACTOR=optional lets people who handle money sign in by a password alone, which is for a demo or for"
            " debugging: unset SECOND_FACTOR, or set DEMO=1 or DEBUG=1 on a machine that others don't reach."
        )
    return value


def _flag(environ: Mapping[str, str], name: str) -> bool:
    value = environ.get(name, "")
    if value.lower() not in _FLAGS:
        raise ImproperlyConfigured(f"{name}={value!r} is neither yes nor no: write {name}=1 or {name}=0.")
    return _FLAGS[value.lower()]


def log_level(environ: Mapping[str, str]) -> str:
    value, levels = environ.get("LOG_LEVEL", "INFO"), ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
    if value not in levels:
        raise ImproperlyConfigured(f"LOG_LEVEL={value!r} is no level: write one of {', '.join(levels)}.")
    return value


def public_url(environ: Mapping[str, str]) -> SplitResult:
    """Where users reach the site: scheme, host and port, nothing more."""
    value = environ.get("PUBLIC_URL", "https://localhost")
    try:
        url = urlsplit(value)
        right = url.scheme in ("http", "https") and url.hostname and url.port != 0 and not url.username
    except ValueError:
        right = False
    if not right or url.path not in ("", "/") or url.query or url.fragment:
        raise ImproperlyConfigured(
            f"PUBLIC_URL={value!r} is not where a site can be: write its scheme, host and perhaps port, such as"
            " https://suanli.example.com."
        )
    return url


def allowed_hosts(url: SplitResult) -> list[str]:
    """The host of PUBLIC_URL; one that means this machine may be called by each of its names."""
    host = url.hostname or ""
    hosts = _LOOPBACK if host in _LOOPBACK else [host]
    return [f"[{name}]" if ":" in name else name for name in hosts]


def forwarded_allow_ips(environ: Mapping[str, str]) -> frozenset[str]:
    """The proxies whose X-Forwarded-For is believed, as gunicorn reads the same variable for X-Forwarded-Proto."""
    return frozenset(each.strip() for each in environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1,::1").split(","))


def data_dir(environ: Mapping[str, str], default: Path) -> Path:
    value = environ.get("DATA_DIR", "")
    if "\0" in value or "\n" in value:
        raise ImproperlyConfigured(f"DATA_DIR={value!r} is not the path of a folder: write one without line breaks.")
    return Path(value).expanduser().absolute() if value else default


def database(environ: Mapping[str, str], data_folder: Path) -> dict[str, Any]:
    """The entry of DATABASES: the server of DATABASE_URL, or the embedded one in `data_folder`."""
    value = environ.get("DATABASE_URL", "")
    if not value:
        # A connection a request took a third of the time of a batch of usage.
        kept = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
        return {"ENGINE": BACKEND, "NAME": "suanli", "EMBEDDED_IN": str(data_folder / "postgresql"), **kept}
    problem = (
        "DATABASE_URL is not the address of a PostgreSQL database (it is not shown, since it may hold a password): write"
        " postgresql://user:password@host:5432/database."
    )
    try:
        if urlsplit(value).scheme not in ("postgres", "postgresql"):
            raise ImproperlyConfigured(problem)
        entry = dict(dj_database_url.parse(value, engine=BACKEND, conn_max_age=60, conn_health_checks=True))
    except ValueError as error:  # of which dj_database_url's own errors are kinds
        raise ImproperlyConfigured(problem) from error
    if not entry["NAME"]:
        raise ImproperlyConfigured(problem)
    return entry


def secret_key(environ: Mapping[str, str], data_folder: Path) -> str:
    """SECRET_KEY, or the embedded database's own, made at random in `data_folder` when first asked for."""
    if value := environ.get("SECRET_KEY", ""):
        return value
    if environ.get("DATABASE_URL"):
        raise ImproperlyConfigured(
            "SECRET_KEY is not set, and with DATABASE_URL it must be: write at least 50 random characters, the same on every"
            " machine that uses that database."
        )
    path = data_folder / "secret_key"
    try:
        if not path.exists():
            _make_secret_key(path)
        value = path.read_text().strip()
    except OSError as error:
        remedy = "free some space" if error.errno == errno.ENOSPC else "run as its owner"
        raise ImproperlyConfigured(
            f"DATA_DIR={str(data_folder)!r} can't be used ({error.strerror}: {error.filename or path}): {remedy}, or set DATA_DIR to a"
            " folder that you can write."
        ) from error
    if not value:
        raise ImproperlyConfigured(f"The secret key in {path} is empty: delete that file, and a new key is made.")
    return value


def secret_key_fallbacks(environ: Mapping[str, str]) -> list[str]:
    """Keys of before that still open what they signed and sealed, the newest first, with blanks between."""
    keys = environ.get("SECRET_KEY_FALLBACKS", "").split()
    if any(len(key) < _SHORTEST_FALLBACK for key in keys):
        raise ImproperlyConfigured(
            f"SECRET_KEY_FALLBACKS has a key of less than {_SHORTEST_FALLBACK} characters (it is not shown): write the secret keys of"
            " before, the newest first, with blanks between."
        )
    return keys


def _make_secret_key(path: Path) -> None:
    """The first of several processes wins: a link is made whole or not at all."""
    path.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile("w", dir=path.parent, prefix="secret_key.") as draft:  # has mode 0600
        draft.write(secrets.token_urlsafe(64))
        draft.flush()
        os.fsync(draft.fileno())
        try:
            os.link(draft.name, path)
        except FileExistsError:
            return


# Mail


def mail(environ: Mapping[str, str], data_folder: Path) -> dict[str, Any]:
    """The settings of Django's mail: the server of EMAIL_URL, or files in `data_folder`, for nothing to be lost."""
    value = environ.get("EMAIL_URL", "")
    if not value:
        return {"EMAIL_BACKEND": "marketplace.mail.Files", "EMAIL_FILE_PATH": str(data_folder / "mail")}
    problem = (
        "EMAIL_URL is not the address of a mail server (it is not shown, since it may hold a password): write"
        " smtp://user:password@host:587 (with STARTTLS), smtps://user:password@host:465, or file:///folder."
    )
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError as error:
        raise ImproperlyConfigured(problem) from error
    if url.scheme == "file" and url.path.startswith("/") and not url.netloc:
        return {"EMAIL_BACKEND": "marketplace.mail.Files", "EMAIL_FILE_PATH": unquote(url.path)}
    if url.scheme not in ("smtp", "smtps") or not url.hostname:
        raise ImproperlyConfigured(problem)
    return {
        "EMAIL_BACKEND": "django.core.mail.backends.smtp.EmailBackend",
        "EMAIL_HOST": url.hostname,
        "EMAIL_PORT": port or {"smtp": 587, "smtps": 465}[url.scheme],
        "EMAIL_HOST_USER": unquote(url.username or ""),
        "EMAIL_HOST_PASSWORD": unquote(url.password or ""),
        "EMAIL_USE_SSL": url.scheme == "smtps",
        "EMAIL_USE_TLS": url.scheme == "smtp" and url.hostname not in _LOOPBACK,
        "EMAIL_TIMEOUT": 10,
    }


# The worker and the logs


def log_format(environ: Mapping[str, str]) -> str:
    value = environ.get("LOG_FORMAT") or "line"
    if value not in ("line", "json"):
        raise ImproperlyConfigured(f"LOG_FORMAT={value!r} is no form of logs: write line or json.")
    return value


def whole_number(environ: Mapping[str, str], name: str, default: str, least: int) -> int:
    value = environ.get(name) or default
    if not value.isascii() or not value.isdigit() or not least <= int(value) <= 10_000:
        raise ImproperlyConfigured(f"{name}={value!r} is not a whole number from {least} to 10000: write one.")
    return int(value)


def auto_close_after_days(environ: Mapping[str, str]) -> int | None:
    """Days from a period's end to its closing by the worker; None leaves closing to people."""
    if environ.get("AUTO_CLOSE_AFTER_DAYS") == "never":
        return None
    return whole_number(environ, "AUTO_CLOSE_AFTER_DAYS", "3", 0)


def queue(environ: Mapping[str, str], worker_name: str) -> dict[str, Any]:
    """Q_CLUSTER: django-q2 on the database, or on Redis with REDIS_URL. Each supervised worker has a queue of its own."""
    workers, timeout_seconds = whole_number(environ, "WORKERS", "2", 1), 1800
    redis_url = environ.get("REDIS_URL", "")
    if redis_url and urlsplit(redis_url).scheme not in ("redis", "rediss", "unix"):
        raise ImproperlyConfigured(
            "REDIS_URL is not the address of a Redis server (it is not shown, since it may hold a password): write"
            " redis://:password@host:6379/0."
        )
    return {
        "name": "suanli",
        "cluster_name": worker_name or "suanli",
        "workers": workers,
        "queue_limit": workers,
        "bulk": 1,
        "timeout": timeout_seconds,
        # It counts from the inner queue on: with less than timeout x (queue_limit / workers + 3), tasks run twice.
        "retry": timeout_seconds * (1 + 3),
        "max_attempts": 3,
        "catch_up": False,
        "poll": 0.5,
        "save_limit": -1,  # what was done stands in our own table
        "label": "Queue",
        **({"redis": redis_url} if redis_url else {"orm": "default"}),
    }
