"""Pictures of recordings, scores, kernels and training; Matplotlib is imported when one is drawn.

Every function draws into the ``ax`` it is given, or makes a figure of its own, returns what it drew
on, and leaves showing and saving to you: ``ax.figure.savefig("spikes.png")``. Needs the extra
``plots``. Colours are those of Okabe and Ito (2008), for colour-blind eyes; lines differ too.
"""

from tinynn.plots.curves import history, precision_recall
from tinynn.plots.drawing import AMBER as AMBER
from tinynn.plots.drawing import BLUE as BLUE
from tinynn.plots.drawing import CYCLE as CYCLE
from tinynn.plots.drawing import GRAY as GRAY
from tinynn.plots.drawing import GREEN as GREEN
from tinynn.plots.drawing import INK as INK
from tinynn.plots.drawing import ORANGE as ORANGE
from tinynn.plots.drawing import PINK as PINK
from tinynn.plots.drawing import SKY as SKY
from tinynn.plots.drawing import STYLES as STYLES
from tinynn.plots.drawing import figure, kernels, recording
from tinynn.plots.sliding import sliding

__all__ = ["figure", "history", "kernels", "precision_recall", "recording", "sliding"]
