"""The programmes of Chinese cities that a zone starts from: drafts, each rule with its source, nothing guessed."""

import json
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from billing import programmes
from billing.models import Programme, ProgrammeRule
from marketplace import programme_data
from tests.billing import world

FILE = Path(programme_data.__file__).parent / "data" / "programmes.json"
DATA = json.loads(FILE.read_text())


def test_each_rule_has_the_title_the_date_and_the_address_of_its_source():
    assert [facts["code"].partition("-")[0] for facts in DATA] == [
        "shanghai",
        "hangzhou",
        "beijing",
        "shenzhen",
        "yangzhou",
    ]
    for facts in DATA:
        for rule in facts["rules"]:
            assert set(rule) == {"name", "says", "source_title", "source_date", "source_url"}
            assert all(rule.values())
            assert rule["name"] in ProgrammeRule.Name.values


def test_a_term_is_stored_only_where_a_source_says_it():
    says = {
        "percent": "share",
        "cap_firm_year_minor": "cap_firm",
        "bars_related_parties": "related_parties",
        "kinds": "scope",
    }
    for facts in DATA:
        cited = {rule["name"] for rule in facts["rules"]}
        assert {says[term] for term in facts["terms"]} <= cited


def test_they_are_loaded_as_drafts_once_with_what_is_unknown(db):
    world.issuer()
    said = StringIO()
    call_command("load_programmes", stdout=said)
    assert said.getvalue().splitlines()[-1] == "5 programmes stored as drafts."
    assert set(Programme.objects.values_list("state", flat=True)) == {"draft"}
    beijing = Programme.objects.get(code="beijing-2023")
    assert (beijing.percent, beijing.cap_firm_year_minor, beijing.bars_related_parties) == (None, 200_000_000, True)
    assert beijing.rules.get(name="share").says is None
    assert beijing.rules.get(name="zone").source_date.isoformat() == "2023-10-17"
    assert {programme.rules.count() for programme in Programme.objects.all()} == {len(ProgrammeRule.Name)}
    with pytest.raises(programmes.ProgrammeNotWholeError, match="percent or unit_amount is not known"):
        programmes.open_(programme=beijing, at=world.MAY, actor="staff")
    again = StringIO()
    call_command("load_programmes", stdout=again)
    assert again.getvalue() == "0 programmes stored as drafts.\n"


def test_without_an_issuer_there_is_nobody_whose_they_could_be(db):
    with pytest.raises(CommandError, match="The issuers are: none"):
        call_command("load_programmes")


def test_a_rule_that_says_something_has_its_source(db):
    programme = programmes.draft(issuer=world.issuer(), code="x", name="X", terms={}, at=world.MAY, actor="staff")
    with pytest.raises(programmes.InvalidProgrammeError):
        programmes.cite(programme=programme, name="share", says="30 %")
