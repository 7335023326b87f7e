"""What holds for all tests: properties draw the same examples everywhere and are never timed."""

from hypothesis import settings

settings.register_profile("fatechain", deadline=None, derandomize=True, database=None)
settings.load_profile("fatechain")
