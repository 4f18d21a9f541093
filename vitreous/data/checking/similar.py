"""Pictures that look the same though their pixels differ: saved smaller, brighter, or with another compression.

Two pictures are near when at most 4 of the 64 bits of their dHash to the right differ, and at most 8 downwards.
Pairs are found without comparing all with all: of six bands of bits, four differences leave at least two bands equal,
so that only pictures with an equal pair of bands are compared, for each of the 15 pairs.
"""

from __future__ import annotations

import itertools

import numpy as np
from jaxtyping import Int, UInt64

NEAR = 4
"""Bits of 64 that may differ to the right."""

NEAR_DOWN = 8
"""Bits of 64 that may differ downwards; the second hash only has to agree."""

_BANDS = ((0, 11), (11, 11), (22, 11), (33, 11), (44, 10), (54, 10))  # (first bit, bits)
_MOST_BESIDE = 500  # pictures with two equal bands that each is compared with


def find_near(across: UInt64[np.ndarray, " N"], down: UInt64[np.ndarray, " N"]) -> tuple[Int[np.ndarray, "P 2"], bool]:
    """Links between pictures that are near: enough to connect all that hang together, not every pair of equal hashes.

    Args:
        across: dHash to the right of each picture.
        down: dHash downwards.

    Returns:
        Pairs of places, the smaller first, sorted; and whether every picture was compared with all it had to be: where
        thousands share two bands, each is compared with its neighbours only.
    """
    both, first, inverse = np.unique(np.stack([across, down], axis=1), axis=0, return_index=True, return_inverse=True)
    twins = np.flatnonzero(first[inverse.ravel()] != np.arange(len(across)))
    links = [np.stack([first[inverse.ravel()[twins]], twins], axis=1)]
    complete = True
    for one, other in itertools.combinations(_BANDS, 2):
        pairs, all_met = _near_by_key(both, _band(both[:, 0], *one) << np.uint64(other[1]) | _band(both[:, 0], *other))
        links.append(first[pairs])
        complete &= all_met
    found = np.unique(np.sort(np.concatenate(links), axis=1), axis=0)
    return found, complete


def _band(hashes: UInt64[np.ndarray, " n"], start: int, bits: int) -> UInt64[np.ndarray, " n"]:
    return hashes >> np.uint64(start) & np.uint64((1 << bits) - 1)


def _near_by_key(
    both: UInt64[np.ndarray, "n 2"], keys: UInt64[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, "p 2"], bool]:
    """Pairs of rows with equal keys whose hashes are near, and whether all with equal keys were compared."""
    order = np.argsort(keys, kind="stable")
    keys, both = keys[order], both[order]
    left, found = np.arange(len(keys) - 1), []
    for distance in range(1, _MOST_BESIDE + 1):
        left = left[left + distance < len(keys)]
        left = left[keys[left] == keys[left + distance]]
        if not len(left):
            break
        near = left[_ones(both[left, 0] ^ both[left + distance, 0]) <= NEAR]
        near = near[_ones(both[near, 1] ^ both[near + distance, 1]) <= NEAR_DOWN]
        found.append(np.stack([order[near], order[near + distance]], axis=1))
    return np.concatenate([np.zeros((0, 2), np.int64), *found]), not len(left)


def _ones(bits: UInt64[np.ndarray, " n"]) -> UInt64[np.ndarray, " n"]:
    """How many bits are set in each number: pairs are added up, then fours, then bytes, then all (Warren, Hacker's
    Delight, 5-1). NumPy can count them itself from its version 2 on."""
    one, two, four = (np.uint64(0xFFFFFFFFFFFFFFFF // mask) for mask in (3, 5, 17))
    bits = bits - (bits >> np.uint64(1) & one)
    bits = (bits & two) + (bits >> np.uint64(2) & two)
    bits = bits + (bits >> np.uint64(4)) & four
    return bits * np.uint64(0x0101010101010101) >> np.uint64(56)


def connected(links: Int[np.ndarray, "P 2"], count: int) -> Int[np.ndarray, " N"]:
    """For each place the smallest place it hangs together with.

    Args:
        links: pairs of places.
        count: N.
    """
    root = np.arange(count)
    while True:
        lower = root.copy()
        np.minimum.at(lower, links[:, 0], root[links[:, 1]])
        np.minimum.at(lower, links[:, 1], root[links[:, 0]])
        lower = lower[lower]
        if (lower == root).all():
            return root
        root = lower
