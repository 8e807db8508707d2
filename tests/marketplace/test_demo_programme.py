"""manage.py demo --programme and export_programme, against shares computed here from the invoices without a programme."""

import json
from fractions import Fraction

import pytest

from tests.marketplace.test_demo import TRACE, Installation

KEYS = ["programme", "currency", "budget_minor", "committed_minor", "redeemed_minor", "left_minor", "firms"]
FIRM_KEYS = ["account", "list_minor", "share_minor", "tax_minor", "payable_minor"]
BUDGET, CAP = 20_000_000, 2_000_000


@pytest.fixture
def on_server(fresh_database, tmp_path):
    return Installation(tmp_path, fresh_database.environment | {"DATA_DIR": str(tmp_path)})


def programme(place, period):
    done = place.manage("export_programme", "sme-30", "--period", period, "--format", "json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def half_up(value):
    return (2 * value.numerator + value.denominator) // (2 * value.denominator)


def expected(invoices):
    """What sme-30 pays: 30 % of the net, half up; then the firm's cap; then the budget, in byte order of the accounts."""
    left, firms = BUDGET, []
    for invoice in sorted(invoices, key=lambda each: each["account"].encode()):
        net = invoice["net_minor"]
        share = min(half_up(Fraction(30 * net, 100)), CAP, left)
        left -= share
        firms.append(
            {
                "account": invoice["account"],
                "list_minor": net,
                "share_minor": share,
                "tax_minor": invoice["tax_minor"],
                "payable_minor": net - share + invoice["tax_minor"],
            }
        )
    return firms, left


def shared_out(share, nets):
    exact = [Fraction(share * net, sum(nets)) for net in nets]
    parts = [part.numerator // part.denominator for part in exact]
    for place in sorted(range(len(nets)), key=lambda place: (parts[place] - exact[place], place))[: share - sum(parts)]:
        parts[place] += 1
    return parts


def check(told, funded, plain):
    """All that issue says of the month, to the minor unit; `plain`: the invoices without a programme."""
    firms, left = expected(plain)
    assert list(told) == KEYS
    assert [list(firm) for firm in told["firms"]] == [FIRM_KEYS] * len(plain)
    assert told["firms"] == firms
    assert (told["programme"], told["currency"], told["budget_minor"]) == ("sme-30", "CNY", BUDGET)
    assert (told["committed_minor"], told["redeemed_minor"], told["left_minor"]) == (0, BUDGET - left, left)
    by_account = {firm["account"]: firm for firm in firms}
    for with_it, without in zip(funded, plain, strict=True):
        firm = by_account[without["account"]]
        assert {key: with_it[key] for key in without if key != "lines"} == {
            key: without[key] for key in without if key != "lines"
        }
        assert (with_it["subsidy_minor"], with_it["payable_minor"]) == (firm["share_minor"], firm["payable_minor"])
        parts = shared_out(firm["share_minor"], [line["amount_minor"] for line in without["lines"]])
        for line, plain_line, part in zip(with_it["lines"], without["lines"], parts, strict=True):
            assert {key: line[key] for key in plain_line} == plain_line
            assert (line["list_minor"], line["subsidy_minor"]) == (line["amount_minor"], part)
            assert line["payable_minor"] == line["list_minor"] - part


TIES = """
from django.db import transaction
from tests.billing.programmes_world import check_ties
with transaction.atomic():
    check_ties()
print("ties hold")
"""


def without_programme(invoice):
    more = ("subsidy_minor", "payable_minor", "funding", "list_minor")
    plain = {key: value for key, value in invoice.items() if key not in more}
    if "lines" in plain:
        plain["lines"] = [without_programme(line) for line in plain["lines"]]
    return plain


def test_the_made_up_month_with_a_programme(on_server):
    said = on_server.demo("--programme", "sme-30").splitlines()
    assert said[0].startswith("The month 2026-10, of seed 2026 with sme-30, is ready after ")
    assert said[2].split() == ["number", "account", "buyer", "GPU-hours", "net", "VAT", "gross", "sme-30", "payable"]
    assert said[15].split()[4:] == ["1,125,789.63", "67,547.37", "1,193,337.00", "188,879.55", "1,004,457.45"]
    funded = on_server.export("2026-10")
    assert sum(invoice["net_minor"] for invoice in funded) == 112578963  # as without it
    check(programme(on_server, "2026-10"), funded, [without_programme(invoice) for invoice in funded])
    assert on_server.demo("--programme", "sme-30").splitlines()[0] == (
        "The month 2026-10, of seed 2026 with sme-30, is all there; nothing was changed."
    )
    assert on_server.export("2026-10") == funded
    assert on_server.manage("shell", "-c", TIES).stdout.splitlines()[-1] == "ties hold"
    refused = on_server.manage("demo", "--no-serve")
    assert "holds a demo of seed 2026 with sme-30, not a demo of seed 2026:" in refused.stderr


def test_what_is_not_there_is_refused_in_a_sentence(on_server):
    for arguments, sentence in [
        (("nothing", "--period", "2020-05"), "there is no programme 'nothing'"),
        (("sme-30", "--period", "2020-05"), "there is no programme 'sme-30'"),
    ]:
        refused = on_server.manage("export_programme", *arguments, "--format", "json")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert refused.stderr == f"CommandError: {sentence}.\n"
    unknown = on_server.manage("demo", "--no-serve", "--programme", "nothing")
    assert unknown.returncode == 2
    assert "invalid choice: 'nothing'" in unknown.stderr


@pytest.fixture
def plain_month(on_server, shared):
    """The real month's invoices without a programme, from a run of their own."""
    on_server.demo("--trace", shared / "data" / TRACE)
    return on_server.export("2020-05")


@pytest.mark.shared
def test_the_real_month_without_a_programme_is_as_it_was(plain_month):
    assert list(plain_month[0]) == [
        "number",
        "account",
        "billing_period",
        "currency",
        "net_minor",
        "tax_minor",
        "gross_minor",
        "lines",
    ]
    firms, left = expected(plain_month)
    assert left == 0
    assert [firm["share_minor"] for firm in firms] == REAL_SHARES


# vcgkz gets what is left of the budget, those after it 0.
REAL_SHARES = [
    *(2_000_000, 2_000_000, 2_000_000, 1_637_734, 772_851, 2_000_000, 2_000_000, 2_000_000),
    *(2_000_000, 2_000_000, 1_122_317, 467_098, 0, 0, 0, 0),
]


@pytest.mark.shared
def test_the_real_month_with_a_programme_is_to_the_minor_unit_what_follows_from_the_month_without_it(on_server, shared):
    on_server.demo("--trace", shared / "data" / TRACE, "--programme", "sme-30")
    told, funded = programme(on_server, "2020-05"), on_server.export("2020-05")
    assert [firm["share_minor"] for firm in told["firms"]] == REAL_SHARES
    assert sum(invoice["net_minor"] for invoice in funded) == 272008221  # as without it
    assert sum(invoice["gross_minor"] for invoice in funded) == 288328713
    check(told, funded, [without_programme(invoice) for invoice in funded])
    assert on_server.manage("shell", "-c", TIES).stdout.splitlines()[-1] == "ties hold"
