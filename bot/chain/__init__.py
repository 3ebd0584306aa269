"""Reading and writing chains: nodes, blocks, ABIs, transactions, the way to the signer."""
