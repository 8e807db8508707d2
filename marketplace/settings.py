"""Settings, from the environment only; without any, those of production.

============  =================================  =======================================================================
Variable      Without it                         What it says
============  =================================  =======================================================================
PUBLIC_URL    https://localhost                  Where users reach the site. Hosts, trusted origins, secure cookies, the
                                                 redirect to https and HSTS follow from it; with http:// they are off.
DATA_DIR      .data beside manage.py             Folder of the embedded database, the secret key and the like.
DATABASE_URL  the embedded server, in DATA_DIR   PostgreSQL 15 or later: postgresql://user:password@host:5432/database
SECRET_KEY    one made at random in DATA_DIR     Signs sessions. Required with DATABASE_URL. SECRET_KEY_FALLBACKS are those of
                                                 before, with blanks between.
DEBUG         0                                  1 shows errors in the browser. Never on a machine that others reach.
DEMO          0                                  1 shows all invoices on the start page. Only with PUBLIC_URL on this machine.
SECOND_FACTOR required                           optional leaves it to people. Only with DEMO=1 or DEBUG=1.
LOG_LEVEL     INFO                               DEBUG, INFO, WARNING, ERROR or CRITICAL, to standard error.
LOG_FORMAT    line; json under manage.py serve   json: one JSON object a record. line: for people.
REDIS_URL     the database is the queue          redis://:password@host:6379/0: Redis is the queue.
EMAIL_URL     files in DATA_DIR/mail             smtp://user:password@host:587, smtps://…, file:///folder: where mail goes.
EMAIL_FROM    Suanli <noreply@HOST>              Whom mail is from.
METRICS_TOKEN (none)                             /metrics from other machines, as `Authorization: Bearer TOKEN`.
============  =================================  =======================================================================

AUTO_CLOSE_AFTER_DAYS (3) is when the worker closes a billing period after its end; `never` leaves that to people.
METER_SILENT_AFTER_HOURS (6) is how long a meter with capacity reserved may say nothing. docs/operations.md has the rest.
"""

import os
from datetime import timedelta
from pathlib import Path

from csp import constants as csp
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext_lazy as _

from . import environment, logs
from .api import description

BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = environment.data_dir(os.environ, BASE_DIR / ".data")

DEBUG = environment.debug(os.environ)
SECRET_KEY = environment.secret_key(os.environ, DATA_DIR)
SECRET_KEY_FALLBACKS = environment.secret_key_fallbacks(os.environ)

_url = environment.public_url(os.environ)
_https = _url.scheme == "https"
PUBLIC_URL = f"{_url.scheme}://{_url.netloc}"
ALLOWED_HOSTS = environment.allowed_hosts(_url)
DEMO = environment.demo(os.environ, _url)
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
FORWARDED_ALLOW_IPS = environment.forwarded_allow_ips(os.environ)
SECURE_SSL_REDIRECT = SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = _https
SECURE_HSTS_SECONDS = 365 * 24 * 3600 if _https else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = _https

INSTALLED_APPS = [
    "marketplace",
    "billing",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    # Before Django's own admin, whose templates it replaces. Both without their default sites: marketplace.admin has ours.
    "unfold.apps.BasicAppConfig",
    "unfold.contrib.filters",
    "unfold.contrib.import_export",
    "django.contrib.admin.apps.SimpleAdminConfig",
    # For its tables and arithmetic of second factors. It has pages, too: no address leads to them (marketplace.urls).
    "allauth.account",
    "allauth.mfa",
    "axes",
    "csp",
    "django_htmx",
    "django_q",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "import_export",
]
MIDDLEWARE = [
    "marketplace.web.caller.middleware",
    "marketplace.logs.middleware",
    "marketplace.web.health.middleware",
    "marketplace.metrics.middleware",
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "allauth.account.middleware.AccountMiddleware",  # allauth insists on it
    "marketplace.web.second_factor.Middleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",  # a view for all says @login_not_required
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "marketplace.urls"
WSGI_APPLICATION = "marketplace.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "marketplace.web.page.page",
            ]
        },
    }
]

