"""Commands of a test system on a public test chain: deploy it, publish its price, list its boards."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bot.cli.shared import JsonOption, YesOption, err, out
from bot.errors import ConfigError
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.testnet import Cost, Deployed, Wish
    from bot.app.testnet_site import Site
    from bot.app.testnet_upkeep import Round
    from bot.devnet.testnet_log import Ended, Signed
    from bot.devnet.testnet_upkeep import Upkeep

testnet_cli = typer.Typer(
    help="The option market on a public test chain that you fund.", no_args_is_help=True
)

FolderOption = Annotated[
    Path, typer.Option("--dir", help="Where its state, deployment and configuration go.")
]
NetworkOption = Annotated[
    str, typer.Option("--network", help="Test chain: sepolia, base-sepolia, ..., or its id.")
]
RpcOption = Annotated[
    str,
    typer.Option(
        "--rpc-url",
        envvar="ALVH_TESTNET_RPC_URL",
        show_envvar=True,
        help="Node of that chain.",
        show_default=False,
    ),
]
KeystoreOption = Annotated[Path, typer.Option(help="Keystore (version 3) of the account that pays and owns.")]
NewKeystoreOption = Annotated[Path, typer.Option(help="File of the new keystore; it must not be there yet.")]
PasswordOption = Annotated[
    Path | None,
    typer.Option(help="File with its password; else ALVH_KEYSTORE_PASSWORD, else it is asked for."),
]
FeeOption = Annotated[float, typer.Option(min=0.001, help="Most to pay for a unit of gas.")]
PollOption = Annotated[float, typer.Option(min=0.05, max=60.0, help="Seconds between looks at the chain.")]
NonceOption = Annotated[
    int, typer.Option(min=0, help="You know all transactions of the account below this nonce.")
]
PRICE_HELP = "USD per ETH; else of the chain's own Chainlink feed."
PriceOption = Annotated[float | None, typer.Option(help=PRICE_HELP)]
BotKeystoreOption = Annotated[
    Path | None, typer.Option(help="Keystore of the bot's account; a new one by default.")
]
WethOption = Annotated[str | None, typer.Option(help="WETH to use (18 decimals) in place of a test token.")]
UsdcOption = Annotated[str | None, typer.Option(help="USDC to use (6 decimals) in place of a test token.")]
LiquidityOption = Annotated[float | None, typer.Option(help="Liquidity of each pool.")]
ExposureOption = Annotated[float | None, typer.Option(help="LP position that the bot is to protect.")]
BotUsdcOption = Annotated[float | None, typer.Option(help="USDC that the bot gets.")]
BotCoinOption = Annotated[float | None, typer.Option(help="Coin that the bot gets for gas.")]
IvOption = Annotated[float, typer.Option(min=0.1, max=5.0, help="Vol of the boards, a fraction a year.")]


@testnet_cli.command("key")
def new_key(
    keystore: Annotated[
        Path, typer.Option(help="File of the new keystore; it must not be there yet.")
    ] = Path("deployer.json"),
    password_file: PasswordOption = None,
    json_to: JsonOption = None,
) -> None:
    """Make a new account for a deployment: an encrypted keystore, and the address that you fund."""
    from bot.app.testnet_site import known_password, new_account

    password = known_password(password_file)
    if password is None:
        if not sys.stdin.isatty():
            raise ConfigError(
                f"a password for the new keystore {keystore} is needed: export ALVH_KEYSTORE_PASSWORD, or "
                "give --password-file"
            )
        words = f"Password of the new {keystore}"
        password = str(typer.prompt(words, hide_input=True, confirmation_prompt=True, err=True))
    address = new_account(keystore, password)
    if json_to is None:
        out.print(f"{address} is in {keystore}: send it coin of the test chain", soft_wrap=True)
    write_json({"address": address, "keystore": str(keystore)}, json_to)


@testnet_cli.command("deploy")
def deploy(
    network: NetworkOption,
    rpc_url: RpcOption,
    keystore: KeystoreOption,
    folder: FolderOption = Path("testnet"),
    password_file: PasswordOption = None,
    price: PriceOption = None,
    bot_keystore: BotKeystoreOption = None,
    weth: WethOption = None,
    usdc: UsdcOption = None,
    liquidity_usd: LiquidityOption = None,
    exposure_usd: ExposureOption = None,
    bot_usdc: BotUsdcOption = None,
    bot_coin: BotCoinOption = None,
    iv: IvOption = 0.7,
    max_fee_gwei: FeeOption = 50.0,
    poll: PollOption = 2.0,
    accept_nonce: NonceOption = 0,
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Put Lyra v1, Uniswap v3 pools, a feed and boards on a test chain. Run it again to go on."""
    from bot.app.testnet import Wish

    site = _site(network, rpc_url, keystore, folder, password_file, max_fee_gwei, poll, accept_nonce)
    wish = Wish(
        price_usd=price,
        user_keystore=bot_keystore,
        weth=weth,
        usdc=usdc,
        liquidity_usd=liquidity_usd,
        exposure_usd=exposure_usd,
        user_usdc=bot_usdc,
        user_coin=bot_coin,
        iv=iv,
    )
    _deploy(site, wish, yes=yes, json_to=json_to)


