"""Private products from the hardness of Ring-LWE: the scheme `lattice` of `ml.crypto.products`.

Read in this order: `parameters` (which sets are safe, how much noise fits), `ring` (polynomials
modulo x^n + 1 and q), `randomness` (seeds, uniform residues, noise), `sums` (adding up residues by
bins), `agreement` (what both sides fix first), `opening` (how a key is shown to be well formed),
`owner` and `holder` (the two parties).  Matrices of whole numbers, and results left as shares, have
a wider ring (`wide`, `wide_values`, `wide_noise`), keys (`session`) and records (`integers`) of
their own.
docs/protocols/private_products.md has the definition and the argument.
"""
