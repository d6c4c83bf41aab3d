"""The exercises of the notebooks: each check says whether an answer is right, gives a hint if it is not, and stops nothing.

exercise.py has the mechanism; nb00.py, nb01.py ... the checks of one notebook each, counted in the order of the notebook. The
notebooks ask and leave the answers empty; notebooks/solutions/ has answers, which the tests hold against the same checks.
"""
