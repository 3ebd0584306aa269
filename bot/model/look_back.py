"""How far back logs are searched. Apart from the positions it is for: every command's options name it."""

DEFAULT_LOOK_BACK = 1_000_000  # blocks whose logs are searched for deposits and v4 positions
