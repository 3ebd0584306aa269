"""Backtests over crisis and calm windows (R26), and choices among policies over them."""
