"""``alvh check-addresses``: connects to what is asked about, and checks it."""

from contextlib import AsyncExitStack

from bot.app.addresses import AddressCheck, check_all, known_addresses, wanted_addresses
from bot.app.nodes import connect
from bot.chain.reader import JsonRpcReader
from bot.errors import BotError
from bot.settings import ChainSettings, Settings


async def check(settings: Settings, *, chain_id: int | None, is_known: bool) -> tuple[AddressCheck, ...]:
    """Check the configured addresses, or the known deployments, of one chain or of all that are configured.

    A chain that cannot be read makes each of its addresses a problem. Raises ConfigError for a chain that is
    not configured, NotFoundError when no deployment is known on it.
    """
    if is_known:
        chosen = settings.chain if chain_id is None else settings.chain_named(chain_id)
        wanted = known_addresses(chosen.id)
    else:
        wanted = wanted_addresses(settings)
        if chain_id is not None:
            wanted = tuple(item for item in wanted if item.chain_id == settings.chain_named(chain_id).id)
    asked = {item.chain_id for item in wanted}
    async with AsyncExitStack() as stack:
        readers = {
            chain.id: await _reader(chain, stack) for chain in settings.all_chains if chain.id in asked
        }
        return await check_all(settings, wanted, readers)


async def _reader(chain: ChainSettings, stack: AsyncExitStack) -> JsonRpcReader | BotError:
    """Return a reader, or why there is none. A wrong Multicall3 is named by the address check itself."""
    node = connect(chain)
    stack.push_async_callback(node.close)
    try:
        return await JsonRpcReader.connect(node, chain_id=chain.id, multicall3=chain.multicall3)
    except BotError as error:
        return error
