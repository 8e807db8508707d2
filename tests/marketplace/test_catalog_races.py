"""Two who decide on an offering at once, on real connections."""

from marketplace import catalog
from marketplace.models import Offering, OfferingChange
from tests.marketplace import seller
from tests.marketplace.seller import AT, make_pool, make_provider, make_zone


def test_of_two_who_decide_at_once_one_decides(fresh_database):
    provider = make_provider(make_zone())
    offering = seller.draft(make_pool(provider), seller.prices(provider))
    catalog.submit(offering=offering, at=AT, actor="test")

    def fresh():
        return Offering.objects.get(pk=offering.pk)

    done = fresh_database.at_once(
        *[lambda: catalog.approve(offering=fresh(), at=AT, actor="a")] * 4,
        *[lambda: catalog.refuse(offering=fresh(), reason="no", at=AT, actor="b")] * 4,
    )
    won = [each for each in done if isinstance(each, Offering)]
    lost = [each for each in done if isinstance(each, catalog.OtherStateError)]
    assert (len(won), len(lost)) == (1, 7)
    assert OfferingChange.objects.count() == 3
