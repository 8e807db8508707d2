import json
import re
from collections import Counter
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.validators import validate_slug

FILE = Path(__file__).resolve().parent.parent.parent / "marketplace" / "data" / "accelerators.json"
VENDORS = {"AMD", "Biren", "Cambricon", "Huawei", "Hygon", "Iluvatar", "Moore Threads", "NVIDIA"}
WORDS = ("form_factor", "memory_type", "interconnect")
NUMBERS = ("memory_gb", "memory_bandwidth_gbps", "interconnect_gbps")
PRECISIONS = ["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8"]
KEYS = [
    "slug",
    "vendor",
    "name",
    "name_zh",
    "sold_in_china",
    "form_factor",
    "memory_gb",
    "memory_type",
    "memory_bandwidth_gbps",
    "interconnect",
    "interconnect_gbps",
    "peak_tflops",
    "sources",
]
HOST = re.compile(r"https?:|www\.|//|\b[a-z0-9-]+\.(?:ai|cn|com|de|fi|io|net|org|pl)\b", re.IGNORECASE)
MODELS = json.loads(FILE.read_text(encoding="utf-8"))


@pytest.fixture(params=MODELS, ids=lambda model: model["slug"])
def model(request):
    return request.param


def numbers(model):
    stated = [model[key] for key in NUMBERS] + [*model["peak_tflops"].values()]
    return [figure for figure in stated if figure is not None]


def figures(model):
    return numbers(model) + [model[key] for key in WORDS if model[key] is not None]


def test_there_are_at_least_twenty_five_models_of_all_eight_vendors():
    assert len(MODELS) >= 25
    assert {model["vendor"] for model in MODELS} == VENDORS


def test_models_stand_in_order_of_vendor_and_name():
    assert [(model["vendor"], model["name"]) for model in MODELS] == sorted(
        (model["vendor"], model["name"]) for model in MODELS
    )


def test_no_two_models_share_a_slug_or_a_name():
    assert max(Counter(model["slug"] for model in MODELS).values()) == 1
    assert max(Counter((model["vendor"], model["name"]) for model in MODELS).values()) == 1


def test_a_slug_fits_a_slug_field(model):
    validate_slug(model["slug"])
    assert len(model["slug"]) <= 50


def test_a_model_has_every_key_in_order_and_none_besides(model):
    assert list(model) == KEYS
    assert list(model["peak_tflops"]) == PRECISIONS


def test_a_model_says_whether_it_is_sold_in_china_or_that_nobody_knows(model):
    assert model["sold_in_china"] is None or isinstance(model["sold_in_china"], bool)


def test_a_model_has_a_name_and_perhaps_a_chinese_one(model):
    assert model["name"].strip()
    assert isinstance(model["name_zh"], str)


def test_a_figure_is_a_value_and_its_source_and_perhaps_a_note(model):
    for figure in figures(model):
        assert list(figure) in (["value", "source"], ["value", "source", "note"])
        assert isinstance(figure["value"], str)
        assert figure["value"].strip()
        assert figure.get("note", "-").strip()


def test_a_figure_points_to_a_source_of_its_model_and_no_source_is_idle(model):
    assert {figure["source"] for figure in figures(model)} == set(range(len(model["sources"])))


def test_a_source_has_a_title_a_publisher_and_the_day_it_was_looked_up(model):
    for source in model["sources"]:
        assert set(source) - {"document"} == {"title", "publisher", "looked_up"}
        assert all(isinstance(text, str) and text.strip() for text in source.values())
        assert date.fromisoformat(source["looked_up"]).isoformat() == source["looked_up"]


def test_no_source_is_listed_twice_for_a_model(model):
    seen = [tuple(sorted(source.items())) for source in model["sources"]]
    assert len(set(seen)) == len(seen)


def test_a_number_is_a_plain_positive_decimal_in_a_string(model):
    for figure in numbers(model):
        assert re.fullmatch(r"\d+(\.\d+)?", figure["value"], re.ASCII)
        assert Decimal(figure["value"]) > 0


def test_a_figure_for_fp64_or_fp32_says_which_units_it_is_for(model):
    for precision in ("fp64", "fp32"):
        figure = model["peak_tflops"][precision]
        assert figure is None or re.search("vector|matrix", figure["note"])


def test_the_file_names_no_host():
    assert HOST.findall(FILE.read_text(encoding="utf-8")) == []


def test_the_file_has_no_float():
    def refuse(literal):
        pytest.fail(f"a float: {literal}")

    json.loads(FILE.read_text(encoding="utf-8"), parse_float=refuse, parse_constant=refuse)
