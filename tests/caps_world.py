"""The signer's rolling caps in a world of crashes and clocks that jump, beside a model of the true time.

One cap is of a token, the other of gas. The desk, its memory and its file are the real ones. The model is a
list of what was signed, at true times.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from send_builders import CHAIN_ID, KEY
from signer_builders import MARKET, RULES, TOKEN, approve, cancel, unsigned

from bot.chain.fees import GWEI, Fees
from bot.chain.signer import Unsigned
from bot.chain.signing.desk import SigningDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.chain.signing.rules import COIN, Cap, ChainRules, SigningRules
from bot.errors import VenueRejected
from bot.model.units import DAY_S

CAP_RAW, TRANSACTION_RAW = 1_000, 600
GAS_CAP_WEI = 30_000_000 * GWEI
BEGAN_S = 1_700_000_000.0
TEN_YEARS_S = 3_652.0 * DAY_S
_SKEW_S = 900.0
_RULES = SigningRules(
    chains=(
        ChainRules(
            chain_id=CHAIN_ID,
            permissions=RULES,
            caps={
                TOKEN: Cap(transaction_raw=TRANSACTION_RAW, day_raw=CAP_RAW),
                COIN: Cap(transaction_raw=GAS_CAP_WEI, day_raw=GAS_CAP_WEI),
            },
            most_skew_s=_SKEW_S,
        ),
    )
)


@dataclass
class CapsWorld:
    """``true_s`` is what nobody in it knows. The clocks of machine and chain are off by what they say."""

    folder: Path
    true_s: float = BEGAN_S
    machine_off_s: float = 0.0
    chain_off_s: float = 0.0
    boot: int = 1
    booted_s: float = BEGAN_S - 500.0
    signed: dict[int, list[tuple[float, int]]] = field(default_factory=dict)  # nonce -> (true time, raw)
    gas: dict[int, list[tuple[float, int]]] = field(default_factory=dict)  # nonce -> (true time, more wei)
    nonce: int = 0
    refused: int = 0
    _told_in: int = 0  # boot

    def __post_init__(self) -> None:
        self._open()

    # what happens

    def buy(self, raw: int) -> bool:
        """Ask for a new allowance of ``raw``; say whether it was signed."""
        done = self._ask(self.nonce, raw, fee_gwei=20)
        self.nonce += done
        return done

    def replace(self, back: int, fee_gwei: int) -> bool:
        """Ask for an earlier one again, at another fee."""
        nonce = self.nonce - 1 - back
        return nonce in self.signed and self._ask(nonce, self.signed[nonce][-1][1], fee_gwei=fee_gwei)

    def cancel(self, back: int, fee_gwei: int = 20) -> None:
        """A cancel is no proof that the purchase was not mined: the model counts on."""
        nonce = self.nonce - 1 - back
        if nonce in self.signed and self._clocks_agree:
            self._told_in = self.boot
            self._signs(cancel(nonce=nonce, fees=Fees(max_fee_wei=fee_gwei * GWEI, tip_wei=GWEI)))

    def pass_time(self, seconds: float) -> None:
        self.true_s += seconds

    def restart(self) -> None:
        self.memory.close()
        self._open()

    def crash(self, raw: int, part: float) -> None:
        """Die in the write of the next signature: a part of its line is kept, its answer never leaves."""
        before = self.path.stat().st_size
        nonce, known = self.nonce, {key: list(items) for key, items in self.signed.items()}
        gas = {key: list(items) for key, items in self.gas.items()}
        if not self.buy(raw):
            return
        self.memory.close()
        size = self.path.stat().st_size
        os.truncate(self.path, before + int(part * (size - before)))
        self.nonce, self.signed, self.gas = nonce, known, gas
        self._told_in = 0  # the line that told the time may be cut off too
        self._open()
        # A line that was whole is a nonce that is taken: the bot asks for the next one.
        self.nonce = max(self.nonce, self.memory.highest(CHAIN_ID, self.desk.address.lower()) + 1)

    def reboot(self, seconds: float) -> None:
        """Take the machine down for a while."""
        self.memory.close()
        self.true_s += seconds
        self.boot, self.booted_s = self.boot + 1, self.true_s
        self._open()

    # what must hold

    @property
    def most_in_a_day(self) -> int:
        """Return the most that was signed for in any true 24 hours."""
        return _most_in_a_day(items[0] for items in self.signed.values())  # a nonce comes true once

    @property
    def most_gas_in_a_day(self) -> int:
        return _most_in_a_day(item for items in self.gas.values() for item in items)

    @property
    def beyond(self) -> int:
        """Return by how much any cap was passed, 0 for not."""
        return max(0, self.most_in_a_day - CAP_RAW, self.most_gas_in_a_day - GAS_CAP_WEI)

    @property
    def chain_s(self) -> float:
        return self.true_s + self.chain_off_s

    @property
    def path(self) -> Path:
        return self.folder / "signer.log"

    @property
    def knows_time(self) -> bool:
        """Whether a request since the boot, at clocks that agreed, has told the signer what the time is."""
        return self._told_in == self.boot

    @property
    def _clocks_agree(self) -> bool:
        return abs(self.chain_off_s - self.machine_off_s) <= _SKEW_S

    def _open(self) -> None:
        self.memory = SignerMemory(self.path)
        self.desk = SigningDesk(
            LocalKey(KEY),
            _RULES,
            self.memory,
            clock=lambda: self.true_s + self.machine_off_s,
            up=lambda: (f"boot {self.boot}", self.true_s - self.booted_s),
        )

    def _ask(self, nonce: int, raw: int, *, fee_gwei: int) -> bool:
        asked = unsigned(
            nonce=nonce,
            to=TOKEN,
            data=approve(MARKET, raw),
            fees=Fees(max_fee_wei=fee_gwei * GWEI, tip_wei=GWEI),
            valid_until_s=self.chain_s + 600,
        )
        self._told_in = self.boot if self._clocks_agree else self._told_in
        if done := self._signs(asked):
            self.signed.setdefault(nonce, []).append((self.true_s, raw))
        return done

    def _signs(self, asked: Unsigned) -> bool:
        """Say whether a request is signed; its gas counts where it is dearer than its nonce was."""
        try:
            assert len(self.desk.sign(asked, now_s=self.chain_s)) == 65
        except VenueRejected:
            self.refused += 1
            return False
        items = self.gas.setdefault(asked.nonce, [])
        items.append((self.true_s, max(0, asked.gas * asked.fees.max_fee_wei - sum(wei for _, wei in items))))
        return True


def _most_in_a_day(found: Iterable[tuple[float, int]]) -> int:
    spends = sorted(found)
    return max(
        (sum(raw for at_s, raw in spends if end_s - DAY_S < at_s <= end_s) for end_s, _ in spends), default=0
    )
