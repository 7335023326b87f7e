"""Cryptography that the protocols stand on.

`paillier` is the cipher, `packing` puts several small numbers into one plaintext, `products` is
the private product that vertical algorithms are made of, `paillier_products` computes it under that
cipher, and `workers` are processes for long arithmetic.  `ot` and `ot_extension` are oblivious
transfer, over the group `ristretto255`.  `fixed_point`, `sharing`, `correlations`, `beaver`,
`series` and `comparison` compute with numbers that are shared modulo 2^64; `transferred` does it
without a dealer, `authenticated` (over `wide`) with parties that may cheat.  `dh` agrees on keys,
`rsa_blind` signs what the signer cannot read, `commutative` encrypts in any order.  Nothing here
talks to anybody: a protocol carries the values between the parties.
"""
