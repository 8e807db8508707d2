import io
import json
import multiprocessing
import re
import threading
import time
from datetime import UTC, datetime

import pytest
from pypdf import PdfReader

from billing.documents import figures
from billing.documents.content import content
from billing.documents.invoice import LayoutError, SnapshotRefusedError, preview_pages, render_invoice
from billing.documents.labels import LANGUAGES
from tests.billing.documents_sample import BUYER, ISSUER, PROVIDER, facts, sample, tariff_document, text, with_charges
from tests.billing.waiting import PATIENCE_SECONDS

ALL_KINDS = with_charges(
    {"kind": "rider", "code": "PWR", "basis": "per_unit", "of": ["EN"], "value": "0.12"},
    {"kind": "credit", "code": "SLA", "basis": "percent", "of": ["EN"], "value": "10"},
)


def reader(snapshot, language="zh-hans"):
    return PdfReader(io.BytesIO(render_invoice(snapshot=text(snapshot), language=language)))


def pages_of(snapshot, language="zh-hans"):
    return [page.extract_text() for page in reader(snapshot, language).pages]


def squeezed(words):
    return re.sub(r"\s+", "", words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_pages_have_number_names_codes_and_every_amount(language):
    snapshot = facts(tariff=ALL_KINDS)
    words = squeezed("".join(pages_of(snapshot, language)))
    for party in (ISSUER, BUYER):
        for field in ("name", "name_en", "credit_code", "address"):
            assert squeezed(party[field]) in words
    for value in (
        "LG-2020-000001",
        "vc-a1b2c3",
        "C-vc-a1b2c3",
        "LG-INCLUSIVE-2020",
        PROVIDER,
        "2020-06-01",
        "2020-07-01",
    ):
        assert value in words
    assert {line["kind"] for line in snapshot["lines"]} == {
        "energy",
        "demand",
        "capacity",
        "rider",
        "standing",
        "credit",
    }
    for line in snapshot["lines"]:
        assert figures.figure(line["amount_minor"], "CNY") in words
        assert figures.number(line["quantity"]) in words
    for total in ("net_minor", "tax_minor", "gross_minor"):
        assert figures.figure(snapshot[total], "CNY") in words
    assert figures.money(snapshot["gross_minor"], "CNY") in words


def test_the_first_page_says_in_chinese_what_is_due_for_what_until_when():
    snapshot = facts(scale=0)
    assert pages_of(snapshot)[0].splitlines()[:10] == [
        "上海临港算力运营有限公司",
        "Shanghai Lin-gang Compute Operations Co., Ltd. 算力账单",
        "应付金额（含税，CNY）",
        "¥530.00",
        "请于 2020-07-01 前（含当日）付款",
        "账单编号 LG-2020-000001",
        "账户 vc-a1b2c3",
        "计费周期 2020-05-01 至 2020-05-31",
        "开具日期 2020-06-01",
        "付款期限 2020-07-01",
    ]


def shown(snapshot, language):
    return content(snapshot=snapshot, language=language)


def test_lines_are_named_by_kind_time_of_use_period_and_tier_in_both_languages():
    snapshot = facts(tariff=ALL_KINDS)
    items = {
        language: [row["item"] for row in shown(snapshot, language)["lines"]["groups"][0]["rows"]]
        for language in LANGUAGES
    }
    assert items == {
        "zh-hans": [
            "用量费·峰·第 1 阶梯",
            "用量费·峰·第 2 阶梯",
            "用量费·平·第 1 阶梯",
            "用量费·平·第 2 阶梯",
            "用量费·谷·第 1 阶梯",
            "用量费·谷·第 2 阶梯",
            "需量费",
            "容量费",
            "附加",
            "基本费",
            "抵扣",
        ],
        "en": [
            "Usage charge, peak, tier 1",
            "Usage charge, peak, tier 2",
            "Usage charge, flat, tier 1",
            "Usage charge, flat, tier 2",
            "Usage charge, valley, tier 1",
            "Usage charge, valley, tier 2",
            "Demand charge",
            "Capacity charge",
            "Rider",
            "Standing charge",
            "Credit",
        ],
    }


def test_lines_say_how_they_were_computed():
    told = shown(facts(tariff=ALL_KINDS, reserved_half=True, scale=3), "en")["explained"]["items"]
    assert [(each["item"], each["formula"]) for each in told if each["code"] in {"EN", "DM", "CP", "PWR"}][:12] == [
        ("Usage charge, peak, tier 1", "1,758,486 GPU-s = 488.468333 GPU-h; 488.468333 × 5.40 = 2,637.729 → 2,637.73"),
        ("Usage charge, flat, tier 1", "2,131,092 GPU-s = 591.97 GPU-h; 591.97 × 3.60 = 2,131.092 → 2,131.09"),
        (
            "Usage charge, valley, tier 1",
            "3,158,043 GPU-s = 877.234167 GPU-h; 877.234167 × 1.80 = 1,579.0215 → 1,579.02",
        ),
        ("Usage charge, peak, tier 1", "1,883,265 GPU-s = 523.129167 GPU-h; 523.129167 × 5.40 = 2,824.8975 → 2,824.90"),
        ("Usage charge, flat, tier 1", "2,266,239 GPU-s = 629.510833 GPU-h; 629.510833 × 3.60 = 2,266.239 → 2,266.24"),
        (
            "Usage charge, valley, tier 1",
            "3,371,916 GPU-s = 936.643333 GPU-h; 936.643333 × 1.80 = 1,685.958 → 1,685.96",
        ),
        ("Demand charge", "9.88 GPU × 30.00 × 15/31 = 143.41935483… → 143.42"),
        ("Demand charge", "9.88 GPU × 30.00 × 16/31 = 152.98064516… → 152.98"),
        ("Capacity charge", "6 GPU × 360 h = 2,160 GPU-h; 2,160 × 2.10 = 4,536.00"),
        ("Capacity charge", "9 GPU × 384 h = 3,456 GPU-h; 3,456 × 2.10 = 7,257.60"),
        ("Rider", "1,957.6725 GPU-h × 0.12 = 234.9207 → 234.92"),
        ("Rider", "2,089.283333 GPU-h × 0.12 = 250.714 → 250.71"),
    ]
    assert told[0]["facts"] == (
        "From: 2020-05-01 00:00 – 2020-05-16 00:00; Intervals: 360 × 15 min; Tier: up to 5,000 GPU-h, counted by the month, "
        "all times of day together, graduated; Meter: gpu_hours"
    )


def test_minimum_and_credit_say_what_they_were_computed_from():
    minimum = shown(facts(scale=0), "zh-hans")["explained"]["items"][-1]
    assert (minimum["item"], minimum["formula"]) == ("保底", "500 - 310 = 190.00")
    assert minimum["facts"] == (
        "期间：2020-05-01 00:00 至 2020-06-01 00:00；月保底标准：500；保底金额：500；计入项目：SC，CP，EN，DM；已计金额：310"
    )
    credit = shown(facts(tariff=ALL_KINDS, scale=3), "en")["explained"]["items"][-1]
    assert credit["formula"] == "-13,124.937 × 10% = -1,312.4937 → -1,312.49"


def test_the_explanation_of_a_price_that_includes_tax_says_what_was_charged():
    tariff = tariff_document(tax={"category": "S", "rate": "0.06", "price_includes_tax": True})
    snapshot = facts(tariff=tariff, scale=0)
    first = snapshot["lines"][0]
    first["amount_minor"] = 29245  # 310.00 with 6 % of tax in it
    assert shown(snapshot, "en")["explained"]["items"][0]["formula"] == (
        "2,678,400 s = 31 day; 31 × 10.00 = 310; charged 292.45"
    )


def test_a_fact_of_the_explanation_without_a_word_of_ours_is_printed_under_its_own_key():
    snapshot = facts(scale=0)
    snapshot["lines"][0]["explanation"] |= {"waiver": {"approved": True, "by": None, "steps": [1, "2/3"]}}
    assert shown(snapshot, "en")["explained"]["items"][0]["facts"] == (
        "From: 2020-05-01 00:00 – 2020-06-01 00:00; waiver: approved yes, by –, steps 1, 0.66666666…"
    )


def test_bars_are_thousandths_of_the_greatest_and_shares_sum_to_the_whole():
    page = shown(facts(), "zh-hans")
    assert [(row["label"], row["amount"], row["share"], row["permille"]) for row in page["kinds"]["rows"]] == [
        ("用量费", "33,946.07", "56.6%", 1000),
        ("容量费", "24,998.40", "41.6%", 736),
        ("需量费", "790.40", "1.3%", 23),
        ("基本费", "310.00", "0.5%", 9),
    ]
    assert [(row["label"], row["quantity"], row["share"], row["permille"]) for row in page["tou"]["rows"]] == [
        ("峰", "2,697.59 卡时", "25.0%", 250),
        ("平", "3,257.28 卡时", "30.2%", 302),
        ("谷", "4,837.01 卡时", "44.8%", 448),
    ]


def test_a_credit_has_a_bar_of_its_own_kind_and_no_shares_are_claimed():
    rows = shown(facts(tariff=ALL_KINDS), "en")["kinds"]["rows"]
    assert [(row["label"], row["is_negative"]) for row in rows][-1] == ("Credit", True)
    assert {row["share"] for row in rows} == {""}


def test_several_contracts_stand_apart_with_their_sums():
    snapshot = facts(contracts=("C-1", "C-2"))
    groups = shown(snapshot, "en")["lines"]["groups"]
    assert [(group["heading"], group["subtotal"], len(group["rows"])) for group in groups] == [
        ("Contract C-1", "60,044.87", 9),
        ("Contract C-2", "60,044.87", 9),
    ]
    assert [row["position"] for group in groups for row in group["rows"]] == [str(n) for n in range(1, 19)]


def test_several_tariff_versions_of_a_contract_are_named_at_each_line():
    snapshot = facts()
    snapshot["lines"][0]["tariff_version"] = 2
    group = shown(snapshot, "en")["lines"]["groups"][0]
    assert group["about"] == [
        "Tariff LG-INCLUSIVE-2020, version 2",
        "Tariff LG-INCLUSIVE-2020, version 1",
        f"Provided by {PROVIDER}",
    ]
    assert [row["detail"] for row in group["rows"]][:2] == [
        "Tariff LG-INCLUSIVE-2020, version 2",
        "Tariff LG-INCLUSIVE-2020, version 1",
    ]


def test_many_lines_break_over_pages_that_repeat_the_header_and_number_themselves():
    snapshot = facts(contracts=tuple(f"C-{n:02}" for n in range(12)))
    assert len(snapshot["lines"]) == 108
    pages = pages_of(snapshot, "en")
    assert [re.findall(r"Page \d+ of \d+", page) for page in pages] == [
        [f"Page {n} of {len(pages)}"] for n in range(1, len(pages) + 1)
    ]
    explained_from = next(n for n, page in enumerate(pages) if "How each line was computed\n" in page)
    assert explained_from == 3
    with_lines = pages[:explained_from]
    assert all("No. Item Quantity Unit Unit price Amount (CNY)" in page for page in with_lines)
    assert all("No. Item Computation Amount (CNY)" in page for page in pages[explained_from:])
    assert all("LG-2020-000001" in page for page in pages)


@pytest.mark.parametrize(
    "name",
    [
        '#set page(fill: red) #panic("no")',
        r"*bold* _it_ $x^2$ `code` \u{1F600} <label> @ref // c /* c */",
        "\"quoted\" 'single' \\ back\\slash \\n",
        "= Heading #{ 1 + 1 } #sys.inputs",
        '"}]} , {"buyer": 1}',
    ],
)
def test_markup_quotes_and_backslashes_in_a_name_are_printed_as_they_are(name):
    snapshot = facts(buyer={"name": name, "account": name[:30]}, contracts=(name,))
    words = squeezed("".join(pages_of(snapshot)))
    assert words.count(squeezed(name)) >= 2
    assert reader(snapshot).metadata.author == ISSUER["name"]


def test_line_breaks_in_an_address_are_printed_as_spaces():
    words = pages_of(facts(buyer={"address": "1 Road\r\nShanghai\t200000"}), "en")[0]
    assert "1 Road Shanghai 200000" in words


def test_a_long_name_wraps_within_the_page():
    name = "超长名称" * 45
    page = reader(facts(buyer={"name": name})).pages[0]
    assert name in squeezed(page.extract_text())
    places = []
    page.extract_text(visitor_text=lambda words, _cm, tm, _font, _size: places.append((tm[4], words)))
    assert {round(x) for x, words in places if "超长" in words} != set()
    assert max(x for x, words in places if words.strip()) < float(page.mediabox.width)


def test_the_document_says_what_it_is_and_is_an_archive():
    for language, title, lang in (
        ("zh-hans", "算力账单 LG-2020-000001", "zh-CN"),
        ("en", "Invoice LG-2020-000001", "en-CN"),
    ):
        pdf = reader(facts(), language)
        assert pdf.metadata.title == title
        assert pdf.metadata.author == ISSUER["name"]
        assert pdf.metadata.creation_date == datetime(2020, 6, 1, 2, 15, tzinfo=UTC)
        assert pdf.trailer["/Root"]["/Lang"] == lang
        assert pdf.trailer["/Root"]["/MarkInfo"]["/Marked"] == True  # noqa: E712  - pypdf's own kind of true
        xmp = pdf.trailer["/Root"]["/Metadata"].get_data().decode()
        assert re.findall(r"<pdfaid:(part|conformance)>(\w)<", xmp) == [("part", "3"), ("conformance", "B")]


def test_a_second_later_the_bytes_are_the_same():
    snapshot = sample()
    before = [render_invoice(snapshot=snapshot, language=language) for language in LANGUAGES]
    time.sleep(1.1)
    assert [render_invoice(snapshot=snapshot, language=language) for language in LANGUAGES] == before


def test_another_process_makes_the_same_bytes():
    snapshot = sample()
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        made = pool.apply(render_invoice, kwds={"snapshot": snapshot, "language": "en"})
    assert made == render_invoice(snapshot=snapshot, language="en")


def test_threads_take_turns():
    snapshots = [sample(number=f"LG-2020-{n:06}") for n in range(8)]
    alone = [render_invoice(snapshot=snapshot, language="en") for snapshot in snapshots]
    made = {}
    threads = [
        threading.Thread(target=lambda n=n: made.update({n: render_invoice(snapshot=snapshots[n], language="en")}))
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [made[n] for n in range(8)] == alone


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_told_so_instead_of_waiting_for_ever():
    render_invoice(snapshot=sample(), language="en")
    context = multiprocessing.get_context("fork")
    answers = context.Queue()
    child = context.Process(target=render_and_tell, args=(answers,))
    child.start()
    kind, message = answers.get(timeout=PATIENCE_SECONDS)
    child.join()
    assert kind is LayoutError
    assert message.endswith("expected a process started by spawn")


def render_and_tell(answers):
    try:
        answers.put((bytes, str(len(render_invoice(snapshot=sample(), language="en")))))
    except LayoutError as error:
        answers.put((LayoutError, str(error)))


def test_another_format_and_another_language_are_refused():
    with pytest.raises(SnapshotRefusedError, match=r"^format is 'suanli-invoice/9': expected 'suanli-invoice/1'$"):
        render_invoice(snapshot=json.dumps({"format": "suanli-invoice/9"}), language="en")
    with pytest.raises(ValueError, match=r"^language is 'fr': expected one of zh-hans, en$"):
        render_invoice(snapshot=sample(), language="fr")


def test_an_invoice_without_lines_and_one_that_pays_back_are_printed():
    nothing = facts() | {"lines": [], "taxes": [], "net_minor": 0, "tax_minor": 0, "gross_minor": 0}
    pages = pages_of(nothing)
    assert len(pages) == 1
    assert "本周期无费用" in pages[0]
    assert "付款期限" in pages[0]
    assert "请于" not in pages[0]
    back = nothing | {"net_minor": -50000, "tax_minor": -3000, "gross_minor": -53000}
    assert pages_of(back)[0].splitlines()[2:4] == ["应退金额（含税，CNY）", "¥530.00"]
    assert "（负数）伍佰叁拾元整" in pages_of(back)[0]


def test_another_currency_has_its_own_places_and_no_capital_numerals():
    page = shown(facts() | {"currency": "JPY"}, "zh-hans")
    assert page["capitals"] is None
    assert page["total"] == ["价税合计", "JP¥6,364,756"]
    assert page["lines"]["groups"][0]["rows"][0]["amount"] == "656,858"


def test_the_preview_has_a_picture_a_page():
    snapshot = sample()
    pictures = preview_pages(snapshot=snapshot, language="en")
    assert len(pictures) == len(PdfReader(io.BytesIO(render_invoice(snapshot=snapshot, language="en"))).pages) == 2
    assert all(picture.startswith(b"\x89PNG") for picture in pictures)
