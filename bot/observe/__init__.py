"""What an operator sees of a run beside its alerts: metrics, health, logs, traces, a watchdog."""
