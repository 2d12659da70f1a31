"""What the tests of profiles and plans share: the names of the profiles, and their values as leaves."""

PROFILES = ("confirm", "gpu", "laptop", "networks", "paper", "pretrained", "real", "smoke")


def leaves(values, before=()):
    """(place, value) of everything in a dict of dicts."""
    for key, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, (*before, key))
        else:
            yield (*before, key), value
