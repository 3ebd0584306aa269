"""`alvh testnet`: put a whole option market on a public test chain, and keep it alive there.

The deployer's account is not the bot's: the bot stops when its key sends what its journal does not know.
"""

import asyncio
import secrets
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bot.app.live import TEST_CHAINS
from bot.app.testnet_site import (
    BOT_KEYSTORE,
    CONFIG,
    DEPLOYMENT,
    STATE,
    OnEnded,
    Site,
    address_in,
    balance_of,
    bench_of,
    feed_price_usd,
    network_name,
    open_key,
    open_node,
    sender_of,
    upkeep_bench,
)
from bot.chain.fees import GWEI, FeePolicy
from bot.chain.rpc import Node
from bot.chain.signing.keystore import write_keystore
from bot.devnet.deploy_tokens import MULTICALL3
from bot.devnet.testnet import (
    BOARDS_GAS,
    BOARDS_TRANSACTIONS,
    DEPLOY_GAS,
    DEPLOY_TRANSACTIONS,
    LARGEST_GAS,
    Inputs,
    TestnetDeployment,
    deploy_system,
    needed_tokens,
)
from bot.devnet.testnet_config import write_bot_config
from bot.devnet.testnet_key import DeployKey
from bot.devnet.testnet_log import Begin, DeployLog, Ended, Signed
from bot.devnet.testnet_upkeep import (
    PRICE_RANGE_USD,
    Upkeep,
    publish,
    published_price_usd,
    renew_boards,
)
from bot.devnet.testnet_view import DeployView, expected_fee_wei
from bot.errors import ConfigError, VenueRejected

SPARE_TRANSACTIONS = 2  # some chains have Multicall3, and a bot may need no gas money
FRESH_S = 1_800
OP_GAS_ORACLE = "0x420000000000000000000000000000000000000F"  # predeploy of every OP-stack chain

