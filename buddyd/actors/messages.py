"""What the actors send each other and are asked: one closed set of frozen messages."""

from msgspec import Struct

from buddyd.protocol.messages import Request
from buddyd.storage.appending import Submitted


class Asked(Struct, frozen=True):
    """A request whose answer must count every entry up to number `seq`."""

    request: Request
    seq: int


class PutAway(Struct, frozen=True):
    """Write a checkpoint of everything up to entry number `seq` now; answered with PutAwayDone."""

    seq: int


class PutAwayDone(Struct, frozen=True):
    """The checkpoint is committed."""

    rows_deleted: int
    """Rows of the tier that the projection keeps which left their window."""


ProjectionMessage = Asked | PutAway
CollectorMessage = Submitted
