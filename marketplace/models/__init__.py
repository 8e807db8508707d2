"""What is stored of the marketplace."""

from marketplace.models.accelerator import AcceleratorModel
from marketplace.models.api_key import ApiKey
from marketplace.models.attempt_count import AttemptCount
from marketplace.models.capacity import CapacityChange, CapacityPool, CapacitySlot, Incident, Maintenance, Site
from marketplace.models.idempotency import AnsweredRequest
from marketplace.models.job import Job, Pulse
from marketplace.models.joining import Invitation, JoinRequest, SignUp
from marketplace.models.listing import Listing, PriceProfile
from marketplace.models.membership import Membership, MembershipChange
from marketplace.models.offering import Offering, OfferingChange
from marketplace.models.organization import Organization, OrganizationChange
from marketplace.models.project import Project
from marketplace.models.provisioning import Credential, Provision, ProvisioningTask
from marketplace.models.request_count import RequestCount
from marketplace.models.reservation import Quote, Reservation, ReservationChange, ReservationMonth
from marketplace.models.silence import MeterSilence
from marketplace.models.user import User
from marketplace.models.waitlist import WaitlistEntry
from marketplace.models.zone import Zone

__all__ = [
    "AcceleratorModel",
    "AnsweredRequest",
    "ApiKey",
    "AttemptCount",
    "CapacityChange",
    "CapacityPool",
    "CapacitySlot",
    "Credential",
    "Incident",
    "Invitation",
    "Job",
    "JoinRequest",
    "Listing",
    "Maintenance",
    "Membership",
    "MembershipChange",
    "MeterSilence",
    "Offering",
    "OfferingChange",
    "Organization",
    "OrganizationChange",
    "PriceProfile",
    "Project",
    "Provision",
    "ProvisioningTask",
    "Pulse",
    "Quote",
    "RequestCount",
    "Reservation",
    "ReservationChange",
    "ReservationMonth",
    "SignUp",
    "Site",
    "User",
    "WaitlistEntry",
    "Zone",
]
