"""ALVH-style layered option protection for DeFi liquidity positions."""

__version__ = "0.2.0"
