"""The exercises of the notebooks: each check says whether an answer is right, gives a hint if not, and never stops a notebook.

exercise.py has the mechanism; nb00.py, nb01.py, ... have the checks of one notebook each, numbered in its order. The notebooks
ask the questions and leave the answers empty; notebooks/solutions/ has answers, which the tests run through the same checks.
"""
