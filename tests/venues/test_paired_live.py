"""A pair over the real transaction manager, signer and journal: it survives the process (R27, REL-K)."""

from dataclasses import replace
from pathlib import Path

import pytest
import send_builders
from eth_account import Account

from bot.chain.signing.rules import ChainRules, SigningRules
from bot.chain.transactions import SendTerms, TransactionManager
from bot.devnet.deployment import CHAIN_ID, MNEMONIC
from bot.model.hedge import HedgeLeg, LegStatus, Side
from bot.model.intent import Receipt, TxRequest
from bot.pipeline.journal import JournalIdentity, SqlJournal
from bot.venues.lyra_terms import money_of
from bot.venues.paired import PairVenue

from .test_paired import SIZE, Pair, pair

pytestmark = pytest.mark.devnet
POINTS = [
    ("approve-perpetual-margin", True),
    ("perpetual-deposit", True),
    ("perpetual-trade", True),
    ("swap-in", True),
    ("open", False),
    ("open", True),
]


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the program may see it."""


class Process:
    """One run of the program over a journal file; ``die_at`` is (purpose, whether after it was sent)."""

    def __init__(self, found: Pair, path: Path, die_at: tuple[str, bool] | None = None) -> None:
        Account.enable_unaudited_hdwallet_features()
        account = Account.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/1")
        rules = ChainRules(
            chain_id=CHAIN_ID,
            permissions=found.venue.permissions(),
            gas_ceiling=found.venue.least_gas_ceiling,
        )
        signer = send_builders.signer(key=bytes(account.key), given=SigningRules(chains=(rules,)))
        identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=account.address)
        self.journal = SqlJournal(path, identity=identity)
        self.manager = TransactionManager(
            found.lyra.rpc,
            signer,
            self.journal,
            chain_id=CHAIN_ID,
            terms=SendTerms(poll_s=0.01, resume_wait_s=10.0),
        )
        self.address, self.die_at = account.address, die_at
        option = found.lyra.venue.adapter
        self.venue = PairVenue(
            option,
            found.perp.venue.adapter,
            reader=found.lyra.reader,
            money=money_of(option.terms, found.lyra.swap.pair),
            custody=self,
            swap=found.lyra.swap,
        )

    async def send(self, request: TxRequest) -> Receipt:
        purpose = request.purpose.partition("@")[0]
        if self.die_at == (purpose, False):
            raise Killed
        receipt = await self.manager.send(request)
        if self.die_at == (purpose, True):
            raise Killed
        return receipt

    async def resume(self, leg_key: str):
        return await self.manager.resume(leg_key)

    async def run(self, leg: HedgeLeg, found: Pair):
        """What the loop does with a leg."""
        self.journal.open_leg(leg, at_s=(await found.view()).now_s)
        outcome = await self.venue.execute(leg, view=await found.view())
        self.journal.close_leg(outcome)
        return outcome


async def in_time(found: Pair, **changes) -> HedgeLeg:
    return await found.leg(valid_until_s=(await found.view()).now_s + 600.0, **changes)


async def test_both_parts_under_the_signers_rules(pair: Pair, tmp_path: Path):
    process = Process(pair, tmp_path / "journal.db")
    leg = await in_time(pair)
    bought = await process.run(leg, pair)
    assert bought.status is LegStatus.FILLED, bought.because
    assert await pair.parts() == (SIZE, -SIZE)
    sale = replace(leg, key="plan/1", side=Side.SELL, limit_usd=0.0, position_id=bought.position_id)
    sold = await process.run(sale, pair)
    assert sold.status is LegStatus.FILLED, sold.because
    assert await pair.parts() == (0.0, 0.0)
    assert await pair.clean()
    process.journal.verify()
    process.journal.close()


@pytest.mark.parametrize(("purpose", "after"), POINTS)
async def test_killed_within_a_pair_the_next_run_ends_with_both_or_none(
    pair: Pair,
    tmp_path: Path,
    purpose: str,
    after: bool,
):
    first = Process(pair, tmp_path / "journal.db", (purpose, after))
    with pytest.raises(Killed):
        await first.run(await in_time(pair), pair)
    first.journal.close()
    second = Process(pair, tmp_path / "journal.db")
    (leg,) = second.journal.open_legs()
    outcome = await second.venue.reconcile(leg, view=await pair.view())
    whole = (purpose, after) == ("open", True)
    assert outcome.status is (LegStatus.FILLED if whole else LegStatus.REJECTED), outcome.because
    second.journal.close_leg(outcome)
    assert second.journal.open_legs() == ()
    assert await pair.parts() == ((SIZE, -SIZE) if whole else (0.0, 0.0))
    assert await pair.clean()
    second.journal.verify()
    second.journal.close()


__all__ = ["pair"]
