"""Planted bugs: small patches of our own code, each of which a case of the campaign must notice."""
