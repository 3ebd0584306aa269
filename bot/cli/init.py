"""`alvh init`: from a wallet to a configuration, by questions or by options alone."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bot.cli.shared import DEFAULT_CONFIG, JsonOption, err, out
from bot.errors import BotError, ConfigError
from bot.model.look_back import DEFAULT_LOOK_BACK
from bot.output import write_json

if TYPE_CHECKING:
    from bot.app.init import Choices, Draft, Found, Where

NodesOption = Annotated[
    list[str] | None,
    typer.Option(help="Node; one per chain, the home chain first. ALVH_RPC_URL if not said."),
]
LikeOption = Annotated[
    Path | None,
    typer.Option(help="Take chains, contracts and venues from this configuration, as of alvh devnet up."),
]
WalletOption = Annotated[str | None, typer.Option(help="Protect every LP position of this address.")]
PositionsOption = Annotated[
    list[str] | None, typer.Option("--position", help="v3:ID, v4:ID, v2:PAIR, as of alvh monitor; repeat.")
]
LookBackOption = Annotated[int, typer.Option(min=1, help="Blocks whose logs are searched for v4 positions.")]
PresetOption = Annotated[str, typer.Option(help="Policy: classic, steward or fortress.")]
BudgetOption = Annotated[
    str | None, typer.Option(help="Most premium a year: '3 %' of the positions, or '5000 USD'.")
]
AlertOption = Annotated[
    list[str] | None, typer.Option("--alert-url", help="apprise URL of who is told; repeat for more.")
]
TargetOption = Annotated[Path, typer.Option("--config", "--output", "-c", "-o", help="File to write.")]
StateOption = Annotated[
    Path | None, typer.Option(help="Folder for journals; alvh-state beside the file if not said.")
]
EnvOption = Annotated[
    Path | None, typer.Option("--env-file", help="Keep URLs that hold keys in this file, such as .env.")
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that are there.")]
YesOption = Annotated[bool, typer.Option("--yes", help="Ask nothing: what is not said stays as it is.")]

_TRIES = 5  # at one question


def init(
    rpc_url: NodesOption = None,
    like: LikeOption = None,
    wallet: WalletOption = None,
    position: PositionsOption = None,
    look_back: LookBackOption = DEFAULT_LOOK_BACK,
    preset: PresetOption = "steward",
    budget: BudgetOption = None,
    alert_url: AlertOption = None,
    config: TargetOption = DEFAULT_CONFIG,
    state_dir: StateOption = None,
    env_file: EnvOption = None,
    force: ForceOption = False,
    yes: YesOption = False,
    json_to: JsonOption = None,
) -> None:
    """Find your LP positions and write a configuration for them.

    Asks for what its options leave open, where a person is there to answer. Reads chains, signs nothing.
    A URL that may hold a key is never written to the configuration.
    """
    from bot.app.init import Choices, Where
    from bot.settings import rpc_url_of_environment

    urls = rpc_url or ([] if like is not None else rpc_url_of_environment())
    where = Where(
        urls=tuple(urls),
        like=like,
        wallet=wallet,
        positions=tuple(position or ()),
        look_back=look_back,
    )
    choices = Choices(
        target=config,
        preset=preset,
        budget=budget or "",
        alert_urls=tuple(alert_url or ()),
        state_dir=state_dir,
        env_file=env_file,
        force=force,
    )
    choices.refuse()
    if yes or json_to is not None or not sys.stdin.isatty():
        draft = _without_questions(where, choices)
    else:
        draft = _with_questions(where, choices, said=budget is not None or bool(alert_url))
    _finish(draft, json_to)


def _without_questions(where: "Where", choices: "Choices") -> "Draft":
    from bot.app.init import compose

    if where.wallet is None and not where.positions:
        raise ConfigError("whose positions? Give --wallet 0x…, or --position v3:TOKEN_ID; nobody is asked")
    return compose(_found(where), choices)


def _with_questions(where: "Where", choices: "Choices", *, said: bool) -> "Draft":
    from bot.app.init import compose

    found = _asked_where(where)
    if not said:
        choices = _asked_choices(choices)
    draft = compose(found, choices)
    if draft.secrets and choices.env_file is None:
        draft = _asked_env(draft)
    typer.confirm(f"Write {choices.target}?", default=True, abort=True, err=True)
    return draft


def _asked_env(draft: "Draft") -> "Draft":
    """Ask whether secrets shall be kept; return the draft that says so."""
    from bot.app.init import env_of

    path = draft.choices.target.with_name(".env")
    names = ", ".join(draft.secrets)
    question = f"Keep {names} in {path}, readable by you alone? Else you export it yourself"
    if not typer.confirm(question, default=False, err=True):
        return draft
    kept = replace(draft, choices=replace(draft.choices, env_file=path))
    try:
        env_of(kept)
    except ConfigError as error:
        err.print(f"not kept: {error}", markup=False)
        return draft
    return kept


def _asked_where(where: "Where") -> "Found":
    """Ask until positions are found; a refusal is said and asked again, a few times."""
    urls = where.urls
    for _ in range(_TRIES):
        if not urls and where.like is None:
            urls = (_asked("RPC URL of a node of the chain that your positions are on"),)
        wallet, positions = where.wallet, where.positions
        if wallet is None and not positions:
            answer = _asked("Your wallet's address, or a position such as v3:123456")
            wallet, positions = (answer, ()) if answer.startswith("0x") else (None, tuple(answer.split()))
        try:
            return _found(replace(where, urls=urls, wallet=wallet, positions=positions))
        except BotError as error:
            if (where.urls or where.like) and (where.wallet or where.positions):
                raise  # nothing of it was asked for
            err.print(f"not so: {error}", markup=False)
            urls = where.urls
    raise ConfigError("no positions were found; alvh init --help names the options that say where they are")


def _asked_choices(choices: "Choices") -> "Choices":
    for _ in range(_TRIES):
        text = "Most premium a year: such as 3 % or 5000 USD; empty: as the policy has it"
        asked = replace(
            choices,
            preset=_asked("Policy: classic, steward (recommended) or fortress", default=choices.preset),
            budget=_asked(text, default=""),
        )
        try:
            asked.refuse()
        except ConfigError as error:
            err.print(f"not so: {error}", markup=False)
            continue
        url = _asked("Whom to tell, as an apprise URL such as tgram://…; empty: nobody", default="")
        return replace(asked, alert_urls=(url,) if url else ())
    raise ConfigError("no answer could be used; say it with --preset and --budget")


def _asked(question: str, *, default: str | None = None) -> str:
    return str(typer.prompt(question, default=default, show_default=bool(default), err=True)).strip()


def _found(where: "Where") -> "Found":
    from bot.app.init import find
    from bot.terminal.init import found_view

    with err.status("looking for positions: reading managers, pools and logs"):
        found = asyncio.run(find(where))
    err.print(found_view(found))
    return found


def _finish(draft: "Draft", json_to: str | None) -> None:
    from bot.app.init import write
    from bot.init_document import init_document
    from bot.terminal.init import written_view

    files = write(draft)
    if json_to is None:
        out.print(written_view(draft, files))
    write_json(init_document(draft, files), json_to)
