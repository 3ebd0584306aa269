"""Where hedges are traded: one file for each venue, all of them in ``table``."""
