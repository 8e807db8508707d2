"""Every word that a document prints by itself, in each language, in one place."""

from typing import Final, Literal

Language = Literal["zh-hans", "en"]
LANGUAGES: Final[tuple[Language, ...]] = ("zh-hans", "en")

# key: (Chinese, English)
_TEXTS: Final[dict[str, tuple[str, str]]] = {
    "title": ("算力账单", "Invoice"),
    "title.credit_note": ("贷项通知单", "Credit note"),
    "title.debit_note": ("借项通知单", "Debit note"),
    "number": ("账单编号", "Invoice number"),
    "note_number": ("单据编号", "Number"),
    "corrects": ("更正账单", "Corrects invoice"),
    "corrects_note": (
        "本单更正账单 {number}（{date} 开具），该账单保持不变；各行仍属其用量发生的期间。",
        "This corrects invoice {number} of {date}, which stays as it was issued; each line keeps the time of its use.",
    ),
    "corrected": (
        "原为 {before} {unit}、{was}，现为 {after} {unit}、{now}",
        "was {before} {unit}, {was}; is {after} {unit}, {now}",
    ),
    "cause.usage": (
        "开具后收到用量事件 {recorded} 条，更正 {corrected} 条",
        "Usage events after issue: {recorded} came, {corrected} were corrected",
    ),
    "why.correction": (
        "本行更正账单 {number} 中 {span} 的一行，该账单保持不变。",
        "This corrects a line of invoice {number}, of {span}; the invoice stays as it was issued.",
    ),
    "why.back": ("{programme}就本行退回 {share}。", "{programme} takes back {share} of this line."),
    "stop": ("。", "."),
    "cause.dispute": ("异议成立", "A dispute was upheld"),
    "clawed_back": ("退回{programme}资助", "Taken back by {programme}"),
    "corrections": ("以前月份更正", "Corrections of earlier months"),
    "corrects_of": ("更正账单 {number}（{period}）", "Corrects invoice {number} ({period})"),
    "this_month": ("本月", "This month"),
    "corrections_total": ("更正合计", "Corrections"),
    "due_in_all": ("应付总额", "In all due"),
    "credited_in_all": ("应退总额", "In all credited"),
    "due_in_all_capitals": ("应付总额（大写）", ""),
    "corrections_note": (
        "以前月份的更正各有自己的贷项或借项通知单，随本账单一并结算；上列本月费用不含更正。",
        "Each correction of an earlier month is a credit or debit note of its own, settled with this invoice; this month's charges are without it.",
    ),
    "settled_on": ("结算账单", "Settled on"),
    "amount_settled": (
        "随账单 {number} 结算（含税，{currency}）",
        "Settled on invoice {number}, tax included ({currency})",
    ),
    "settled_note": (
        "本单随账单 {number} 一并结算，不另行付款。",
        "This is settled on invoice {number}; nothing is paid of it by itself.",
    ),
    "issued": ("开具日期", "Issued"),
    "period": ("计费周期", "Billing period"),
    "due": ("付款期限", "Due"),
    "account": ("账户", "Account"),
    "amount_due": ("应付金额（含税，{currency}）", "Amount due, tax included ({currency})"),
    "amount_credited": ("应退金额（含税，{currency}）", "Amount credited, tax included ({currency})"),
    "pay_by": ("请于 {date} 前（含当日）付款", "Please pay by {date}"),
    "seller": ("销售方", "Seller"),
    "buyer": ("购买方", "Buyer"),
    "credit_code": ("统一社会信用代码", "Unified social credit code"),
    "address": ("地址", "Address"),
    "by_kind": ("费用构成（不含税，{currency}）", "Charges by kind (before tax, {currency})"),
    "by_tou": ("分时用量", "Use by time of day"),
    "lines": ("账单明细", "Charges in detail"),
    "position": ("序号", "No."),
    "item": ("项目", "Item"),
    "quantity": ("数量", "Quantity"),
    "unit": ("单位", "Unit"),
    "unit_price": ("单价", "Unit price"),
    "amount": ("金额（{currency}）", "Amount ({currency})"),
    "contract": ("合同 {contract}", "Contract {contract}"),
    "tariff": ("资费 {tariff} 第 {version} 版", "Tariff {tariff}, version {version}"),
    "provider": ("算力提供方 {provider}", "Provided by {provider}"),
    "no_lines": ("本周期无费用", "No charges in this period"),
    "tier": ("第 {tier} 阶梯", "tier {tier}"),
    "net": ("合计（不含税）", "Total before tax"),
    "tax": ("增值税 {rate}（计税金额 {net}）", "VAT {rate} on {net}"),
    "tax_other": ("增值税 {rate}，类别 {category}（计税金额 {net}）", "VAT {rate}, category {category}, on {net}"),
    "gross": ("价税合计", "Total with tax"),
    "payable": ("应付金额", "Payable"),
    "payable_capitals": ("应付金额（大写）", ""),
    "programme_share": ("{programme}资助", "Paid by {programme}"),
    "line_share": ("资助 {share}，自付 {payable}", "paid by {share}, by you {payable}"),
    "funding_share": (
        "{programme}（{funder}）：资助基数 {eligible}，{rate}，计 {wanted}，实际资助 {share}。",
        "{programme} ({funder}): {rate} of {eligible} is {wanted}; it pays {share}.",
    ),
    "funding_percent": ("资助比例 {percent}", "{percent}"),
    "funding_amount": ("每{unit}资助 {amount}", "{amount} per {unit}"),
    "funding_limited": ("受限于{limit}。", " Limited by {limit}."),
    "funding_reimbursed": (
        "该项由贵方先行支付，凭本账单向资助方申领。",
        " You pay it first, and claim it from the funder with this invoice.",
    ),
    "limit.invoice_cap": ("单张账单资助上限", "the cap for an invoice"),
    "limit.firm_cap": ("单家企业资助上限", "the cap for a firm"),
    "limit.budget": ("项目预算余额", "what is left of the budget"),
    "limit.stacking": ("不可与同组项目叠加", "another programme of its group"),
    "limit.window": ("资助期限", "the days for which it pays"),
    "capitals": ("价税合计（大写）", ""),
    "not_fapiao": (
        "本账单为计费与结算凭证，不是增值税发票；发票以税务机关赋号的数电票为准。",
        "This is a bill for settlement. It is not a VAT fapiao: only the tax authority's digital fapiao is one.",
    ),
    "charged": ("计费 {amount}", "charged {amount}"),
    "less": ("减去 {formula}", "less {formula}"),
    "computation": ("计算过程", "Computation"),
    "explained_below": ("各行的计算过程见后页。", "How each line was computed stands on the pages that follow."),
    "explained": ("计算说明", "How each line was computed"),
    "explained_readings": (
        "用量由计量读数累计，按基本单位取整数，不作舍入；时段按区间开始时刻的当地时间（{timezone}）判定；跨越阶梯上限的区间在上限处拆分。",
        "Use is the sum of the meter's readings, whole numbers of its base unit, never rounded. The local time ({timezone}) at an interval's start decides its time of day; an interval across a tier's edge is split there.",
    ),
    "explained_rounding": (
        "每行金额仅在最后四舍五入一次至 {currency} 最小货币单位；税额按同一税率的各行合计后计算。",
        "Each line is rounded once, at its end, half up to the minor unit of {currency}; tax is computed on the sum of the lines of one rate.",
    ),
    "explained_gpu": (
        "1 卡时为 1 块 GPU 占用 1 小时，即 3,600 卡秒。",
        "A GPU-h is one GPU in use for one hour: 3,600 GPU-s.",
    ),
    "page": ("第 {page} 页，共 {pages} 页", "Page {page} of {pages}"),
    "separator": ("：", ": "),
    "comma": ("，", ", "),
    "semicolon": ("；", "; "),
    "between": ("·", ", "),
    "to": (" 至 ", " – "),
    "yes": ("是", "yes"),
    "no": ("否", "no"),
    # why a line was charged, in sentences
    "why.energy": (
        "{span}，“{period}”时段共用 {quantity}，由 {readings} 个 15 分钟读数区间累计。",
        "{span}: {quantity} were used in the time of day “{period}”, which has {readings} intervals of readings.",
    ),
    "why.energy_all": (
        "{span}，共用 {quantity}，由 {readings} 个读数区间累计。",
        "{span}: {quantity} were used, over {readings} intervals of readings.",
    ),
    "why.tier": ("属于第 {tier} 阶梯：{about}。", "This is the part in tier {tier}: {about}."),
    "why.price": ("单价为每{unit} {price}。", "The price is {price} for each {unit}."),
    "why.prorated": (
        "该单价按整月计，本行只占整月的 {part}。",
        " It is for a whole month, of which this line covers {part}.",
    ),
    "why.demand": (
        "{span}，“{period}”时段内 {interval}平均用量最高为 {measured}。",
        "{span}: the greatest average of {interval} in the time of day “{period}” was {measured}.",
    ),
    "why.demand_all": (
        "{span}，{interval}平均用量最高为 {measured}。",
        "{span}: the greatest average of {interval} was {measured}.",
    ),
    "why.ratchet": (
        "低于需量棘轮下限：不少于前 {months} 个月最高需量的 {percent}%，即 {floor}，按此计费。",
        "That is below the ratchet: at least {percent}% of the greatest demand in the {months}-month look-back, {floor}, is charged.",
    ),
    "why.capacity": ("{span}，预留 {reserved}，计 {time}。", "{span}: {reserved} were reserved, for {time}."),
    "why.standing": ("{span}，计 {time}，与用量无关。", "{span}: {time}, whatever was used."),
    "why.rider_per_unit": (
        "在 {of} 的用量之上，每{unit}附加 {value} {currency}。",
        "On top of {of}: {value} {currency} for each {unit}.",
    ),
    "why.rider_percent": (
        "{of} 合计 {amount}，附加 {value}%。",
        "On top of {of}, together {amount}: {value}%.",
    ),
    "why.rider_fixed": ("每月固定附加 {value} {currency}。", "A fixed {value} {currency} a month on top."),
    "why.credit_per_unit": (
        "对 {of} 每{unit}抵扣 {value} {currency}。",
        "Off {of}: {value} {currency} for each {unit}.",
    ),
    "why.credit_percent": ("{of} 合计 {amount}，抵扣 {value}%。", "Off {of}, together {amount}: {value}%."),
    "why.credit_fixed": ("每月固定抵扣 {value} {currency}。", "A fixed {value} {currency} a month off."),
    "why.credit_limited": (
        "可抵扣 {offered}，以被抵扣项目的余额为限。",
        "Of {offered}, as much as is left of what it is taken off.",
    ),
    "why.minimum": (
        "{counts} 合计 {counted}，未达到本期保底 {minimum}，差额补足。",
        "{counts} come to {counted}, less than this month's minimum of {minimum}: the rest is charged.",
    ),
    "why.one_off": ("{at} 发生的{what}，一次性计费。", "{what}, charged once, for {at}."),
    "why.tax": (
        "金额不含税；增值税 {rate} 按同一税率各行的合计计算。",
        "The amount is before tax; VAT of {rate} is computed on the sum of all lines of that rate.",
    ),
    "why.share": (
        "{programme}（{funder}）为本行支付 {share}。",
        "{programme} ({funder}) pays {share} of this line in your place.",
    ),
    "why.reimbursed": (
        "本行可凭账单向{programme}（{funder}）申领 {share}，由贵方先行支付。",
        "You can claim {share} of this line from {programme} ({funder}); you pay it first.",
    ),
    "why.no_share": ("{programme}（{funder}）不为本行支付。", "{programme} ({funder}) pays nothing of this line."),
    "why.whole": (
        "该项目就本账单共支付 {share}（基数 {eligible}），按各行金额以最大余额法分摊。",
        "It pays {share} of the {eligible} of this invoice that it pays for, shared out to the lines by their amounts.",
    ),
    "why.limited": (
        "该项目就本账单应计 {wanted}（基数 {eligible}），受限于{limit}，实付 {share}，按各行金额分摊。",
        "On this invoice it would pay {wanted} of {eligible}; limited by {limit}, it pays {share}, shared out to the lines by their amounts.",
    ),
    "why.payable": ("贵方为本行支付 {payable}（不含税）。", "You pay {payable} of this line, before tax."),
    # charge kinds
    "kind.standing": ("基本费", "Standing charge"),
    "kind.energy": ("用量费", "Usage charge"),
    "kind.capacity": ("容量费", "Capacity charge"),
    "kind.demand": ("需量费", "Demand charge"),
    "kind.minimum": ("保底", "Minimum charge"),
    "kind.rider": ("附加", "Rider"),
    "kind.credit": ("抵扣", "Credit"),
    "kind.one_off": ("一次性费用", "One-off charge"),
    # one-off charges by their codes
    "one_off.CANCEL": ("取消费", "Cancellation fee"),
    "one_off.SERVICE": ("服务补偿", "Service credit"),
    # time-of-use periods
    "tou.critical": ("尖", "critical peak"),
    "tou.peak": ("峰", "peak"),
    "tou.flat": ("平", "flat"),
    "tou.valley": ("谷", "valley"),
    "tou.all": ("全时段", "all hours"),
    # units: a GPU-hour is called 卡时 by those who buy it
    "unit.gpu": ("卡", "GPU"),
    "unit.gpu_second": ("卡秒", "GPU-s"),
    "unit.gpu_hour": ("卡时", "GPU-h"),
    "unit.gpu_day": ("卡日", "GPU-day"),
    "unit.gpu_month": ("卡月", "GPU-month"),
    "unit.item": ("项", "item"),
    "unit.percent": ("%", "%"),
    "unit.minor": ("最小货币单位", "minor units"),
    "unit.second": ("秒", "s"),
    "unit.minute": ("分钟", "min"),
    "unit.hour": ("小时", "h"),
    "unit.day": ("天", "day"),
    "unit.month": ("月", "month"),
    "unit.year": ("年", "year"),
    # what a line's explanation may hold
    "explain.span": ("期间", "From"),
    "explain.intervals": ("区间", "Intervals"),
    "explain.interval_seconds": ("区间长度", "Interval"),
    "explain.meter": ("计量点", "Meter"),
    "explain.tier": ("阶梯", "Tier"),
    "explain.reserved": ("预留", "Reserved"),
    "explain.per": ("计价单位", "Priced per"),
    "explain.basis": ("计价方式", "Basis"),
    "explain.of": ("计费基础", "Of"),
    "explain.value": ("费率", "Value"),
    "explain.base": ("基数", "Base"),
    "explain.minimum": ("保底金额", "Minimum"),
    "explain.amounts": ("月保底标准", "Minimum per month"),
    "explain.counts": ("计入项目", "Counts"),
    "explain.counted": ("已计金额", "Counted"),
    "explain.time": ("时间", "Time"),
    "explain.measured_base": ("实测最大值", "Measured peak"),
    "explain.ratchet": ("需量棘轮", "Ratchet"),
    "explain.percent": ("比例 %", "percent"),
    "explain.lookback_months": ("回溯月数", "months looked back"),
    "explain.past_base": ("往月峰值", "past peaks"),
    "explain.floor_base": ("下限", "floor"),
    "explain.prorated": ("按时间折算", "Prorated"),
    "explain.of_amount": ("基数金额", "Amount it is a part of"),
    "explain.offered": ("可抵扣额", "Offered"),
    "explain.at": ("发生时间", "At"),
    "explain.why": ("原因", "Reason"),
    "explain.cause": ("更正原因", "Why"),
    "explain.service_level_percent": ("约定可用率 %", "agreed service level, %"),
    "explain.uptime_percent": ("实际可用率 %", "measured uptime, %"),
    "explain.reserved_gpu_seconds": ("预订 GPU 秒", "GPU-seconds reserved"),
    "explain.lost_gpu_seconds": ("损失 GPU 秒", "GPU-seconds lost"),
    "explain.faults": ("故障", "Faults"),
    "explain.years_from": ("合同年起点", "contract years from"),
    "basis.per_unit": ("按用量", "per unit"),
    "basis.percent": ("按比例", "percentage"),
    "basis.fixed": ("固定金额", "fixed"),
    "tier.first": ("至 {up_to} {unit}", "up to {up_to} {unit}"),
    "tier.span": ("{above} 以上至 {up_to} {unit}", "above {above} up to {up_to} {unit}"),
    "tier.last": ("{above} {unit}以上", "above {above} {unit}"),
    "tier.month": ("按月累计", "counted by the month"),
    "tier.day": ("按日累计", "counted by the day"),
    "tier.contract_year": ("按合同年累计", "counted by the contract year"),
    "tier.across_periods": ("各时段合并", "all times of day together"),
    "tier.per_period": ("各时段分别", "each time of day by itself"),
    "tier.graduated": ("超额累进", "graduated"),
    "tier.volume": ("全额累进", "whole volume at the tier's price"),
}


def text(key: str, language: Language, **values: object) -> str:
    """The words under key, with values put in. Raises KeyError for a key that is not in the table."""
    return _TEXTS[key][LANGUAGES.index(language)].format(**values)


def name(family: str, code: str, language: Language) -> str:
    """The word for a code of a family (kind, tou, unit, tier, explain); a code without one stands for itself."""
    key = f"{family}.{code}"
    return _TEXTS[key][LANGUAGES.index(language)] if key in _TEXTS else code


def is_known(family: str, code: str) -> bool:
    return f"{family}.{code}" in _TEXTS


def texts(language: Language) -> dict[str, str]:
    """All words of one language by key, their placeholders not filled."""
    return {key: pair[LANGUAGES.index(language)] for key, pair in _TEXTS.items()}
