"""The figures: what notebooks save, and how each is drawn.

    figures/<scale>/NAME.png, NAME.svg     the figure: the same data give the same bytes
    figures/<scale>/NAME.json              its data, its notebook, the ids of its runs, versions, commit, date
    figures/<scale>/runs/ID.json           config, result and provenance of a run

So any number leads to its config in two steps. save.py writes these files, nb00.py ... nb15.py draw the figures of their
notebooks, panels.py has the panels that several notebooks share, style.py the colors and the style of all figures.
"""

from allatt.figures.save import SavedFigure, figures_folder, redraw, save_figure

__all__ = ["SavedFigure", "figures_folder", "redraw", "save_figure"]
