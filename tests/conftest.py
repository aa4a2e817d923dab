"""What all tests share: no property is timed, since machines are shared and a slow moment is no fault."""

from hypothesis import settings

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")
