"""The dashboard: pages over what the journal says, in a process that can read everything and do nothing."""
