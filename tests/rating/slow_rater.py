"""A second opinion: rates the document itself, quarter hour by quarter hour, in exact fractions, from tariffs.md.

It shares no code with billing.rating but the shapes of what is given (periods, profiles, units, reserved spans,
calendars, history). Slow and plain on purpose.
"""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from functools import cache
from zoneinfo import ZoneInfo

QUARTER = timedelta(minutes=15)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@cache
def midnight(day, timezone):
    """The first quarter hour whose local date is the day, found by looking."""
    instant = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while instant.astimezone(ZoneInfo(timezone)).date() < day:
        instant += QUARTER
    return instant


@cache
def span_seconds(day, timezone, grain):
    """Seconds of the local day, month or year that the day lies in."""
    if grain == "day":
        first, following = day, day + timedelta(days=1)
    elif grain == "month":
        first = day.replace(day=1)
        following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
    else:
        first, following = day.replace(month=1, day=1), day.replace(year=day.year + 1, month=1, day=1)
    return int((midnight(following, timezone) - midnight(first, timezone)).total_seconds())


def contract_year(instant, contract_start, timezone):
    """How many anniversaries have passed."""
    begin, now = contract_start.astimezone(ZoneInfo(timezone)), instant.astimezone(ZoneInfo(timezone))
    years = now.year - begin.year
    try:
        anniversary = begin.replace(year=now.year)
    except ValueError:
        anniversary = begin.replace(year=now.year, day=28)
    return years if now >= anniversary else years - 1


