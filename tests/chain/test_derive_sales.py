"""What a session key may sell: what its signer signed purchases of, at a price, no more (REL-Y1, I3)."""

import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from derive_verify import OPTION_ASSET
from derive_world import DOMAIN, KEY, OWNER, SUBACCOUNT, rule
from hypothesis import given, settings
from hypothesis import strategies as st

from bot.chain.derive_actions import E18, DeriveAction, DeriveActionRule, QuoteData, TradeData
from bot.chain.signing.derive import DeriveDesk
from bot.chain.signing.keys import LocalKey
from bot.chain.signing.memory import SignerMemory
from bot.errors import ConfigError, VenueRejected
from bot.model.units import DAY_S

NOW_S = 1_700_000_000.0
PLACE = (DOMAIN.chain_id, f"{OWNER.lower()}/{SUBACCOUNT}")
STRICT = rule(max_uncovered_contracts=0.0)


class Desk:
    """A desk whose nonces rise by themselves, over a file of its own."""

    def __init__(self, path: Path, bounds: DeriveActionRule = STRICT, *, now_s: float = NOW_S) -> None:
        self.now_s, self._nonce = now_s, int(now_s * 1e9) + path.stat().st_size if path.exists() else 0
        self.memory = SignerMemory(path)
        self._desk = DeriveDesk(
            LocalKey(KEY), bounds, self.memory, clock=lambda: self.now_s, up=lambda: ("boot", self.now_s)
        )

    def sign(self, contracts: float, *, usd: float = 10.0, sub_id: int = 5, quote: bool = False) -> str:
        """Buy, or sell what is below 0."""
        self._nonce = max(self._nonce + 1, int(self.now_s * 1e9))
        common: dict[str, Any] = {
            "asset": OPTION_ASSET, "sub_id": sub_id, "amount_e18": int(abs(contracts) * E18),
            "max_fee_e18": E18, "is_bid": contracts > 0,
        }  # fmt: skip
        price = int(usd * E18)
        action = DeriveAction(
            subaccount_id=SUBACCOUNT, nonce=self._nonce, expiry_s=int(self.now_s) + 300, owner=OWNER,
            signer=LocalKey(KEY).address,
            data=QuoteData(price_e18=price, **common)
            if quote
            else TradeData(limit_price_e18=price, recipient_id=SUBACCOUNT, **common),
        )  # fmt: skip
        signed = self._desk.sign_derive_action(action)
        assert self._desk.sign_derive_action(action) == signed  # asked again: the same, counted once
        return signed.signature


@contextmanager
def desk(path: Path, bounds: DeriveActionRule = STRICT, **changes: Any) -> Iterator[Desk]:
    made = Desk(path, bounds, **changes)
    try:
        yield made
    finally:
        made.memory.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "derive"


@pytest.mark.parametrize("usd", [0.1, 12.5, 1_000.0])
@pytest.mark.parametrize("quote", [False, True])
def test_no_more_is_sold_than_was_bought_at_any_price(path: Path, usd: float, quote: bool) -> None:
    with desk(path) as one:
        one.sign(1, quote=quote)
        with pytest.raises(VenueRejected, match="1 contracts in 24 hours beyond"):
            one.sign(-2, usd=usd, quote=quote)
        one.sign(-1, usd=usd, quote=quote)
        with pytest.raises(VenueRejected, match="max_uncovered_contracts"):
            one.sign(-1, usd=usd, quote=not quote)


def test_an_option_covers_no_other(path: Path) -> None:
    with desk(path) as one:
        one.sign(2)
        with pytest.raises(VenueRejected, match="2 contracts"):
            one.sign(-2, sub_id=6)
        one.sign(-2)


def test_what_was_bought_and_sold_is_known_after_a_restart(path: Path) -> None:
    with desk(path) as one:
        one.sign(3)
        one.sign(-1)
    with path.open("ab") as file:
        file.write(b'deadbeef {"kind":"sign","cha')  # its signature never left
    with desk(path, now_s=NOW_S + 400 * DAY_S) as again:
        assert again.memory.contracts(*PLACE, f"{OPTION_ASSET.lower()}/5") == 2 * E18
        with pytest.raises(VenueRejected, match="1 contracts"):
            again.sign(-3)
        again.sign(-2)
        with pytest.raises(VenueRejected, match=r"0\.5 contracts"):
            again.sign(-0.5)


def test_what_an_owner_allows_beyond_is_counted_for_a_day_over_all_options(path: Path) -> None:
    """Options that were held from before, and a sale that nobody took, which is signed once more."""
    with desk(path, rule(max_uncovered_contracts=2.0)) as one:
        one.sign(1)
        one.sign(-2)  # one of them uncovered
        one.sign(-1, sub_id=6)
        with pytest.raises(VenueRejected, match=r"2\.01 contracts"):
            one.sign(-0.01, sub_id=7)
        one.now_s += DAY_S - 1
        with pytest.raises(VenueRejected):
            one.sign(-1)
        one.now_s += 1
        one.sign(-2)


