"""allatt: a companion to "Layer-wise Pruning of Transformer Attention Heads" (Shim et al., 2021).

Nothing is imported here, so that `import allatt` costs nothing: import names from their modules, e.g.
`from allatt.model import LanguageModel`. README.md lists the modules.
"""

__version__ = "0.1.0"
