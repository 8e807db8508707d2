"""The file of accelerators becomes rows: once, again, and when it has changed."""

import json
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from marketplace import accelerators
from marketplace.models import AcceleratorModel

pytestmark = pytest.mark.django_db

PAPER = {"title": "GPU 800 datasheet", "publisher": "Test", "looked_up": "2026-11-25"}
EMPTY = dict.fromkeys([*accelerators.WORDS, *accelerators.NUMBERS])


def entry(slug, **changes):
    facts = {"slug": slug, "vendor": "T", "name": slug.upper(), "name_zh": "", "sold_in_china": None}
    peaks = dict.fromkeys(accelerators.PRECISIONS)
    return facts | EMPTY | {"peak_tflops": peaks, "sources": [PAPER]} | changes


def figure(value, **rest):
    return {"value": value, "source": 0} | rest


def write(path, *entries):
    file = path / "models.json"
    file.write_text(json.dumps(entries))
    return file


def test_the_models_that_ship_are_there_after_the_migrations():
    assert AcceleratorModel.objects.count() == len(accelerators.read()) >= 25
    stored = AcceleratorModel.objects.get(slug="amd-mi210")
    assert (stored.name, stored.memory_gb, stored.fp64_tflops, stored.tf32_tflops) == (
        "Instinct MI210",
        Decimal(64),
        Decimal("22.6"),
        None,
    )
    assert stored.sources["fp64_tflops"] == {
        "title": "AMD Releases Instinct MI210 Accelerator: CDNA 2 On a PCIe Card",
        "publisher": "AnandTech",
        "looked_up": "2026-11-25",
        "note": "vector",
    }


def test_every_figure_has_its_source_and_nothing_else_has(tmp_path):
    for stored in AcceleratorModel.objects.all():
        fields = [*accelerators.WORDS, *accelerators.NUMBERS, *(f"{each}_tflops" for each in accelerators.PRECISIONS)]
        assert {field for field in fields if getattr(stored, field) not in (None, "")} == set(stored.sources)


def test_loading_again_changes_nothing_and_a_changed_file_changes_what_differs(tmp_path, django_assert_num_queries):
    peaks = dict.fromkeys(accelerators.PRECISIONS) | {"bf16": figure("989.5", note="dense")}
    file = write(tmp_path, entry("t-1", memory_gb=figure("80"), peak_tflops=peaks), entry("t-2"))
    load = lambda: accelerators.load(model=AcceleratorModel, entries=accelerators.read(file))  # noqa: E731
    assert load() == accelerators.Loaded(added=2, changed=0, same=0)
    with django_assert_num_queries(3):  # a savepoint, its release, and the rows
        assert load() == accelerators.Loaded(added=0, changed=0, same=2)
    write(tmp_path, entry("t-1", memory_gb=figure("96"), name_zh="一号"), entry("t-2"), entry("t-3"))
    assert load() == accelerators.Loaded(added=1, changed=1, same=1)
    stored = AcceleratorModel.objects.get(slug="t-1")
    assert (stored.memory_gb, stored.bf16_tflops, stored.name_zh) == (Decimal(96), None, "一号")
    assert stored.sources == {"memory_gb": PAPER}


def test_a_model_that_left_the_file_stays(tmp_path):
    accelerators.load(model=AcceleratorModel, entries=accelerators.read(write(tmp_path, entry("t-1"))))
    accelerators.load(model=AcceleratorModel, entries=accelerators.read(write(tmp_path, entry("t-2"))))
    assert AcceleratorModel.objects.filter(slug__in=["t-1", "t-2"]).count() == 2


def test_the_command_tells_what_it_did(tmp_path, capsys):
    call_command("load_accelerators")
    assert capsys.readouterr().out == f"0 added, 0 changed, {len(accelerators.read())} as they were.\n"


@pytest.mark.parametrize("text", ["{", "[{}]", "7", '[{"slug": 1}]'])
def test_a_file_of_something_else_is_refused(tmp_path, text):
    file = tmp_path / "models.json"
    file.write_text(text)
    with pytest.raises(CommandError, match=r"models\.json is no list of accelerators"):
        call_command("load_accelerators", file=file)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(CommandError, match=r"no\.json: No such file or directory"):
        call_command("load_accelerators", file=tmp_path / "no.json")
