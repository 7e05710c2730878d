# SPDX-License-Identifier: Apache-2.0
"""The cells of random operands, computed here as any client can: Philox4x32-10 (docs/protocol.md)."""

import numpy

MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
WEYL = 0x9E3779B9, 0xBB67AE85
ROUNDS = 10
LOW, HALF = numpy.uint64(0xFFFFFFFF), numpy.uint64(32)


def words(key, counter):
    """The four words of each block, as uint64. key: two words; counter: an array of uint64, the upper half is 0."""
    x = [counter & LOW, counter >> HALF, numpy.zeros_like(counter), numpy.zeros_like(counter)]
    key = list(key)
    for _ in range(ROUNDS):
        left, right = (numpy.uint64(multiplier) * word for multiplier, word in zip(MULTIPLIERS, (x[0], x[2])))
        x = [(right >> HALF) ^ x[1] ^ numpy.uint64(key[0]), right & LOW,
             (left >> HALF) ^ x[3] ^ numpy.uint64(key[1]), left & LOW]
        key = [(word + step) & 0xFFFFFFFF for word, step in zip(key, WEYL)]
    return x


def cells(seed, cols, rows, window):
    """The numbers of a random operand with so many cols, at these rows (a range) and columns (window, a range)."""
    row = numpy.arange(rows.start, rows.stop, dtype=numpy.uint64)[:, None]
    col = numpy.arange(window.start, window.stop, dtype=numpy.uint64)[None, :]
    x = words((seed & 0xFFFFFFFF, seed >> 32), row * numpy.uint64(cols) + col)
    return ((x[0] | x[1] << HALF) >> numpy.uint64(11)) * 2.0 ** -53
