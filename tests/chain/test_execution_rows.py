"""Where each row of reliability.md that docs/execution.md names is tested; a row without its test fails."""

import ast
import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "execution.md"
SENDING = "chain/test_transactions.py"

ROWS = {
    "E1": (SENDING, "test_the_same_key_sent_a_hundred_times"),
    "E3": (SENDING, "test_every_byte_that_goes_out_is_on_disk"),
    "E4": (SENDING, "test_a_send_whose_answer_is_lost"),
    "E5": (SENDING, "test_the_first_attempt_may_win"),
    "E6": ("chain/test_fees.py", "test_a_bump_pays_an_eighth_more"),
    "E7": (SENDING, "test_past_its_time_a_transaction_is_cancelled"),
    "E8": ("chain/test_nonces.py", "test_three_below_and_four_above"),
    "E9": ("chain/test_nonces.py", "test_a_node_that_lags_never"),
    "E10": ("chain/test_reorgs.py", "test_a_transaction_that_a_reorg_removes"),
    "E11": ("chain/test_reorgs.py", "test_a_reorg_below_our_depth_halts"),
    "E12": (SENDING, "test_concurrent_sends_take_contiguous_nonces"),
    "E13": (SENDING, "test_a_call_that_reverts_in_simulation"),
    "E14": ("chain/test_send_route.py", "test_sends_go_to_the_relay_alone"),
    "E15": (SENDING, "test_without_gas_money_the_same_bytes_wait"),
    "T2": (SENDING, "test_a_send_that_never_reached_the_node"),
    "T4": ("chain/test_send_errors.py", "test_the_wordings_of_the_clients"),
    "T5": (SENDING, "test_mined_without_effect"),
    "T7": (SENDING, "test_a_nonce_that_someone_else_used_halts"),
    "T8": (SENDING, "test_out_of_gas_is_named"),
    "T12": ("chain/test_code_pins.py", "test_a_proxy_that_points_elsewhere"),
    "T14": ("chain/test_nonces.py", "test_a_gap_transaction_of_an_earlier_run"),
    "C4": ("chain/test_reorgs.py", "test_a_nonce_that_a_reorg_gave_to_another"),
    "C5": ("chain/test_reorgs.py", "test_blocks_that_alternate"),
    "C8": (SENDING, "test_a_base_fee_that_runs_away"),
    "K1": ("campaign/test_kills.py", "test_no_order_is_doubled"),
    "K15": ("chain/test_kill.py", "test_every_transaction_is_on_chain_exactly_once"),
    "K16": ("chain/test_nonces.py", "test_a_nonce_that_only_the_signer_remembers"),
}


@pytest.mark.parametrize("row", ROWS)
def test_a_row_has_its_test_and_its_line_on_the_page(row):
    file, prefix = ROWS[row]
    tree = ast.parse((TESTS / file).read_text("utf-8"))
    names = [node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert [name for name in names if name.startswith(prefix)], (row, file, prefix)
    assert re.search(rf"^\|[^|]*\b{row}\b", PAGE.read_text("utf-8"), re.MULTILINE), row


def test_the_page_names_files_that_are_there():
    table = PAGE.read_text("utf-8").partition("## Where each promise is tested")[2]
    rows = table.partition("|---")[2]
    for name in set(re.findall(r"`([a-z_./]+\.py)`", rows)):
        assert (TESTS / "chain" / name).exists(), name