class SlowRater:
    def __init__(self, *, period, documents, profiles, units, reserved, calendars, history, active):
        self.period, self.profiles, self.units, self.history = period, profiles, units, history
        self.zone = ZoneInfo(period.timezone)
        self.lines = []  # (kind, charge, tou_period, tier, segment, quantity, amount)
        self.cells = []  # (instant, local time, segment's number)
        self.segments = []  # (document, calendar, reserved)
        instant = period.start
        while instant < period.end:
            if active is None or (active[0] <= instant and (active[1] is None or instant < active[1])):
                document = [document for at, document in documents if at <= instant][-1]
                quantity = sum(r.quantity for r in reserved if r.start <= instant < r.end)
                facts = (document, calendars.get(document["calendar"]), quantity)
                if not self.segments or self.segments[-1] != facts:
                    self.segments.append(facts)
                self.cells.append((instant, instant.astimezone(self.zone), len(self.segments) - 1))
            instant += QUARTER

    # What is read

    def reading(self, meter, instant):
        profile = self.profiles.get(meter)
        if profile is None:
            return 0
        index = int((instant - profile.start) / QUARTER)
        return profile.quantities[index] if 0 <= index < len(profile.quantities) else 0

    def tou(self, charge, segment, local):
        document, calendar, _ = self.segments[segment]
        schedule = charge.get("schedule", document["schedule"])
        day = local.date()
        if calendar and day in calendar.holidays:
            rows = schedule.get("holiday", schedule["weekend"])
        elif (calendar and day in calendar.working_days) or day.isoweekday() <= 5:
            rows = schedule["weekday"]
        else:
            rows = schedule["weekend"]
        return rows[(local.month - 1) % len(rows)][local.hour]

    def charges(self, kind):
        """(charge, segment's number) of a kind, by code in order of appearance."""
        pairs = [(c, n) for n, (document, _, _) in enumerate(self.segments) for c in document["charges"]]
        pairs = [(c, n) for c, n in pairs if c["kind"] == kind]
        codes = list(dict.fromkeys(c["code"] for c, _ in pairs))
        return sorted(pairs, key=lambda pair: codes.index(pair[0]["code"]))

    def charge(self, code, kind, segment):
        found = [c for c in self.segments[segment][0]["charges"] if (c["code"], c["kind"]) == (code, kind)]
        return found[0] if found else None

    def seconds(self, segment):
        return 900 * sum(1 for cell in self.cells if cell[2] == segment)

    def time(self, segment, grain):
        parts = (
            Fraction(900, span_seconds(local.date(), self.period.timezone, grain))
            for _, local, number in self.cells
            if number == segment
        )
        return sum(parts, Fraction(0))

    def put(self, *line):
        self.lines.append(line)

    def of(self, codes, segment):
        return [line for line in self.lines if line[1] in codes and line[4] == segment]

    # The order of rating

    def rate(self):
        self.energy()
        self.demand()
        for charge, segment in self.charges("capacity"):
            reserved = self.segments[segment][2]
            hours = Fraction(self.seconds(segment), 3600)
            time = hours if charge["per"] == "unit_hour" else self.time(segment, charge["per"].removeprefix("unit_"))
            if reserved:
                quantity = reserved * time
                self.put(
                    "capacity", charge["code"], None, None, segment, quantity, quantity * Fraction(charge["price"])
                )
        for charge, segment in self.charges("rider"):
            quantity, amount = self.basis(charge, segment)
            if amount:
                self.put("rider", charge["code"], None, None, segment, quantity, amount)
        for charge, segment in self.charges("standing"):
            time = self.time(segment, charge["per"])
            self.put("standing", charge["code"], None, None, segment, time, time * Fraction(charge["amount"]))
        self.minimum()
        self.credits()
        return self

    def energy(self):
        for code in dict.fromkeys(charge["code"] for charge, _ in self.charges("energy")):
            year_of_start = None
            if self.history.contract_start:
                year_of_start = contract_year(self.period.start, self.history.contract_start, self.period.timezone)
            counters = defaultdict(Fraction)
            meter = next(c["meter"] for c, _ in self.charges("energy") if c["code"] == code)
            per_unit = self.units[meter].base_per_unit
            for (owner, name), base in self.history.counters.items():
                if owner == code:
                    counters["contract_year", year_of_start, name] = Fraction(base, per_unit)
            used = []  # (charge, segment, period, quantity, the windows' keys)
            for instant, local, segment in self.cells:
                charge = self.charge(code, "energy", segment)
                if charge is None:
                    continue
                quantity = Fraction(self.reading(charge["meter"], instant), per_unit)
                year = None
                if self.history.contract_start:
                    year = contract_year(instant, self.history.contract_start, self.period.timezone)
                keys = {"month": None, "day": local.date(), "contract_year": year}
                used.append((charge, segment, self.tou(charge, segment, local), quantity, keys))
            self.blocks(code, used, counters)

    def blocks(self, code, used, counters):
        ends = defaultdict(Fraction, counters)
        for _, _, name, quantity, keys in used:
            for basis, key in keys.items():
                ends[basis, key, None] += quantity
                ends[basis, key, name] += quantity
        parts = defaultdict(Fraction)
        for charge, segment, name, quantity, keys in used:
            basis = charge.get("tier_basis", "month")
            scope = None if charge.get("tier_scope", "across_periods") == "across_periods" else name
            tiers = charge["prices"][name]
            edges = [Fraction(tier["up_to"]) if "up_to" in tier else None for tier in tiers]
            if charge.get("tier_mode") == "volume":
                total = ends[basis, keys[basis], scope]
                tier = next(i for i, edge in enumerate(edges) if edge is None or total <= edge)
                parts[segment, name, tier] += quantity
            else:
                low = counters[basis, keys[basis], scope]
                high = low + quantity
                below = Fraction(0)
                for tier, edge in enumerate(edges):
                    top = high if edge is None else min(high, edge)
                    parts[segment, name, tier] += max(Fraction(0), top - max(low, below))
                    below = edge
            for each, key in keys.items():
                counters[each, key, None] += quantity
                counters[each, key, name] += quantity
        for (segment, name, tier), quantity in parts.items():
            if quantity:
                prices = self.charge(code, "energy", segment)["prices"][name]
                number = tier + 1 if len(prices) > 1 else None
                self.put("energy", code, name, number, segment, quantity, quantity * Fraction(prices[tier]["price"]))

    def demand(self):
        whole = Fraction((self.period.end - self.period.start) / timedelta(seconds=1))
        for charge, segment in self.charges("demand"):
            minutes = charge.get("interval_minutes", 15)
            by_period = charge.get("by") == "period"
            blocks, names = defaultdict(int), {}
            for instant, local, number in self.cells:
                if number == segment:
                    block = (instant - EPOCH) // timedelta(minutes=minutes)
                    blocks[block] += self.reading(charge["meter"], instant)
                    names.setdefault(block, self.tou(charge, segment, local) if by_period else "all")
            unit = self.units[charge["meter"]]
            for name, tiers in charge["prices"].items():
                measured = [total for block, total in blocks.items() if names[block] == name]
                if not measured:
                    continue
                billed = Fraction(max(measured))
                if charge.get("ratchet"):
                    past = self.history.peaks.get((charge["code"], name if by_period else None), ())
                    past = past[-charge["ratchet"]["lookback_months"] :]
                    billed = max(billed, Fraction(charge["ratchet"]["percent"]) / 100 * max(past, default=0))
                quantity = billed / unit.base_per_unit / Fraction(minutes, 60)
                below = Fraction(0)
                for index, tier in enumerate(tiers):
                    top = min(quantity, Fraction(tier["up_to"])) if "up_to" in tier else quantity
                    if top > below:
                        amount = (top - below) * Fraction(tier["price"]) * self.seconds(segment) / whole
                        number = index + 1 if len(tiers) > 1 else None
                        tou = name if by_period else None
                        self.put("demand", charge["code"], tou, number, segment, top - below, amount)
                    below = max(below, top)

    def basis(self, charge, segment):
        """What a rider or credit comes to in a segment: (quantity, amount)."""
        value = Fraction(charge["value"])
        if charge["basis"] == "fixed":
            time = self.time(segment, "month")
            return time, value * time
        lines = self.of(charge["of"], segment)
        if charge["basis"] == "percent":
            return value, value / 100 * sum((line[6] for line in lines), Fraction(0))
        quantity = sum((line[5] for line in lines), Fraction(0))
        return quantity, value * quantity

    def minimum(self):
        pairs = self.charges("minimum")
        for code in dict.fromkeys(charge["code"] for charge, _ in pairs):
            own = [(charge, segment) for charge, segment in pairs if charge["code"] == code]
            floor = sum((self.time(n, "month") * Fraction(charge["amount"]) for charge, n in own), Fraction(0))
            counted = sum((line[6] for charge, n in own for line in self.of(charge["counts"], n)), Fraction(0))
            if floor > counted:
                time = sum((self.time(n, "month") for _, n in own), Fraction(0))
                self.put("minimum", code, None, None, own[0][1], time, floor - counted)

    def credits(self):
        left = {index: line[6] for index, line in enumerate(self.lines)}
        given = []
        pairs = self.charges("credit")
        for code in dict.fromkeys(charge["code"] for charge, _ in pairs):
            own = [(charge, segment) for charge, segment in pairs if charge["code"] == code]
            groups, fixed = [], None
            for pair in own:
                if pair[0]["basis"] != "fixed":
                    groups.append([pair])
                elif fixed is None:
                    fixed = [pair]
                    groups.append(fixed)
                else:
                    fixed.append(pair)
            for group in groups:
                wanted = sum((self.basis(charge, segment)[1] for charge, segment in group), Fraction(0))
                of = [i for i, line in enumerate(self.lines) for c, n in group if line[1] in c["of"] and line[4] == n]
                taken = min(wanted, sum((left[i] for i in of), Fraction(0)))
                if taken <= 0:
                    continue
                given.append(("credit", code, None, None, group[0][1], None, -taken))
                for i in of:
                    part = min(taken, max(left[i], Fraction(0)))
                    left[i] -= part
                    taken -= part
        self.lines += given
