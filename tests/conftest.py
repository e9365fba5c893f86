"""Property tests find the same examples on every machine, however slow it is."""

from hypothesis import settings

settings.register_profile("observer", deadline=None, derandomize=True)
settings.load_profile("observer")
