"""The key of the devnet's user, whose bot the campaign breaks."""

from functools import cache

from eth_account import Account

from bot.chain.accounts import ETHEREUM_DEFAULT_PATH
from bot.devnet.deployment import MNEMONIC, USER


@cache
def user_key() -> str:
    """Return it in hex, with 0x. Everyone knows it: it is one of anvil's own."""
    Account.enable_unaudited_hdwallet_features()
    path = f"{ETHEREUM_DEFAULT_PATH.rsplit('/', 1)[0]}/{USER}"
    return "0x" + bytes(Account.from_mnemonic(MNEMONIC, account_path=path).key).hex()
