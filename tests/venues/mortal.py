"""The first account of the devnet over the real transaction manager, signer and journal; it can be killed."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import send_builders
from eth_account import Account

from bot.chain.rpc import Rpc
from bot.chain.signing.rules import ChainRules, SigningRules
from bot.chain.transactions import SendTerms, TransactionManager
from bot.devnet.deployment import CHAIN_ID, MNEMONIC
from bot.model.intent import Receipt, TxRequest
from bot.model.signing import Permission
from bot.pipeline.journal import JournalIdentity, SqlJournal


class Killed(BaseException):
    """Stands for SIGKILL: no handler of the program may see it."""


class Ruled(Protocol):
    """A venue, as the signer's rules are made of it."""

    @property
    def least_gas_ceiling(self) -> int: ...

    def permissions(self) -> Sequence[Permission]: ...


class MortalAccount:
    """ports.Transactor of one run of the program over a journal file.

    ``die_at`` is (purpose, whether after it was sent); ``deadline_s`` is how long a send is followed.
    """

    def __init__(
        self,
        rpc: Rpc,
        path: Path,
        ruled: Ruled,
        die_at: tuple[str, bool] | None = None,
        deadline_s: float = 180.0,
    ) -> None:
        Account.enable_unaudited_hdwallet_features()
        account = Account.from_mnemonic(MNEMONIC, account_path="m/44'/60'/0'/0/1")
        rules = ChainRules(
            chain_id=CHAIN_ID, permissions=ruled.permissions(), gas_ceiling=ruled.least_gas_ceiling
        )
        self.signer = send_builders.signer(key=bytes(account.key), given=SigningRules(chains=(rules,)))
        identity = JournalIdentity(mode="test", chain_id=CHAIN_ID, account=account.address)
        self.journal = SqlJournal(path, identity=identity)
        self.manager = TransactionManager(
            rpc,
            self.signer,
            self.journal,
            chain_id=CHAIN_ID,
            terms=SendTerms(poll_s=0.01, resume_wait_s=min(10.0, deadline_s), deadline_s=deadline_s),
        )
        self.address, self.die_at = account.address, die_at

    async def send(self, request: TxRequest) -> Receipt:
        purpose = "revoke" if request.purpose.startswith("revoke") else request.purpose.partition("@")[0]
        if self.die_at == (purpose, False):
            raise Killed
        receipt = await self.manager.send(request)
        if self.die_at == (purpose, True):
            raise Killed
        return receipt

    async def resume(self, leg_key: str) -> Mapping[str, Receipt]:
        return await self.manager.resume(leg_key)
