"""The theory: what must be true of predictive coding networks, of linear ones in closed form.

Plain NumPy in float64. Nothing here imports anything else of pcbench, and no backend imports
anything here: to doubt a result is to read one of these files with the paper beside it. Sections
(``§2.4``) are those of ``docs/theory.md``; "the paper" is Innocenti, Achour, Singh & Buckley,
NeurIPS 2024, arXiv:2408.11979.

Weights are a sequence ``W_1 … W_L`` of arrays ``(d_l, d_{l-1})``; a batch is ``X`` ``(N, d_0)`` and
``Y`` ``(N, d_L)``, one sample a row. Parameters are ordered layer by layer, each row-major.
"""
