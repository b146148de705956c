"""A picture inside a report's page."""

import base64
import io
from collections.abc import Callable

import matplotlib as mpl
from matplotlib.figure import Figure


def picture(draw: Callable[[Figure], None], size: tuple[float, float]) -> str:
    """What `draw` draws on a figure of `size` inches, as a data URI.

    No display and no global state of matplotlib's is touched.
    """
    with mpl.rc_context({"axes.spines.top": False, "axes.spines.right": False, "font.size": 10}):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=120)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
