"""Random draws that are a pure function of (seed, step, token): the same on every device, in every batch, in any order.

The generator is SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), whose
n-th number is a hash of the seed and n, so that all numbers of a step are computed at once, without a state.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

#: The constants of SplitMix64 as signed numbers: products of int64 wrap around, on every device.
_GAMMA = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64

#: Numbers at a time: 2**22 of 64 bits are 32 MB, and there are two of each.
_BLOCK = 2**22


def signed(seed: int) -> int:
    """Any integer's last 64 bits, as an int64 holds them."""
    return (int(seed) + 2**63) % 2**64 - 2**63


def gumbel(seeds: torch.Tensor, steps: torch.Tensor, size: int) -> torch.Tensor:
    """Gumbel noise (rows, size) in float32, finite, for the tokens 0 to ``size`` - 1.

    ``seeds`` and ``steps`` (rows,) are int64: which sequence is continued, and how many new tokens it has.
    """
    import torch

    keys = mixed(mixed(seeds + _GAMMA) + (steps + 1) * _GAMMA)
    tokens = torch.arange(1, size + 1, device=seeds.device) * _GAMMA
    noise = torch.empty((len(keys), size), dtype=torch.float32, device=seeds.device)
    rows = max(_BLOCK // size, 1)
    for begin in range(0, len(keys), rows):
        part = noise[begin : begin + rows]
        # 63 bits: what is close to 0, which decides, keeps all digits that a float32 has. Never 0, and 1 never reached.
        part.copy_(mixed(keys[begin : begin + rows, None] + tokens).bitwise_and_(2**63 - 1))
        part.mul_(2.0**-63).clamp_(2.0**-63, 1 - 2.0**-24)
        part.neg_().log1p_().neg_().log_().neg_()
    return noise


def mixed(state: torch.Tensor) -> torch.Tensor:
    """SplitMix64's numbers for the int64 ``state``, which is overwritten."""
    import torch

    # A right shift of a signed number repeats its sign, which is masked away.
    shifted = (state >> 30).bitwise_and_(2**34 - 1)
    state.bitwise_xor_(shifted).mul_(_FIRST)
    torch.bitwise_right_shift(state, 27, out=shifted).bitwise_and_(2**37 - 1)
    state.bitwise_xor_(shifted).mul_(_SECOND)
    torch.bitwise_right_shift(state, 31, out=shifted).bitwise_and_(2**33 - 1)
    return state.bitwise_xor_(shifted)
