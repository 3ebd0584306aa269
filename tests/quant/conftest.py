"""Laws are checked by content, not by speed: a busy machine must not fail one."""

from hypothesis import settings

settings.register_profile("laws", deadline=None)
settings.load_profile("laws")
