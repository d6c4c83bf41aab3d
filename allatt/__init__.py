"""allatt: a companion to "Layer-wise Pruning of Transformer Attention Heads" (Shim et al., 2021).

Nothing is imported here, so `import allatt` costs nothing: import names from their modules, e.g.
`from allatt.model import LanguageModel`. README.md lists the modules. Only `load` is here: it reads a trained model's folder.
"""

__version__ = "0.1.0"


def load(name: str):
    """(model, vocabulary, about) of a finished run, or of a folder that `python -m allatt save` wrote, here or on a hub
    (hf://owner/name). See `allatt.sharing.saved`."""
    from allatt.sharing.saved import load

    return load(name)
