"""What staff read in Chinese is Chinese: names of models and fields, choices, column heads, filters, labels of forms."""

import re
from datetime import UTC, datetime

import pytest
from django.contrib.admin.templatetags.admin_list import result_headers
from django.urls import reverse
from django.utils import formats, translation

from marketplace.admin import staff
from marketplace.models import Job, MeterSilence, Pulse, Zone
from tests.marketplace.tenants import make_user
from tests.web.admin_world import rows

SAME = {"SHA-256", "ID", "PDF", "简体中文", "English"}
OURS = [model for model in staff._registry if model._meta.app_label == "billing"] + [Job, MeterSilence, Pulse, Zone]


def foreign(words):
    return sorted({word for word in map(str, words) if not re.search("[\u4e00-\u9fff]", word)} - SAME)


@pytest.fixture
def client(db, browser):
    return browser(make_user("staff", is_staff=True, is_superuser=True), language="zh-hans")


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_a_models_names_fields_and_choices_are_chinese(model):
    with translation.override("zh-hans"):
        names = [model._meta.verbose_name, model._meta.verbose_name_plural, model._meta.app_config.verbose_name]
        names += [field.verbose_name for field in model._meta.fields]
        names += [label for field in model._meta.fields for _code, label in field.choices or ()]
        assert foreign(names) == []


@pytest.mark.parametrize("model", OURS, ids=lambda model: model.__name__)
def test_column_heads_filters_labels_and_buttons_are_chinese(client, model):
    rows(1)
    name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
    page = client.get(reverse(f"{name}_changelist")).context
    changelist = page["cl"]
    with translation.override("zh-hans"):
        words = [header["text"] for header in result_headers(changelist)]
        words += [spec.title for spec in changelist.filter_specs]
        page = client.get(reverse(f"{name}_change", args=[model.objects.first().pk]))
        words += labels(page.context)
        if staff._registry[model].add_form is not None:
            words += labels(client.get(reverse(f"{name}_add")).context)
        assert foreign(words) == []
    assert client.get(reverse(f"{name}_history", args=[model.objects.first().pk])).status_code == 200


def labels(context):
    """Of the fields of a page, and of those of the tables on it."""
    yield context["title"]
    for fieldset in context["adminform"]:
        for line in fieldset:
            for field in line:
                yield re.sub("<.*?>", "", str(field.label_tag()))
    for inline in context["inline_admin_formsets"]:
        yield inline.opts.verbose_name_plural
        yield from (field["label"] for field in inline.fields())


@pytest.mark.parametrize(("name", "told"), [("DATE_FORMAT", "2026-05-01"), ("DATETIME_FORMAT", "2026-05-01 08:05")])
def test_english_writes_days_and_times_as_our_pages_do(name, told):
    with translation.override("en"):
        assert formats.date_format(datetime(2026, 5, 1, 8, 5, tzinfo=UTC), name) == told
