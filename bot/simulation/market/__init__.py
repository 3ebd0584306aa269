"""The option market that simulation assumes, from a file that a user can change."""