def test_what_no_purchase_covered_leaves_the_next_one_whole(path: Path) -> None:
    with desk(path, rule(max_uncovered_contracts=1.0)) as one:
        one.sign(-1)
        one.sign(2)
        one.sign(-2)


def test_a_cap_that_is_reached_holds_back_no_covered_sale(path: Path) -> None:
    with desk(path, rule(max_uncovered_contracts=3.0)) as one:
        one.sign(-3)
        one.sign(1)
    with desk(path, STRICT) as again:
        again.sign(-1)


def test_nothing_is_bought_or_sold_for_next_to_nothing(path: Path) -> None:
    """Else a bid that nobody takes would make contracts out of no money."""
    with desk(path) as one:
        for contracts in (1_000, -1_000):
            with pytest.raises(VenueRejected, match="price of a Derive action is 1e-12 USD"):
                one.sign(contracts, usd=1e-12)
        one.sign(1, usd=0.1)
        with pytest.raises(VenueRejected, match=r"allows 0\.1 or more \(derive.account.min_price_usd\)"):
            one.sign(-1, usd=0.099)


def test_a_memory_of_before_contracts_were_kept_is_read(path: Path) -> None:
    with desk(path) as one:
        one.sign(5)
    lines = []
    for line in path.read_text().splitlines():
        found = json.loads(line[9:])
        found.pop("contracts", None)
        text = json.dumps(found, separators=(",", ":"))
        lines.append(f"{zlib.crc32(text.encode()):08x} {text}\n")
    path.write_text("".join(lines))
    with desk(path, now_s=NOW_S + 60) as again, pytest.raises(VenueRejected, match="5 contracts"):
        again.sign(-5)
    with desk(path, rule(max_uncovered_contracts=5.0), now_s=NOW_S + 120) as said:
        said.sign(-5)


def test_a_line_of_contracts_in_another_form_is_refused_by_name(path: Path) -> None:
    with desk(path) as one:
        one.sign(1)
    *before, last = path.read_text().splitlines()
    document = json.loads(last[9:])
    for bad in ({"contracts": 7}, {"contracts": [["one"]]}, {"contracts": [["one", "two"]]}):
        text = json.dumps(document | bad, separators=(",", ":"))
        path.write_text("\n".join([*before, f"{zlib.crc32(text.encode()):08x} {text}"]) + "\n")
        with pytest.raises(ConfigError, match="line of another version"):
            SignerMemory(path)


@pytest.mark.parametrize("changes", [{"min_price_usd": 0.0}, {"max_uncovered_contracts": -1.0}])
@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_a_bound_that_bounds_nothing_is_refused(changes: dict[str, float], value: float | None) -> None:
    name = next(iter(changes))
    with pytest.raises(ConfigError, match=name):
        rule(**(changes if value is None else {name: value}))


STEPS = st.tuples(
    st.integers(-4, 4).filter(bool),
    st.integers(5, 6),
    st.booleans(),
    st.booleans(),
    st.sampled_from([0.0, 60.0, DAY_S / 2, DAY_S]),
)


@settings(max_examples=80, deadline=None)
@given(steps=st.lists(STEPS, max_size=15), most=st.integers(0, 3))
def test_in_no_day_is_more_sold_than_bought_and_the_cap(steps: list[Any], most: int) -> None:
    """Law, by a second count: over restarts and both kinds of order."""
    from tempfile import TemporaryDirectory

    held, uncovered, bounds = {5: 0, 6: 0}, [], replace(STRICT, max_uncovered_contracts=float(most))
    with TemporaryDirectory(dir="/dev/shm") as folder:
        path, now_s = Path(folder) / "derive", NOW_S
        one = Desk(path, bounds)
        for contracts, sub_id, quote, restart, waited_s in steps:
            now_s += waited_s
            one.now_s = now_s
            if restart:
                one.memory.close()
                one = Desk(path, bounds, now_s=now_s)
            beyond = max(0, -contracts - held[sub_id]) if contracts < 0 else 0
            before = sum(size for at_s, size in uncovered if at_s > now_s - DAY_S)
            if contracts < 0 and beyond and before + beyond > most:
                with pytest.raises(VenueRejected):
                    one.sign(contracts, sub_id=sub_id, quote=quote)
                continue
            one.sign(contracts, sub_id=sub_id, quote=quote)
            held[sub_id] = max(0, held[sub_id] + contracts)
            uncovered.append((now_s, beyond))
        one.memory.close()
