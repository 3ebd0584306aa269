"""``[breakers]``: what stops new risk until a person has looked (docs/adr/0015)."""

from pydantic import Field

from bot.pipeline.breakers import BreakerTerms
from bot.settings.part import Part


class BreakerSettings(Part):
    """When a live run pauses by itself. 0 turns a breaker off; money is USD, times are seconds."""

    window_s: float = Field(default=86_400.0, ge=600.0, le=2_592_000.0)
    failed_orders: int = Field(default=5, ge=0, le=1_000)
    wasted_gas_usd: float = Field(default=250.0, ge=0.0, allow_inf_nan=False)
    signer_refusals: int = Field(default=3, ge=0, le=1_000)
    beyond_bound: float = Field(default=0.02, ge=0.0, le=1.0)
    loss_share: float = Field(default=0.1, ge=0.0, le=1.0)
    loss_usd: float = Field(default=100.0, ge=0.0, allow_inf_nan=False)
    disagreement_s: float = Field(default=21_600.0, ge=0.0, le=2_592_000.0)
    lag_episodes: int = Field(default=24, ge=0, le=10_000)

    @property
    def terms(self) -> BreakerTerms:
        return BreakerTerms(**self.model_dump())
