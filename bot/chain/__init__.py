"""One chain through JSON-RPC: pinned reads, heads, contract ABIs, and transactions."""