DATABASES = {"default": environment.database(os.environ, DATA_DIR)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

AUTH_USER_MODEL = "marketplace.User"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 10}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Signing in. Failures count by account and address together: an account alone could be locked by any stranger, an
# address alone is a whole office. marketplace.web.sign_in makes the count exact under simultaneous attempts.
LOGIN_URL, LOGIN_REDIRECT_URL, LOGOUT_REDIRECT_URL = "sign_in", "start", "sign_in"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_USERNAME_FORM_FIELD = "username"
AXES_USERNAME_CALLABLE = "marketplace.web.sign_in.account_named"
AXES_LOCKOUT_CALLABLE = "marketplace.web.sign_in.locked_out"
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = AXES_VERBOSE = False
PASSWORD_RESET_TIMEOUT = 3600
# The second factor: a code of an app, or a recovery code. marketplace.second_factor counts and seals them.
SECOND_FACTOR = environment.second_factor(os.environ, lenient=DEBUG or DEMO)
MFA_ADAPTER = "marketplace.second_factor.Adapter"
MFA_TOTP_ISSUER = "Suanli"
ACCOUNT_USER_MODEL_USERNAME_FIELD = None  # allauth asks; its own accounts are not used
ACCOUNT_LOGIN_METHODS, ACCOUNT_SIGNUP_FIELDS = {"email"}, ["email*", "password1*", "password2*"]
SESSION_COOKIE_AGE = 12 * 3600
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = LANGUAGE_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_SECURE = _https
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [csp.NONE],
        "script-src": [csp.SELF],
        "style-src": [csp.SELF],
        "img-src": [csp.SELF, "data:"],
        "font-src": [csp.SELF],
        "connect-src": [csp.SELF],
        "form-action": [csp.SELF],
        "frame-ancestors": [csp.NONE],
        "base-uri": [csp.NONE],
    }
}
X_FRAME_OPTIONS = "DENY"
# The admin's pages alone: Alpine evaluates attributes, and unfold writes its colours in a style element.
ADMIN_CONTENT_SECURITY_POLICY = {
    "script-src": [csp.SELF, csp.UNSAFE_EVAL],
    "style-src": [csp.SELF, csp.UNSAFE_INLINE],
}

LANGUAGE_CODE = "zh-hans"
LANGUAGES = [("zh-hans", "简体中文"), ("en", "English")]
LOCALE_PATHS = [BASE_DIR / "locale"]
FORMAT_MODULE_PATH = ["marketplace.formats"]
USE_TZ = True
TIME_ZONE = "Asia/Shanghai"

# WhiteNoise serves the files from where they lie: no collectstatic, the same in the demo as in production.
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
WHITENOISE_USE_FINDERS = True

LOG_FORMAT = environment.log_format(os.environ)
LOGGING = logs.configuration(form=LOG_FORMAT, level=environment.log_level(os.environ))

# The look of the admin
UNFOLD = {
    "SITE_TITLE": _("Suanli"),
    "SITE_HEADER": _("Suanli"),
    "SITE_SUBHEADER": _("Administration"),
    "SITE_SYMBOL": "bolt",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("suanli/icon.svg")}],
    "STYLES": [lambda _request: static("suanli/admin.css")],
    "SCRIPTS": [lambda _request: static("suanli/admin.js")],
    "SHOW_LANGUAGES": True,
    "LANGUAGES": {"action": reverse_lazy("language")},
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "#effaf9",
            "100": "#dff0ef",
            "200": "#b9dedd",
            "300": "#8cc7c6",
            "400": "#5ab3b2",
            "500": "#3aa3a2",
            "600": "#0b6768",
            "700": "#084d4e",
            "800": "#083f40",
            "900": "#0a3334",
            "950": "#041f20",
        }
    },
}

# Mail
globals().update(environment.mail(os.environ, DATA_DIR))
DEFAULT_FROM_EMAIL = os.environ.get("EMAIL_FROM") or f"Suanli <noreply@{_url.hostname}>"

# The worker
WORKER_NAME = os.environ.get("WORKER_NAME", "")  # set by `manage.py serve` for its children, who share a queue
Q_CLUSTER = environment.queue(os.environ, WORKER_NAME)
AUTO_CLOSE_AFTER_DAYS = environment.auto_close_after_days(os.environ)
METER_SILENT_AFTER_HOURS = environment.whole_number(os.environ, "METER_SILENT_AFTER_HOURS", "6", 1)
METRICS_TOKEN = os.environ.get("METRICS_TOKEN", "")

# The API. How many requests a key may make a minute, to each web server that has a database of its own.
EVENTS_REQUESTS_PER_MINUTE = environment.whole_number(os.environ, "EVENTS_REQUESTS_PER_MINUTE", "6000", 1)
API_REQUESTS_PER_MINUTE = environment.whole_number(os.environ, "API_REQUESTS_PER_MINUTE", "600", 1)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["marketplace.api.asking.KeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["marketplace.api.asking.HasKey"],
    "DEFAULT_THROTTLE_CLASSES": ["marketplace.api.asking.PerKey"],
    "DEFAULT_PARSER_CLASSES": ["marketplace.api.reading.JsonBody"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_FILTER_BACKENDS": ["marketplace.api.filters.Backend"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "marketplace.api.refusals.answer",
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = description.settings(public_url=PUBLIC_URL)
