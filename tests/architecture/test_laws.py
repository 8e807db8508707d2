"""The laws hold; and each of them sees a breach, planted in a small tree of its own."""

from pathlib import Path

import pytest
from django.apps import apps
from django.conf import settings
from django.db import models
from django.test.utils import isolate_apps

from .laws import LAWS, LONGEST_FILE, LONGEST_FUNCTION, foreign_keys

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.mark.parametrize("law", LAWS)
def test_the_law_holds(law):
    assert LAWS[law](ROOT) == []


PLANTED = [
    (
        "import_directions",
        "billing/ledger.py",
        "from marketplace import catalog",
        "marketplace imports billing, never back",
    ),
    (
        "import_directions",
        "billing/ledger.py",
        "def post():\n    import marketplace.models",
        "marketplace imports billing, never back",
    ),
    (
        "import_directions",
        "billing/ledger.py",
        "from django.http import HttpResponse",
        "billing has no HTTP and no admin of its own",
    ),
    (
        "import_directions",
        "billing/admin.py",
        "from django.contrib import admin",
        "billing has no HTTP and no admin of its own",
    ),
    (
        "import_directions",
        "billing/models/usage.py",
        "from ..usage import record",
        "models import models and the pure core only",
    ),
    (
        "import_directions",
        "marketplace/models/zone.py",
        "from billing import ledger",
        "models import models and the pure core only",
    ),
    ("import_directions", "billing/payments.py", "import stripe", "only billing.stripe_gateway imports stripe"),
    (
        "import_directions",
        "marketplace/catalog.py",
        "from .web import start",
        "verbs and models never import the leaves",
    ),
    ("import_directions", "billing/ledger.py", "from . import tasks", "verbs and models never import the leaves"),
    (
        "import_directions",
        "marketplace/web/start.py",
        "from marketplace.settings import DEBUG",
        "nobody imports the composition root",
    ),
    (
        "import_directions",
        "billing/ledger.py",
        "from tests import samples",
        "the product imports no tests and no benchmarks",
    ),
    ("import_directions", "marketplace/apps.py", "from django.dispatch import receiver", "there are no signals"),
    ("import_directions", "billing/apps.py", "from django.db.models.signals import post_save", "there are no signals"),
    ("import_directions", "billing/apps.py", "from django.db.models import signals", "there are no signals"),
    (
        "pure_core",
        "billing/rating/money.py",
        "from django.conf import settings",
        "the core stands on the standard library alone",
    ),
    (
        "pure_core",
        "billing/rating/money.py",
        "from ..models import Invoice",
        "the core stands on the standard library alone",
    ),
    ("pure_core", "billing/rating/money.py", "import time", "the core stands on the standard library alone"),
    ("names", "billing/services.py", "", "a name that says nothing"),
    ("names", "marketplace/utils/money.py", "", "a name that says nothing"),
    ("lengths", "billing/long.py", "x = 1\n" * (LONGEST_FILE + 1), "a file of 501 lines"),
    ("lengths", "tests/test_long.py", "x = 1\n" * (LONGEST_FILE + 1), "a file of 501 lines"),
    ("lengths", "billing/long.py", "class A:\n  def f():\n" + "    x = 1\n" * LONGEST_FUNCTION, "f has 71 lines"),
    ("floats", "billing/ledger.py", "rate = 0.13", "a float where money is"),
    ("floats", "billing/ledger.py", "rate = float('1')", "a float where money is"),
    ("floats", "billing/ledger.py", "def f(rate: float | None): ...", "a float where money is"),
    ("floats", "billing/models/a.py", "rate = models.FloatField()", "a float where money is"),
    (
        "clocks",
        "billing/ledger.py",
        "from django.utils import timezone\nat = timezone.now()",
        "timezone.now reads the clock",
    ),
    ("clocks", "billing/ledger.py", "at = datetime.now(UTC)", "datetime.now reads the clock"),
    ("clocks", "billing/ledger.py", "at = time.time()", "time.time reads the clock"),
    (
        "clocks",
        "billing/ledger.py",
        "from django.utils.timezone import now",
        "django.utils.timezone.now reads the clock",
    ),
    (
        "clocks",
        "billing/models/a.py",
        "made_at = DateTimeField(auto_now_add=True)",
        "auto_now_add=True reads the clock",
    ),
    ("swallowed", "billing/ledger.py", "try:\n    f()\nexcept:\n    raise", "an exception is swallowed"),
    ("swallowed", "manage.py", "try:\n    f()\nexcept Exception:\n    pass", "an exception is swallowed"),
    (
        "swallowed",
        "billing/ledger.py",
        "for x in y:\n    try:\n        f()\n    except (A, Exception):\n        continue",
        "an exception is swallowed",
    ),
    ("swallowed", "billing/ledger.py", "with contextlib.suppress(Exception):\n    f()", "an exception is swallowed"),
    (
        "hidden_queries",
        "billing/models/a.py",
        "class A:\n    def __str__(self): return str(B.objects.get())",
        "__str__ asks the database",
    ),
    (
        "hidden_queries",
        "billing/models/a.py",
        "class A:\n    @property\n    def n(self): return self.lines.count()",
        "n asks the database",
    ),
    (
        "fetched",
        "templates/base.html",
        '<script src="https://cdn.example/x.js"></script>',
        "something is fetched from elsewhere when the page is shown",
    ),
    (
        "fetched",
        "templates/base.html",
        '<link rel="stylesheet" href="//cdn.example/x.css">',
        "something is fetched from elsewhere when the page is shown",
    ),
    (
        "fetched",
        "static/a.css",
        "@font-face { src: url(https://cdn.example/x) }",
        "something is fetched from elsewhere when the page is shown",
    ),
    ("machine_paths", "docs/a.md", "see " + "/home" + "/me/notes", "a path of one machine"),
    ("machine_paths", "Makefile", "x = " + "/root" + "/x", "a path of one machine"),
    ("assets", "static/font.woff2", "", "somebody else's file"),
    ("assets", "static/htmx.min.js", "", "somebody else's file"),
    ("locked_hosts", "requirements.lock", "--index-url somewhere", "a host"),
    ("locked_hosts", "requirements.lock", "x @ https://host.example/x.whl", "a host"),
]