@testnet_cli.command("boards")
def list_boards(
    network: NetworkOption,
    rpc_url: RpcOption,
    keystore: KeystoreOption,
    folder: FolderOption = Path("testnet"),
    password_file: PasswordOption = None,
    iv: IvOption = 0.7,
    max_fee_gwei: FeeOption = 50.0,
    poll: PollOption = 2.0,
    accept_nonce: NonceOption = 0,
    json_to: JsonOption = None,
) -> None:
    """Settle boards that expired and list later ones where a tenor has none."""
    from bot.app import testnet_upkeep as app

    site = _site(network, rpc_url, keystore, folder, password_file, max_fee_gwei, poll, accept_nonce)
    done = asyncio.run(app.boards(site, iv=iv, on_step=_told))
    if json_to is None:
        _print_boards(done)
    write_json({"settled": list(done.settled), "boards": _boards_document(done)}, json_to)


@testnet_cli.command("price")
def publish_price(
    network: NetworkOption,
    rpc_url: RpcOption,
    keystore: KeystoreOption,
    price: Annotated[float | None, typer.Argument(help=PRICE_HELP)] = None,
    folder: FolderOption = Path("testnet"),
    password_file: PasswordOption = None,
    every: Annotated[
        float | None, typer.Option(min=1.0, max=86_400.0, help="Seconds between publications; until stopped.")
    ] = None,
    boards: Annotated[bool, typer.Option("--boards", help="List boards that are due, too.")] = False,
    iv: IvOption = 0.7,
    max_fee_gwei: FeeOption = 50.0,
    poll: PollOption = 2.0,
    accept_nonce: NonceOption = 0,
    json_to: JsonOption = None,
) -> None:
    """Publish a price on the feed and on Lyra, and bring the pool there."""
    from bot.app import testnet_upkeep as app

    site = _site(network, rpc_url, keystore, folder, password_file, max_fee_gwei, poll, accept_nonce)

    async def publish() -> None:
        rounds = app.prices(site, price_usd=price, every_s=every, iv=iv if boards else None, on_step=_told)
        async for done in rounds:
            if json_to is None:
                _print_round(done)
            if done.trouble:
                err.print(f"trouble: {done.trouble}", markup=False)
            document = {
                "price_usd": done.price_usd,
                "pool_moved": done.pool_moved,
                "trouble": done.trouble,
                "boards": _boards_document(done.upkeep) if done.upkeep is not None else None,
            }
            write_json(document, json_to, lines=every is not None)

    asyncio.run(publish())


def _deploy(site: "Site", wish: "Wish", *, yes: bool, json_to: str | None) -> None:
    from bot.app import testnet as app
    from bot.app.testnet_site import network_name
    from bot.devnet.testnet import DEPLOY_TRANSACTIONS

    def on_step(done: int, signed: "Signed", ended: "Ended") -> None:
        _progress(f"{done}/{DEPLOY_TRANSACTIONS}" if done else "boards", signed, ended)

    made = asyncio.run(app.deploy(site, wish, confirm=lambda cost: _confirm(cost, yes=yes), on_step=on_step))
    if made is None:
        err.print("nothing was sent")
        return
    if json_to is None:
        _print_deployed(made, network_name(site.chain_id))
    document = {
        "chain_id": site.chain_id,
        "deployment": str(made.file),
        "config": str(made.config),
        "user": made.deployment.user,
        "boards": _boards_document(made.upkeep),
    }
    write_json(document, json_to)


