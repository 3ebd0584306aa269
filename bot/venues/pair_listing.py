"""What venues of pairs (R27), real and on paper, show of themselves."""

from typing import Protocol

from bot.model.hedge import Quote
from bot.ports import MarketView, VenuePosition

NO_PARTS = "the leg does not say what it is made of"


class Named(Protocol):
    @property
    def name(self) -> str: ...


def pair_name(option: Named, perpetual: Named) -> str:
    return f"{option.name}+{perpetual.name}"


class ListsNothing:
    """The engine makes the quotes of pairs of what the two venues quote."""

    async def quotes(
        self,
        view: MarketView,  # noqa: ARG002 - the port's signature
        *,
        underlying: str,  # noqa: ARG002
        size: float,  # noqa: ARG002
    ) -> tuple[Quote, ...]:
        return ()

    async def held(self, view: MarketView) -> tuple[VenuePosition, ...]:  # noqa: ARG002
        """Return nothing: the option's own venue lists it, and the book knows what stands beside it."""
        return ()