OnStep = Callable[[int, Signed, Ended], None]  # how many are done, and the newest


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a deployment is asked for; None leaves it at the default, or at what was begun."""

    price_usd: float | None = None
    user_keystore: Path | None = None
    weth: str | None = None
    usdc: str | None = None
    liquidity_usd: float | None = None
    exposure_usd: float | None = None
    user_usdc: float | None = None
    user_coin: float | None = None  # of the chain's coin, that the user gets for gas
    iv: float = 0.7


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What is still to be sent, and what it will about cost."""

    network: str
    deployer: str
    user: str
    done: int
    transactions: int  # left
    gas: int  # left
    fee_wei: int  # per unit of gas, now
    balance_wei: int
    user_wei: int  # of it, that the user gets
    is_op_stack: bool = False  # the data of transactions costs extra, which is not in ``gas``

    @property
    def total_wei(self) -> int:
        return self.gas * self.fee_wei + self.user_wei

    @property
    def missing_wei(self) -> int:
        """What the account lacks, with a quarter more than expected so that a rise in fees is survived."""
        return max(0, self.gas * self.fee_wei * 5 // 4 + self.user_wei - self.balance_wei)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What `alvh testnet deploy` made."""

    deployment: TestnetDeployment
    config: Path
    file: Path
    upkeep: Upkeep


async def deploy(
    site: Site, wish: Wish, *, confirm: Callable[[Cost], bool], on_step: OnStep
) -> Deployed | None:
    """Deploy, or go on with what was begun; None when ``confirm`` declined, and nothing was sent then.

    Raises ConfigError (chain, keystore, state file), VenueRejected (money is missing, a transaction would
    revert), OutcomeUnknown or TransientError (run it again), InvariantError (the chain contradicts the file).
    """
    network = network_name(site.chain_id)
    _make_folder(site.folder)
    key = await asyncio.to_thread(open_key, site)
    with DeployLog.open(site.folder / STATE) as log:
        async with open_node(site) as node:
            view = DeployView(node, key.address)
            genesis = await _checked_chain(site, view)
            begin = log.begin or await _begin(site, wish, node, view, genesis)
            inputs = _same(Inputs.of(begin.inputs), wish)
            bot_keystore = _bot_keystore(site, wish, inputs.user)
            cost = await _cost(network, view, key, log, inputs, fees=site.fees)
            if not confirm(cost):
                return None
            await _check_money(cost, node, key, inputs, is_begun=log.begin is not None)
            if log.begin is None:
                log.append(begin)
            sender = sender_of(site, node, key, log, on_step=_counted(log, on_step))
            await sender.begin_run("deploy")
            bench = await bench_of(node, key, sender)
            system = await deploy_system(bench, inputs, chain_id=site.chain_id, genesis=genesis)
    upkeep = await _first_boards(site, key, system, wish, on_step)
    system.save(site.folder / DEPLOYMENT)
    return Deployed(
        deployment=system,
        config=_write_config(site, system, network, keystore=bot_keystore),
        file=site.folder / DEPLOYMENT,
        upkeep=upkeep,
    )


# before anything is sent


async def _checked_chain(site: Site, view: DeployView) -> str:
    """Return the hash of block 0 of the right chain. Raises ConfigError."""
    found = await view.chain_id()
    if found != site.chain_id:
        raise ConfigError(
            f"the node serves chain {found}, asked for is {site.chain_id} ({TEST_CHAINS[site.chain_id]}): "
            "name the node of that chain"
        )
    cap = await view.gas_cap()
    if cap < LARGEST_GAS:
        raise ConfigError(
            f"a transaction on chain {site.chain_id} may have {cap:,} gas, the largest contract needs "
            f"{LARGEST_GAS:,}: it cannot be deployed there"
        )
    return await view.genesis()


async def _begin(site: Site, wish: Wish, node: Node, view: DeployView, genesis: str) -> Begin:
    price = wish.price_usd if wish.price_usd is not None else await feed_price_usd(node, site.chain_id)
    user = await asyncio.to_thread(_user, site, wish)
    deployer = address_in(site.keystore)
    if user == deployer:
        raise ConfigError(
            f"the bot's account {user} is the deployer's: the bot stops when its key is used elsewhere; give "
            "it a keystore of its own"
        )
    inputs = _wanted(Inputs(price_usd=price, user=user, has_multicall3=await view.has_code(MULTICALL3)), wish)
    _check_inputs(inputs)
    return Begin(
        chain_id=site.chain_id,
        genesis=genesis,
        sender=deployer,
        first_nonce=await view.nonce("latest"),
        inputs=asdict(inputs),
    )


def _wanted(inputs: Inputs, wish: Wish) -> Inputs:
    given: dict[str, Any] = {
        "weth": wish.weth,
        "usdc": wish.usdc,
        "liquidity_usd": wish.liquidity_usd,
        "exposure_usd": wish.exposure_usd,
        "user_usdc": wish.user_usdc,
        "user_wei": None if wish.user_coin is None else round(wish.user_coin * 10**18),
    }
    return replace(inputs, **{name: value for name, value in given.items() if value is not None})


def _same(inputs: Inputs, wish: Wish) -> Inputs:
    """Return what was begun. Raises ConfigError where something else is asked for now."""
    changed = _wanted(inputs, wish)
    if wish.price_usd is not None:
        changed = replace(changed, price_usd=wish.price_usd)
    if wish.user_keystore is not None:
        changed = replace(changed, user=address_in(wish.user_keystore))
    for name, value in asdict(inputs).items():
        if (asked := getattr(changed, name)) != value:
            raise ConfigError(
                f"this deployment was begun with {name} {value}, asked for is {asked}: leave it out to go "
                "on, or name another folder"
            )
    return inputs


def _check_inputs(inputs: Inputs) -> None:
    low, high = PRICE_RANGE_USD
    if not low <= inputs.price_usd <= high:
        raise ConfigError(f"price must be {low:,.0f} to {high:,.0f} USD, was {inputs.price_usd}")
    for name in ("liquidity_usd", "exposure_usd", "user_usdc"):
        value = getattr(inputs, name)
        if not 1.0 <= value <= 1e9:
            raise ConfigError(f"{name} must be 1 to 1,000,000,000, was {value}")


def _user(site: Site, wish: Wish) -> str:
    """Return the bot's address, of the given keystore or of a new one in the folder."""
    if wish.user_keystore is not None:
        return address_in(wish.user_keystore)
    path = site.folder / BOT_KEYSTORE
    if not path.exists():
        write_keystore(path, secrets.token_bytes(32), site.password, scrypt_n=site.min_scrypt_n)
    return address_in(path)


def _bot_keystore(site: Site, wish: Wish, user: str) -> Path:
    """Return the keystore of the account that the deployment was begun for. Raises ConfigError."""
    path = wish.user_keystore or site.folder / BOT_KEYSTORE
    if not path.exists() or address_in(path) != user:
        raise ConfigError(
            f"this deployment was begun for the bot's account {user}, {path} is not its keystore; name that "
            "with --bot-keystore"
        )
    return path


async def _cost(
    network: str, view: DeployView, key: DeployKey, log: DeployLog, inputs: Inputs, *, fees: FeePolicy
) -> Cost:
    done = sum(isinstance(log.closed(step), Ended) for step in log.steps)
    sent = done >= DEPLOY_TRANSACTIONS - SPARE_TRANSACTIONS
    return Cost(
        network=network,
        deployer=key.address,
        user=inputs.user,
        done=done,
        transactions=max(0, DEPLOY_TRANSACTIONS - done) + BOARDS_TRANSACTIONS,
        gas=max(0, DEPLOY_GAS - log.gas_used) * (not sent) + BOARDS_GAS,
        fee_wei=expected_fee_wei(await view.market(), fees),
        balance_wei=await view.balance_wei(),
        user_wei=0 if sent else inputs.user_wei,
        is_op_stack=await view.has_code(OP_GAS_ORACLE),
    )


async def _check_money(cost: Cost, node: Node, key: DeployKey, inputs: Inputs, *, is_begun: bool) -> None:
    """Raise VenueRejected, before anything is sent, when coin or given tokens are missing."""
    if cost.missing_wei:
        raise VenueRejected(
            f"deployment on {cost.network}: {cost.transactions} transactions with {cost.gas:,} gas at "
            f"{cost.fee_wei / GWEI:.3g} gwei need about {(cost.balance_wei + cost.missing_wei) / 1e18:.4f} "
            f"of the chain's coin, {key.address} holds {cost.balance_wei / 1e18:.4f}: send it "
            f"{cost.missing_wei / 1e18:.4f} more (nothing was sent)"
        )
    for address, needed in needed_tokens(inputs).items() if not is_begun else ():
        held = await balance_of(node, address, key.address)
        if held < needed:
            raise VenueRejected(
                f"deployment on {cost.network}: {key.address} holds {held} of the token {address}, smallest "
                f"units, liquidity and the bot need {needed}: lower --liquidity-usd, or leave the token out "
                "(nothing was sent)"
            )


# after the system


async def _first_boards(
    site: Site, key: DeployKey, system: TestnetDeployment, wish: Wish, on_step: OnStep
) -> Upkeep:
    async with upkeep_bench(
        site, key, system, on_step=lambda signed, ended: on_step(0, signed, ended)
    ) as bench:
        price_usd, at_s = await published_price_usd(bench, system)
        if await bench.now_s() - at_s > FRESH_S:
            await publish(bench, system, price_usd=price_usd)
        return await renew_boards(bench, system, iv=wish.iv)


def _write_config(site: Site, system: TestnetDeployment, network: str, *, keystore: Path) -> Path:
    """Write the bot's configuration; one that is there is kept, for a person may have changed it."""
    path = site.folder / CONFIG
    if not path.exists():
        write_bot_config(
            system,
            path,
            network=network,
            rpc_url=site.rpc_url,
            keystore=keystore.absolute(),
            password_file=site.password_file.absolute() if site.password_file else None,
            max_fee_gwei=site.max_fee_gwei,
            poll_s=site.pace.poll_s,
        )
    return path


def _counted(log: DeployLog, on_step: OnStep) -> OnEnded:
    def tell(signed: Signed, ended: Ended) -> None:
        on_step(sum(isinstance(log.closed(step), Ended) for step in log.steps), signed, ended)

    return tell


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"folder {folder} cannot be made: {error.strerror}; name another") from None