def _print_deployed(made: "Deployed", network: str) -> None:
    out.print(f"deployed on {network}, {len(made.upkeep.boards)} boards live")
    out.print(f"addresses: {made.file}", soft_wrap=True)
    out.print(f"configuration: {made.config}", soft_wrap=True)
    out.print(f"the bot's account: {made.deployment.user}")
    out.print(f"try: alvh run --live --config {made.config}", soft_wrap=True)
    out.print("it buys once the pools remember half an hour of prices; until then it says so")
    out.print("keep it alive: alvh testnet price --every 1800 --boards", soft_wrap=True)


def _print_round(done: "Round") -> None:
    if done.trouble:
        return
    out.print(f"published {done.price_usd:,.2f} USD{', pool moved' if done.pool_moved else ''}")
    if done.upkeep is not None:
        _print_boards(done.upkeep)


def _site(
    network: str,
    rpc_url: str,
    keystore: Path,
    folder: Path,
    password_file: Path | None,
    max_fee_gwei: float,
    poll_s: float,
    accept_nonce: int,
) -> "Site":
    from bot.app.testnet_site import Site, address_in, network_name
    from bot.deployments import network_id
    from bot.devnet.testnet_sender import Pace

    chain_id = network_id(network)
    network_name(chain_id)  # both are refused before a password is asked for
    address_in(keystore)
    return Site(
        folder=folder,
        chain_id=chain_id,
        rpc_url=rpc_url,
        keystore=keystore,
        password=_password(keystore, password_file),
        password_file=password_file,
        max_fee_gwei=max_fee_gwei,
        pace=Pace(poll_s=poll_s),
        accept_nonce=accept_nonce,
    )


def _password(keystore: Path, password_file: Path | None) -> str:
    from bot.app.testnet_site import known_password

    found = known_password(password_file)
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise ConfigError(
            f"the password of {keystore} is needed: export ALVH_KEYSTORE_PASSWORD or name --password-file"
        )
    return str(typer.prompt(f"Password of {keystore}", hide_input=True, err=True))


def _confirm(cost: "Cost", *, yes: bool) -> bool:
    """Show what it costs; ask, unless a script said yes beforehand."""
    coin = 10**18
    err.print(f"{cost.network}: {cost.transactions} transactions to send, {cost.done} done")
    err.print(
        f"about {cost.gas:,} gas x {cost.fee_wei / 10**9:.3g} gwei = "
        f"{cost.gas * cost.fee_wei / coin:.4f} of the chain's coin, and {cost.user_wei / coin:.4f} for the "
        f"bot's account {cost.user}"
    )
    err.print(f"{cost.deployer} holds {cost.balance_wei / coin:.4f}")
    if cost.is_op_stack:
        err.print("this chain charges the data of transactions on top; keep half as much more")
    if cost.missing_wei:
        err.print(f"missing: {cost.missing_wei / coin:.4f}")
    if yes or cost.missing_wei:
        return True  # what is missing is refused by name
    if not sys.stdin.isatty():
        raise ConfigError("a deployment asks before it sends; give --yes in a script")
    return bool(typer.confirm("Deploy?", err=True))


def _told(signed: "Signed", ended: "Ended") -> None:
    _progress("", signed, ended)


def _progress(count: str, signed: "Signed", ended: "Ended") -> None:
    failed = "" if ended.succeeded else ", FAILED"
    err.print(
        f"{count} {signed.what}, {ended.gas_used:,} gas, block {ended.block_number}{failed}".strip(),
        markup=False,
    )


def _print_boards(done: "Upkeep") -> None:
    from bot.model.units import iso_utc

    for board in done.boards:
        new = " new" if board.id in done.listed else ""
        low, high = board.strikes_usd[0], board.strikes_usd[-1]
        out.print(
            f"board {board.id} expires {iso_utc(board.expiry_s)}, {len(board.strikes_usd)} strikes "
            f"{low:,.0f} to {high:,.0f}{new}"
        )
    if done.settled:
        out.print(f"settled: {', '.join(map(str, done.settled))}")


def _boards_document(done: "Upkeep") -> list[dict[str, Any]]:
    from bot.model.units import iso_utc

    return [
        {
            "id": board.id,
            "expires": iso_utc(board.expiry_s),
            "strikes_usd": list(board.strikes_usd),
            "new": board.id in done.listed,
        }
        for board in done.boards
    ]
