"""allatt: a companion to "Layer-wise Pruning of Transformer Attention Heads" (Shim et al., 2021).

Nothing is imported here, so that `import allatt` costs nothing; name the room that you need, e.g.
`from allatt.model import LanguageModel`.
"""

__version__ = "0.1.0"
