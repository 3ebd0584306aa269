"""How the signer's process holds its key, and what it lets purchases take."""

from decimal import ROUND_DOWN, Decimal
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from bot.chain.address import Address
from bot.chain.node_url import checked_url
from bot.errors import ConfigError
from bot.settings.part import Part


class CapSettings(Part):
    """Most of one token that purchases may take, in whole tokens. The zero address is the coin."""

    token: Address
    decimals: int = Field(ge=0, le=36)
    per_transaction: Decimal = Field(gt=0, allow_inf_nan=False)
    per_day: Decimal = Field(gt=0, allow_inf_nan=False)  # in any 24 hours

    @property
    def transaction_raw(self) -> int:
        return self._raw(self.per_transaction)

    @property
    def day_raw(self) -> int:
        return self._raw(self.per_day)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.per_day < self.per_transaction:
            raise ValueError(f"per_day {self.per_day} is under per_transaction {self.per_transaction}")
        return self

    def _raw(self, amount: Decimal) -> int:
        return int((amount * 10**self.decimals).to_integral_value(ROUND_DOWN))


class SignerSettings(Part):
    """The signer's own section. Without ``caps`` purchases are bounded by their orders alone.

    ``folder``, ``user`` and ``group`` stand together: a signer under a user of its own keeps its memory where
    the bot cannot write, and lets in whom the group holds.
    """

    url: SecretStr | None = None  # of a Web3Signer that holds the key, in place of account.keystore
    timeout_s: float = Field(default=5.0, gt=0.0, le=60.0)  # for one signature
    caps: tuple[CapSettings, ...] = ()
    folder: Path | None = None  # of its memory and socket, in place of state_dir
    user: str = ""  # that it runs under, where that is not the bot's
    group: str = ""  # whose members may ask it

    @model_validator(mode="after")
    def _check(self) -> Self:
        tokens = [cap.token for cap in self.caps]
        if len(set(tokens)) != len(tokens):
            raise ValueError("caps: a token stands there twice; keep one cap for each")
        if len({bool(self.folder), bool(self.user), bool(self.group)}) != 1:
            raise ValueError(
                "folder, user and group stand together: a signer under a user of its own needs a folder that "
                "the bot cannot write to, and a group that lets the bot in"
            )
        if self.url is not None:
            try:
                url = self.url.get_secret_value()
                checked_url(url, schemes=("http", "https"), allow_plain=False, what="signer.url")
            except ConfigError as error:
                raise ValueError(str(error)) from None
        return self
