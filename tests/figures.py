"""What the tests of figures share."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure


def drawn(figure):
    """The figure, drawn for real, so that a layout or a text that cannot be drawn fails here; none stays open."""
    assert isinstance(figure, Figure)
    figure.canvas.draw()
    assert not plt.get_fignums()
    return figure
