"""What verbs refuse, in the reader's language: English readers are told the verb's own words, others a sentence."""

import re

import pytest
from django.utils import translation

from marketplace import refusals, terms
from marketplace.capacity import MaintenanceOverError
from marketplace.terms import InvalidFactError

FIELDS = {
    *terms.OFFERING,
    "code",
    "region",
    "address",
    "interconnect",
    "notice_hours",
    "gpus",
    "gpus_per_node",
    "backend",
    "tariff",
    "reason",
}


def said(refusal, language):
    with translation.override(language):
        return refusals.for_people(refusal)


@pytest.mark.parametrize("field", sorted(FIELDS))
def test_each_fact_has_its_sentence_in_chinese(field):
    refusal = InvalidFactError(f"{field}[1].hours", 1, "something else")
    assert re.search("[\u4e00-\u9fff]", said(refusal, "zh-hans"))
    assert said(refusal, "en") == f"{field}[1].hours is 1: expected something else"


def test_each_refusal_has_its_sentence_in_chinese_and_what_has_none_its_own_words():
    with translation.override("zh-hans"):
        for table in (refusals.buying(), refusals.supplying()):
            assert [each for each, words in table.items() if not re.search("[\u4e00-\u9fff]", words)] == []
    assert said(MaintenanceOverError("over"), "en") == "over"
    assert said(MaintenanceOverError("over"), "zh-hans") == "此维护已结束、已取消或尚未开始。"
    assert said(ValueError("unforeseen"), "zh-hans") == "unforeseen"
