"""Which nonce the next intent gets, and when chain and journal disagree so that nobody may say (REL-P9, E9).

The journal's count is the truth of what was signed, the chain's of what was used. A node that shows fewer
lags, or the chain was reorganised below our depth; one that shows more says that someone else used the key.
"""

from bot.chain.account_view import AccountView
from bot.chain.intent_book import IntentBook
from bot.errors import InvariantError
from bot.model.intent import IntentState


class NonceDesk:
    """Hands out the nonces of one account on one chain.

    ``accept_nonce`` is a person's word that all transactions of the account below that nonce are known to
    them, although the journal did not send them.
    """

    def __init__(
        self, view: AccountView, book: IntentBook, *, chain_id: int, sender: str, accept_nonce: int
    ) -> None:
        self._view = view
        self._book = book
        self._chain_id, self._sender = chain_id, sender
        self._accept_nonce = accept_nonce
        self._began: int | None = None  # the chain's count at our first look
        self._pool_checked = False

    @property
    def known(self) -> int | None:
        """The nonce after the last one that the journal signed for, None before the first."""
        return self._book.next_nonce(self._chain_id, self._sender)

    def free(self, latest: int, pending: int) -> int | None:
        """Return the next nonce, None when the node shows fewer than are known to be used.

        Raises InvariantError when it shows more.
        """
        self._began = latest if self._began is None else self._began
        expected = self._expected(latest)
        if latest > expected or (latest == expected and pending > latest):
            raise InvariantError(self.drift(max(latest, pending), expected))
        return expected if latest == expected else None

    def gap(self, latest: int) -> range:
        """Return the nonces that nobody used, although a person said that they are known.

        Only a transfer to ourselves at each lets anything after them be mined. Empty when the node lags.
        """
        if latest < (self._accounted or 0):
            return range(0)
        return range(latest, self._expected(latest))

    def is_accepted(self, nonce: int) -> bool:
        return nonce < self._accept_nonce

    def is_forgotten(self, nonce: int) -> bool:
        """Say whether a nonce that the signer signed for would show that an old journal was restored.

        A journal without transactions takes the chain's count for its beginning, so the chain cannot tell.
        """
        return self.known is None and nonce >= 0 and not self.is_accepted(nonce)

    @property
    def _accounted(self) -> int | None:
        """The next nonce by the journal; while it has none, by the chain's count at our first look."""
        return self._began if self.known is None else self.known

    def _expected(self, latest: int) -> int:
        return max(latest if self._accounted is None else self._accounted, self._accept_nonce)

    async def check_reorganised(self, latest: int) -> None:
        """Tell a node that lags from a chain that lost what was final: InvariantError for the latter."""
        for intent in self._book.of_account(self._chain_id, self._sender):
            if intent.nonce < latest or not intent.block_number or intent.is_open:
                continue
            found = await self._view.block_hash(intent.block_number)
            if found and found != intent.block_hash:
                raise InvariantError(
                    f"the chain was reorganised below our depth: {intent.purpose} with nonce {intent.nonce} "
                    f"was {intent.state} in block {intent.block_number}, which is another block now. Nothing "
                    "is sent; find out what became of it, and raise chain.confirmations"
                )

    async def check_pool(self) -> None:
        """Look once for transactions that an earlier run, or somebody else, left in the pool (REL-T14).

        Those beyond the next nonce are in no count: they would be mined as soon as we filled the gap.
        """
        if self._pool_checked:
            return
        ours = {
            intent.nonce
            for intent in self._book.of_account(self._chain_id, self._sender)
            if intent.state is not IntentState.RELEASED
        }
        strange = sorted(
            nonce
            for nonce in await self._view.queued_nonces()
            if nonce not in ours and not self.is_accepted(nonce)
        )
        if strange:
            raise InvariantError(
                f"the pool holds transactions of {self._sender} that the journal does not know, with nonces "
                f"{', '.join(map(str, strange[:5]))}: something else used the key, or an old journal was "
                f"restored. Find out what they are; then allow them with accept_nonce = {strange[-1] + 1}"
            )
        self._pool_checked = True

    def drift(self, found: int, expected: int) -> str:
        """Return what a person reads when the account has other transactions than the journal."""
        return (
            f"account {self._sender} has nonce {found} on chain {self._chain_id}, the journal accounts for "
            f"{expected}: something else used the key, or an old journal was restored. "
            f"Find out what was sent; then allow it with accept_nonce = {found}"
        )
