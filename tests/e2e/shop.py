"""A market to look at in a real browser: three offerings of two providers, two of them at prices by the time of day."""

import json
from datetime import UTC, datetime, timedelta

from django.contrib.auth.hashers import PBKDF2PasswordHasher

from billing import tariffs
from marketplace import capacity, catalog, people, reservations
from marketplace.metering import gpu_meter
from marketplace.models import AcceleratorModel, Offering, Organization, Project, User, Zone
from tests.billing import world
from tests.conftest import ROOT

HOUR = timedelta(hours=1)
TERMS = [{"hours": 168, "percent": "0"}, {"hours": 24, "percent": "20"}, {"hours": 0, "percent": "50"}]
BY_TIME = json.loads((ROOT / "marketplace/data/tariffs/LG-INCLUSIVE-2020.json").read_text())


def make(password: str) -> dict:
    """Facts of the site: the buyer's address, and its rows."""
    now = datetime.now(UTC)
    gpu_meter()
    issuer = world.issuer()
    zone = Zone.objects.create(code="lingang", name="临港新片区", name_en="Lin-gang", issuer=issuer)
    cloud = _organization(zone, 2, "临港智算云", "provider")
    river = _organization(zone, 3, "浦江算力", "provider")
    sun = _organization(zone, 100, "晨曦微电子", "buyer")
    moon = _organization(zone, 101, "月华汽车", "buyer")
    offerings = [
        _offering(
            cloud, "huawei-ascend-910b3", "ascend-1", "昇腾 910B3 整机", "Ascend 910B3 by the node", 64, "by-time", now
        ),
        _offering(cloud, "nvidia-a800-sxm4-80gb", "a800-1", "A800 集群", "A800 cluster", 128, "flat-8", now),
        _offering(
            river, "nvidia-a800-sxm4-80gb", "a800-2", "A800 训练专区", "A800 for training", 256, "by-time-2", now
        ),
    ]
    hashed = PBKDF2PasswordHasher().encode(password, "salt", iterations=1000)
    owner = User.objects.create(email="owner@example.com", name="Ada", password=hashed)
    people.add_member(organization=sun, user=owner, role="owner", at=now, actor="test")
    project = Project.objects.create(
        organization=sun,
        code="eda",
        name="EDA 仿真",
        monthly_limit_minor=6_000_000,
        warn_percents=[50, 80],
        created_at=now,
        actor="test",
    )
    return {
        "email": owner.email,
        "issuer": issuer,
        "now": now,
        "sun": sun,
        "moon": moon,
        "owner": owner,
        "project": project,
        "offerings": offerings,
    }


def _organization(zone: Zone, number: int, name: str, part: str) -> Organization:
    row = people.make_organization(zone=zone, party=world.party(number), name=name, parts={part})
    Organization.objects.filter(pk=row.pk).update(state="verified")
    row.refresh_from_db()
    return row


def _offering(provider, accelerator, code, name, name_en, gpus, prices, now) -> Offering:
    site = provider.sites.first() or catalog.add_site(
        provider=provider,
        code=f"s{provider.pk}",
        name=f"{provider.name}一号机房",
        name_en="Hall 1",
        region="上海临港",
        actor="test",
    )
    pool = catalog.add_pool(
        site=site,
        accelerator=AcceleratorModel.objects.get(slug=accelerator),
        code=code,
        name=f"{name}资源池",
        name_en=f"{name_en}, pool",
        gpus=gpus,
        actor="test",
    )
    if prices.startswith("flat"):
        charges = [world.energy("5.20"), {"kind": "capacity", "code": "CP", "price": "2.80", "per": "unit_hour"}]
        document = world.document(*charges, code=prices)
    else:
        document = BY_TIME | {"code": prices}
    version = tariffs.publish(document=document, owner=provider.party, at=now - timedelta(days=60), actor="test")
    row = catalog.draft_offering(
        pool=pool,
        tariff=version.tariff,
        code=code,
        name=name,
        name_en=name_en,
        description="八卡整机，含 100 Gb 存储网络与现场值守。",
        description_en="Whole nodes of eight, with 100 Gb storage network and staff on site.",
        terms="不得用于挖矿。No mining.",
        min_quantity=8,
        step=8,
        max_quantity=gpus,
        max_hours=720,
        cancellation_terms=TERMS,
        service_level_percent="99.5",
        service_credit_percent="10",
        at=now,
        actor="test",
    )
    catalog.submit(offering=row, at=now, actor="test")
    return catalog.approve(offering=row, at=now, actor="test")


def booked(
    facts: dict, offering: Offering, buyer: Organization, *, quantity: int, first: int, hours: int, ago: int = 0
):
    """A confirmed reservation that begins `first` hours from now, made `ago` hours ago."""
    at = facts["now"] - ago * HOUR
    start_at = capacity.next_hour(facts["now"]) + first * HOUR
    quote = reservations.quote(
        offering=offering,
        organization=buyer,
        quantity=quantity,
        start_at=start_at,
        end_at=start_at + hours * HOUR,
        project=facts["project"] if buyer == facts["sun"] else None,
        at=at,
        actor=f"user:{facts['owner'].pk}",
    )
    held = reservations.hold(quote=quote, at=at, actor=f"user:{facts['owner'].pk}")
    return reservations.confirm(reservation=held, at=at, actor=f"user:{facts['owner'].pk}")
