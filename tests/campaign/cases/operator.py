"""The O rows of reliability.md: what operators, and processes beside the bot, do to it."""

from collections.abc import Mapping

from campaign import leaders, operators
from campaign.case import Case, Lab, Outcome, both, rigged, tested


async def o4(lab: Lab) -> Outcome:
    """No live journal is there to audit: that there is none is the point."""
    async with lab.rig() as rig:
        return await operators.dry_run_wins(rig)


CASES: Mapping[str, Case] = {
    "O1": both(
        rigged(leaders.copies),
        rigged(leaders.overtaken, at_rest=False),
        rigged(leaders.used_elsewhere),
        tested(
            "app/test_signer.py::test_two_bots_with_one_key_are_refused_by_name",
            "app/test_signer.py::test_two_signers_with_one_keystore_are_refused_by_name",
            "chain/test_signer_process.py::test_who_was_overtaken_never_signs_again",
            "chain/test_transactions.py::test_a_nonce_that_someone_else_used_halts",
            "chain/test_transactions.py::test_a_foreign_transaction_in_the_pool_halts",
        ),
    ),
    "O4": o4,
    "O5": tested(
        "pipeline/test_journal.py::test_a_journal_of_another_mode_chain_or_account_is_refused",
        "bad_input/test_storage.py::test_stores_of_another_chain_or_program_stop_a_run_and_stay_as_they_are",
    ),
    "O6": tested(
        "alerts/test_desk.py",
        "alerts/test_sender.py",
        "test_cli_observe.py::test_a_run_is_seen_from_all_sides",
    ),
}
