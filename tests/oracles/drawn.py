"""Numbers that the Rust tests can draw for themselves: what `draw` of model/tests/support/generated.rs draws."""

import numpy as np


def draw(name: str, count: int) -> np.ndarray:
    """`count` values in [-1, 1), multiples of 2^-23: SplitMix64 from the FNV-1a hash of `name`."""
    seed = 0xCBF29CE484222325
    for byte in name.encode():
        seed = ((seed ^ byte) * 0x100000001B3) % 2**64
    z = np.arange(1, count + 1, dtype=np.uint64)
    z *= np.uint64(0x9E3779B97F4A7C15)
    z += np.uint64(seed)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    z >>= np.uint64(40)
    return (z.astype(np.int32) - 2**23).astype(np.float32) * np.float32(2.0**-23)
