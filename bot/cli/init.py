"""x"""


def init() -> None:
    """Ask a few questions, find your positions, write alvh.toml."""
