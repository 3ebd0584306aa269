"""Who decodes outside bytes is in the table of decoders, or says here why not."""

import re
from functools import cache
from pathlib import Path

import pytest
from fuzz.decoders import DECODERS

import bot

PACKAGE = Path(bot.__file__).parent
TELL_TALES = re.compile(
    r"\bjson\.loads?\(|\bjson_of\("
    r"|\btoml_of\(|\borjson\.loads\(|\btomllib\.loads?\(|\bcsv\.(?:reader|DictReader)\("
    r"|\bpd\.read_\w+\(|\bnp\.load\(|\brlp\.decode\(|\bgzip\.(?:decompress|open)\(|\bzlib\.decompress"
    r"|(?<!_)\bint\([^()]*, 16\)|\bbytes\.fromhex\(|\bdecode_or_none\("
    r"|\bfromisoformat\(|\bstrptime\(|\bpickle\."
)

CHECKED = "hex that was checked as an address, a hash or data before it came here, or that this program wrote"
PACKAGED = "reads files of the package alone, which come with the program"
DEVNET = "reads what a devnet of this machine says, whose contracts are our own"
EXEMPT: dict[str, str] = {
    **dict.fromkeys(
        [
            "app/account_parts.py",
            "chain/bulk.py",
            "chain/replies.py",
            "chain/safe.py",
            "chain/safe_batch.py",
            "chain/safe_executed.py",
            "chain/safe_intents.py",
            "chain/safe_proposal.py",
            "chain/safe_state.py",
            "chain/words.py",
            "venues/custody.py",
            "venues/derive_signing.py",
            "venues/opyn_booking.py",
            "venues/opyn_pools.py",
            "venues/overrides.py",
            "venues/panoptic_terms.py",
            "venues/panoptic_token_id.py",
            "watchers/aave_v3.py",
            "watchers/balancer_v2.py",
            "watchers/pools.py",
            "watchers/positions/finder.py",
            "watchers/positions/history.py",
            "watchers/v4_pools.py",
        ],
        CHECKED,
    ),
    **dict.fromkeys(
        [
            "chain/chain_traits.py",
            "deployments/__init__.py",
            "deployments/places.py",
            "devnet/artifacts.py",
            "devnet/packages.py",
            "venues/derive_networks.py",
        ],
        PACKAGED,
    ),
    **dict.fromkeys(
        [
            "devnet/deploy_governance.py",
            "devnet/deploy_panoptic.py",
            "devnet/deploy_perp.py",
            "devnet/deploy_uniswap.py",
            "devnet/moves/pools.py",
            "devnet/moves/wire.py",
            "devnet/node.py",
            "devnet/testnet_view.py",
        ],
        DEVNET,
    ),
    "app/dashboard_beside.py": "reads the first line of a process that this one started",
    "app/policy_text.py": "reads policies that bot/settings/policies.py has read before",
    "app/replay.py": "reads the name of a folder; what is no time is refused",
    "engine/policy_tiers.py": "reads a value of a policy; the policy is in the table",
    "model/parsing.py": "what all others parse with; tests/model/test_parsing.py has its laws",
    "simulation/history/span.py": "reads a date of the command line; what is none is refused",
    "venues/token_checks.py": "decodes as bot/chain/abi.py does, which is in the table",
}


@cache
def decoding() -> dict[str, list[str]]:
    """Return the modules that decode, each with the calls that tell so."""
    found = {}
    for path in sorted(PACKAGE.rglob("*.py")):
        calls = sorted({match[0] for match in TELL_TALES.finditer(path.read_text("utf-8"))})
        if calls:
            found[str(path.relative_to(PACKAGE))] = calls
    return found


def test_every_module_that_decodes_is_in_the_table_or_says_why_not():
    fuzzed = {decoder.module for decoder in DECODERS}
    missing = {name: calls for name, calls in decoding().items() if name not in fuzzed | EXEMPT.keys()}
    assert not missing, "add a row to the table of decoders, or a reason to EXEMPT"


def test_no_reason_outlives_its_module():
    assert EXEMPT.keys() <= decoding().keys()
    assert not EXEMPT.keys() & {decoder.module for decoder in DECODERS}


@pytest.mark.parametrize("module", sorted({decoder.module for decoder in DECODERS}))
def test_the_table_names_modules_that_are_there(module: str):
    assert (PACKAGE / module).is_file()
