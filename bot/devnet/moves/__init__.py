"""How a scenario point becomes transactions: one file per protocol, and the sender they share."""
