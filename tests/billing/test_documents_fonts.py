import pickle
import re
from string import Formatter

import pytest
from fontTools.ttLib import TTFont

from billing.documents import fonts, labels
from billing.documents.invoice import render_invoice
from tests.billing.documents_sample import facts, text


@pytest.fixture
def without_the_package(monkeypatch):
    monkeypatch.setattr(fonts, "find_spec", lambda name: None)


def test_both_weights_have_the_same_characters():
    with TTFont(fonts.folder() / fonts.FILES[1], lazy=True) as bold:
        assert fonts.FILES == ("NotoSansSC-Regular.ttf", "NotoSansSC-Bold.ttf")
        assert set(bold.getBestCmap()) == fonts.characters()


def test_a_missing_package_is_named(without_the_package):
    with pytest.raises(fonts.FontMissingError) as caught:
        fonts.folder()
    assert str(caught.value) == (
        "the font Noto Sans SC is not installed: its package rendercv-fonts is missing; run `make setup`"
    )


def test_a_missing_file_is_named(tmp_path):
    (tmp_path / "NotoSansSC-Regular.ttf").touch()
    with pytest.raises(fonts.FontMissingError) as caught:
        fonts.require_files(tmp_path)
    assert str(caught.value) == (
        "the font Noto Sans SC is not whole: NotoSansSC-Bold.ttf is missing in the package rendercv-fonts; reinstall it "
        "with `make setup`"
    )


@pytest.mark.parametrize(
    ("change", "field", "code_point"),
    [
        ({"buyer": {"name": "星河🚀科技"}}, "buyer.name", "U+1F680"),
        ({"buyer": {"name_en": "𠮷田"}}, "buyer.name_en", "U+20BB7"),
        ({"issuer": {"address": "road\u202e1"}}, "issuer.address", "U+202E"),
        ({"buyer": {"account": "a\x00b"}}, "buyer.account", "U+0000"),
        ({"buyer": {"name": "a\x7fb"}}, "buyer.name", "U+007F"),
    ],
)
def test_a_character_that_the_font_lacks_is_named_with_its_field(change, field, code_point):
    with pytest.raises(fonts.GlyphMissingError) as caught:
        render_invoice(snapshot=text(facts(**change)), language="zh-hans")
    assert caught.value.field == field
    assert f"U+{ord(caught.value.character):04X}" == code_point
    assert str(caught.value).startswith(f"{field} is ")
    assert f"has no {code_point} (" in str(caught.value)


def test_a_character_in_a_lines_explanation_is_named_too():
    snapshot = facts()
    snapshot["lines"][2]["explanation"]["note"] = ["fine", "🚀"]
    with pytest.raises(fonts.GlyphMissingError) as caught:
        render_invoice(snapshot=text(snapshot), language="en")
    assert caught.value.field == "lines[2].explanation.note[1]"


@pytest.mark.parametrize("language", labels.LANGUAGES)
def test_every_word_of_ours_can_be_printed(language):
    fonts.require_glyphs(labels.texts(language))


def test_both_languages_have_every_word_with_the_same_places_to_fill():
    chinese, english = (labels.texts(language) for language in labels.LANGUAGES)
    fields = [{key: fields_of(words) for key, words in each.items()} for each in (chinese, english)]
    only_chinese = {"capitals", "payable_capitals", "due_in_all_capitals"}
    assert fields[0] == fields[1]
    assert {key for key, words in english.items() if not words} == only_chinese
    assert {key for key, words in chinese.items() if not words} == set()
    assert not [words for words in english.values() if re.search(r"[\u3000-\u9fff\uff00-\uffef]", words)]


def fields_of(words):
    return {field for _, field, _, _ in Formatter().parse(words) if field}


def test_the_error_passes_from_one_process_to_another():
    error = pickle.loads(pickle.dumps(fonts.GlyphMissingError("buyer.name", "a🚀", "🚀")))
    assert (error.field, error.value, error.character) == ("buyer.name", "a🚀", "🚀")
    assert str(error) == (
        "buyer.name is 'a🚀': the font Noto Sans SC has no U+1F680 (ROCKET); expected only characters that it has"
    )
