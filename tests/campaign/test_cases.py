"""Five of the 85 faults; all of them, under as many seeds as wanted, are ``scripts/campaign faults``."""

from pathlib import Path

import pytest
from commands import CommandServer

from bot.devnet.node import Devnet
from campaign.case import Lab
from campaign.catalogue import CASES

pytestmark = pytest.mark.devnet
SHORT = ("F1", "C2", "T1", "T6", "K9")


@pytest.mark.parametrize("case", SHORT)
async def test_a_fault_is_borne_as_stated(case: str, devnet: Devnet, server: CommandServer, tmp_path: Path):
    lab = Lab(id=case, seed=1, rpc_url=devnet.rpc_url, at=devnet.deployment, server=server, folder=tmp_path)
    outcome = await CASES[case](lab)
    assert outcome.problems == []
