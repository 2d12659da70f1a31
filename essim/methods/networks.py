"""The networks of the methods, read back.

In: a method's name, a model folder. Out: a network. A method's module says in NETWORK which one it takes, or None.
"""

from essim.methods.registry import pick, reconstructors, scores
from essim.models import load_model


def load_method(name, folder, device=None):
    """The trained network that a method takes, in evaluation mode; None for one that takes none.

    Args: name: the method's. folder: the model folder. device: as in `load_model`, as are the errors.

    Raises ValueError where there is no such method.
    """
    module = pick(scores() | reconstructors(), name)
    return load_model(folder, device) if module.NETWORK else None
