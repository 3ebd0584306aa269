"""Named stress scenarios: what happened, written as data, and the same engine taken through it."""
