"""The buyer's resources: quotes, reservations, the waitlist, projects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_view
from rest_framework.decorators import action
from rest_framework.mixins import ListModelMixin, RetrieveModelMixin

from marketplace import access, cost, month, projects, reservations
from marketplace.api import asks, bill_shapes, filters, shapes
from marketplace.api.base import Resource, described
from marketplace.models import Offering, Project, Quote, Reservation, WaitlistEntry
from marketplace.permissions import Permission
from marketplace.provisioning import credentials

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from rest_framework.request import Request
    from rest_framework.response import Response


class Buying(Resource):
    """What the key's organization has as a buyer."""

    writes = Permission.RESERVE

    def offering(self, code: str) -> Offering:
        offering: Offering = self.own(access.offerings_for(self.key), code=code)
        return offering

    def project(self, code: str | None) -> Project | None:
        if code is None:
            return None
        project: Project = self.own(access.projects_for(self.key), code=code)
        return project

    def sees_prices_of(self, row: Reservation) -> bool:
        """The buyer's, and of the buyer those who reserve or see bills."""
        carried = access.permissions_for(self.key, self.organization)
        return row.organization_id == self.organization.pk and bool(
            carried & {Permission.RESERVE, Permission.SEE_BILLS}
        )


@extend_schema_view(
    list=described("The organization's quotes, the newest first", shape=shapes.QuoteShape(many=True)),
    retrieve=described("A quote with every part of its price", shape=shapes.QuoteShape),
)
class Quotes(ListModelMixin, RetrieveModelMixin, Buying):
    model = Quote
    reads = (Permission.RESERVE, Permission.SEE_BILLS)
    related = ("offering", "project")
    order = ("-created_at", "id")
    filterset_class = filters.QuoteFilters
    serializer_class = shapes.QuoteShape
    lookup_value_converter = "uuid"

    @described("Price GPUs over a window", asks=asks.AskQuote, shape=shapes.QuoteShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002  - DRF's signature
        asked = self.read(asks.AskQuote)
        wish = {name: asked[name] for name in ("quantity", "start_at", "end_at")}

        def do(at: datetime) -> Quote:
            offering, project = self.offering(asked["offering"]), self.project(asked.get("project"))
            return reservations.quote(
                offering=offering, organization=self.organization, project=project, at=at, actor=self.actor, **wish
            )

        return self.write(do, shape=shapes.QuoteShape, status=201)

    @described(
        "Hold what was quoted; of an extension's quote, extend the reservation",
        shape=shapes.ReservationShape,
        write=True,
    )
    @action(detail=True, methods=["post"])
    def hold(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        def do(at: datetime) -> Reservation:
            quote: Quote = self.own(self.get_queryset(), pk=pk)
            verb = reservations.hold if quote.extends_id is None else reservations.extend
            return verb(quote=quote, at=at, actor=self.actor)

        return self.write(do, shape=shapes.ReservationShape)


@extend_schema_view(
    list=described(
        "What the organization reserved, and what is reserved of its pools", shape=shapes.ReservationShape(many=True)
    ),
    retrieve=described("A reservation", shape=shapes.ReservationShape),
)
class Reservations(ListModelMixin, RetrieveModelMixin, Buying):
    model = Reservation
    reads = (Permission.SEE_USAGE,)
    related = ("offering", "organization", "project", "contract")
    order = ("-created_at", "id")
    filterset_class = filters.ReservationFilters
    serializer_class = shapes.ReservationShape
    lookup_value_converter = "uuid"

    def bought(self) -> QuerySet[Reservation]:
        """Those that it may change as the buyer."""
        return Reservation.objects.filter(organization=self.organization)

    def _step(self, pk: Any, verb: Any, **facts: Any) -> Response:
        def do(at: datetime) -> Reservation:
            row = self.own(self.bought(), pk=pk)
            moved: Reservation = verb(reservation=row, at=at, actor=self.actor, **facts)
            return moved

        return self.write(do, shape=shapes.ReservationShape)

    @described("Confirm what is held", shape=shapes.ReservationShape, write=True)
    @action(detail=True, methods=["post"])
    def confirm(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        return self._step(pk, reservations.confirm)

    @described("Cancel it, at what `cancellation` says", shape=shapes.ReservationShape, write=True)
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        return self._step(pk, reservations.cancel)

    @described("Give unused hours back", asks=asks.AskEnd, shape=shapes.ReservationShape, write=True)
    @action(detail=True, methods=["post"])
    def release(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        return self._step(pk, reservations.release_hours, end_at=self.read(asks.AskEnd)["end_at"])

    @described("Price more hours", asks=asks.AskEnd, shape=shapes.QuoteShape, status=201, write=True)
    @action(detail=True, methods=["post"], url_path="extension-quotes")
    def extension_quotes(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        end_at = self.read(asks.AskEnd)["end_at"]

        def do(at: datetime) -> Quote:
            row = self.own(self.bought(), pk=pk)
            return reservations.extension_quote(reservation=row, end_at=end_at, at=at, actor=self.actor)

        return self.write(do, shape=shapes.QuoteShape, status=201)

    @described("What cancelling now would cost, and why", shape=shapes.CancellationShape)
    @action(detail=True, reads=(Permission.RESERVE, Permission.SEE_BILLS))
    def cancellation(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        row = self.own(self.bought(), pk=pk)
        return self.said(shapes.CancellationShape, reservations.cancellation(reservation=row, at=timezone.now()))

    @described(
        "What giving back the hours from `end_at` on would cost, and why",
        shape=shapes.CancellationShape,
        parameters=[asks.AskEnd],
    )
    @action(detail=True, url_path="release-cost", reads=(Permission.RESERVE,))
    def release_cost(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        row = self.own(self.bought(), pk=pk)
        cost = reservations.release_cost(reservation=row, at=timezone.now(), **self.query(asks.AskEnd))
        return self.said(shapes.CancellationShape, cost)

    @described("What its hours so far cost, by kind of charge", shape=bill_shapes.CostShape)
    @action(detail=True, reads=(Permission.RESERVE, Permission.SEE_BILLS))
    def cost(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        """As the page says it: what is measured of reservations under the same prices at the same time can't be told apart."""
        row: Reservation = self.own(self.bought().select_related("contract__account__issuer"), pk=pk)
        until_at = max(row.start_at, min(row.end_at, timezone.now()))
        has_begun = row.started_at is not None and row.start_at < until_at
        sums = cost.to_date(reservation=row, until_at=until_at) if has_begun else None
        told = {
            "until_at": until_at,
            "currency": row.currency,
            "net_minor": None if sums is None else sum(sums.values()),
            "kinds": [{"kind": kind, "net_minor": net_minor} for kind, net_minor in sorted((sums or {}).items())],
        }
        return self.said(bill_shapes.CostShape, told)

    @described("Access, as its provider handed it over: told once, and gone", shape=shapes.ShownShape)
    @action(detail=True, methods=["post"])
    def access(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        """Not by `write`: that would keep the answer in clear for those who send the same Idempotency-Key again, and what
        is told once is kept nowhere. An answer that was lost is lost; the provider hands over anew.
        """
        row = self.own(self.bought(), pk=pk)
        secret = credentials.show(reservation=row, at=timezone.now(), actor=self.actor)
        answer = self.said(shapes.ShownShape, {"access": secret})
        answer.headers["Cache-Control"] = "no-store"
        return answer

    @described("What became of it, step by step", shape=shapes.ChangeShape(many=True))
    @action(detail=True, pagination_class=None, filter_backends=())
    def changes(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        row = self.own(self.rows(), pk=pk)
        return self.said(shapes.ChangeShape, row.changes.all(), many=True)

    def _supplied(self, pk: Any, verb: Any) -> Response:
        reason = self.read(asks.AskReason)["reason"]

        def do(at: datetime) -> Reservation:
            row = self.own(access.supplied_for(Reservation, self.key), pk=pk)
            moved: Reservation = verb(reservation=row, reason=reason, at=at, actor=self.actor)
            return moved

        return self.write(do, shape=shapes.ReservationShape)

    @described(
        "As its provider: take the capacity back when the pool's notice is over",
        asks=asks.AskReason,
        shape=shapes.ReservationShape,
        write=True,
    )
    @action(detail=True, methods=["post"], writes=Permission.SUPPLY)
    def notice(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        return self._supplied(pk, reservations.give_notice)

    @described(
        "As its provider: say that it can't be delivered (any more)",
        asks=asks.AskReason,
        shape=shapes.ReservationShape,
        write=True,
    )
    @action(detail=True, methods=["post"], writes=Permission.SUPPLY)
    def failure(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        return self._supplied(pk, reservations.fail)


@extend_schema_view(
    list=described("What the organization waits for", shape=shapes.WaitlistShape(many=True)),
    retrieve=described("An entry of the waitlist", shape=shapes.WaitlistShape),
)
class Waitlist(ListModelMixin, RetrieveModelMixin, Buying):
    model = WaitlistEntry
    reads = (Permission.RESERVE, Permission.SEE_BILLS)
    related = ("offering", "project")
    order = ("-created_at", "id")
    filterset_class = filters.WaitlistFilters
    serializer_class = shapes.WaitlistShape
    lookup_value_converter = "uuid"

    @described("Wait for capacity", asks=asks.AskWaiting, shape=shapes.WaitlistShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskWaiting)
        names = ("quantity", "hours", "earliest_at", "latest_at", "max_net_minor")
        wish = {name: asked[name] for name in names}

        def do(at: datetime) -> WaitlistEntry:
            offering, project = self.offering(asked["offering"]), self.project(asked.get("project"))
            return reservations.join_waitlist(
                offering=offering, organization=self.organization, project=project, at=at, actor=self.actor, **wish
            )

        return self.write(do, shape=shapes.WaitlistShape, status=201)

    @described("Wait no longer", shape=shapes.WaitlistShape, write=True)
    @action(detail=True, methods=["post"])
    def leave(self, request: Request, pk: Any) -> Response:  # noqa: ARG002
        def do(at: datetime) -> WaitlistEntry:
            entry = self.own(WaitlistEntry.objects.filter(organization=self.organization), pk=pk)
            return reservations.leave_waitlist(entry=entry, at=at, actor=self.actor)

        return self.write(do, shape=shapes.WaitlistShape)


@extend_schema_view(
    list=described("The organization's projects", shape=shapes.ProjectShape(many=True)),
    retrieve=described("A project", shape=shapes.ProjectShape),
)
class Projects(ListModelMixin, RetrieveModelMixin, Resource):
    model = Project
    reads = (Permission.SEE_ORGANIZATION, Permission.RESERVE, Permission.MANAGE_PROJECTS, Permission.SEE_BILLS)
    writes = Permission.MANAGE_PROJECTS
    serializer_class = shapes.ProjectShape
    order = ("code",)
    lookup_field = "code"
    lookup_value_converter = "slug"

    @described("Make a project", asks=asks.AskProject, shape=shapes.ProjectShape, status=201, write=True)
    def create(self, request: Request) -> Response:  # noqa: ARG002
        asked = self.read(asks.AskProject)

        def do(at: datetime) -> Project:
            return projects.add_project(organization=self.organization, at=at, actor=self.actor, **asked)

        return self.write(do, shape=shapes.ProjectShape, status=201)

    @described("Change what is given", asks=asks.ChangeProject, shape=shapes.ProjectShape, write=True)
    def partial_update(self, request: Request, code: str) -> Response:  # noqa: ARG002
        asked = self.read(asks.ChangeProject)

        def do(at: datetime) -> Project:  # noqa: ARG001  - one shape for all
            project: Project = self.own(self.rows(), code=code)
            names = ("name", "cost_centre", "monthly_limit_minor", "warn_percents", "is_hard")
            facts = {name: getattr(project, name) for name in names} | asked
            projects.change_project(project=project, actor=self.actor, **facts)
            project.refresh_from_db()
            return project

        return self.write(do, shape=shapes.ProjectShape)

    @described("What it spends in a month", shape=shapes.SpendingShape, parameters=[asks.AskMonth])
    @action(detail=True, filter_backends=(), reads=(Permission.RESERVE, Permission.SEE_BILLS))
    def spending(self, request: Request, code: str) -> Response:  # noqa: ARG002
        rows = Project.objects.filter(
            organization=self.organization
        )  # also for those who see bills, and no list of them
        project: Project = self.own(rows, code=code)
        asked = self.query(asks.AskMonth).get("month")
        named = asked or month.running(issuer=self.organization.zone.issuer, at=timezone.now()).code
        told = {
            "month": named,
            "spent_minor": reservations.spent(project=project, month=named),
            "limit_minor": project.monthly_limit_minor,
            "warnings": reservations.warnings(project=project, month=named),
        }
        return self.said(shapes.SpendingShape, told)

    def _turn(self, code: str, verb: Any, *, with_time: bool) -> Response:
        def do(at: datetime) -> Project:
            project: Project = self.own(self.rows(), code=code)
            verb(project=project, actor=self.actor, **({"at": at} if with_time else {}))
            project.refresh_from_db()
            return project

        return self.write(do, shape=shapes.ProjectShape)

    @described("Take it off the lists", shape=shapes.ProjectShape, write=True)
    @action(detail=True, methods=["post"])
    def archive(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._turn(code, projects.archive_project, with_time=True)

    @described("Put it back", shape=shapes.ProjectShape, write=True)
    @action(detail=True, methods=["post"])
    def restore(self, request: Request, code: str) -> Response:  # noqa: ARG002
        return self._turn(code, projects.restore_project, with_time=False)