@pytest.mark.parametrize(
    ("law", "name", "text", "problem"), PLANTED, ids=[f"{law}-{n}" for n, (law, *_) in enumerate(PLANTED)]
)
def test_a_planted_breach_is_seen(tmp_path, law, name, text, problem):
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    found = LAWS[law](tmp_path)
    assert [(line.split(":")[0], line.split(": ")[-1]) for line in found] == [(name, problem)]


def test_every_law_has_a_planted_breach():
    assert {law for law, *_ in PLANTED} == set(LAWS)


CLEAN = {
    "billing/rating/money.py": "from decimal import Decimal\nfrom .quantity import Quantity\n",
    "billing/tasks.py": "from django.utils import timezone\nat = timezone.now()\n",
    "billing/stripe_gateway.py": "import stripe\n",
    "billing/usage.py": "def refuse(value): return isinstance(value, int | float)\n",
    "billing/models/a.py": "from billing.rating import money\nclass A:\n    def __str__(self): return self.name\n",
    "marketplace/web/start.py": "from billing import ledger\nfrom marketplace import catalog\nfrom . import pages\n",
    "marketplace/urls.py": "from .web import start\n",
    "templates/base.html": '<a href="https://example.com/">elsewhere</a>',
    "requirements.lock": "django==5.2\n",
}


@pytest.mark.parametrize("law", LAWS)
def test_what_is_right_is_not_reported(tmp_path, law):
    for name, text in CLEAN.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert LAWS[law](tmp_path) == []


# Foreign keys


def test_money_hangs_on_nothing_that_can_be_deleted_and_billing_knows_no_users():
    assert foreign_keys(apps.get_models(include_auto_created=True)) == []


@pytest.mark.parametrize("on_delete", [models.CASCADE, models.SET_NULL, models.DO_NOTHING])
@pytest.mark.parametrize("field", [models.ForeignKey, models.OneToOneField])
@pytest.mark.parametrize("app", ["billing", "marketplace"])
def test_a_key_to_billing_that_is_not_protected_is_seen(app, field, on_delete):
    with isolate_apps("billing", "marketplace"):
        meta = type("Meta", (), {"app_label": app})
        kept = field(apps.get_model("billing", "Invoice"), on_delete, null=True, related_name="+")
        model = type("Planted", (models.Model,), {"kept": kept, "Meta": meta, "__module__": __name__})
    assert foreign_keys([model]) == [f"{app}.Planted.kept is not PROTECT"]


@pytest.mark.parametrize("target", [settings.AUTH_USER_MODEL, "marketplace.Zone"])
def test_a_key_from_billing_outwards_is_seen(target):
    with isolate_apps("billing", "marketplace"):
        meta = type("Meta", (), {"app_label": "billing"})
        actor = models.ForeignKey(apps.get_model(target), models.PROTECT, related_name="+")
        model = type("Planted", (models.Model,), {"actor": actor, "Meta": meta, "__module__": __name__})
    assert foreign_keys([model]) == [f"billing.Planted.actor reaches {target}, outside billing"]
