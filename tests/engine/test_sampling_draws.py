"""Draws depend on seed, step and token alone, and follow the distribution that they are drawn from."""

from __future__ import annotations

import numpy as np
import pytest

from evalkit.engine.draws import gumbel, mixed, signed
from evalkit.engine.sampling import Choice, Chooser, choose


def numbers(*values):
    import torch

    return torch.tensor(values, dtype=torch.int64)


def counts_of(logits, seeds, steps):
    """How often each token is drawn, a draw for each seed and step."""
    import torch

    at = torch.cartesian_prod(seeds, steps)
    drawn = (torch.tensor(logits) + gumbel(at[:, 0], at[:, 1], len(logits))).argmax(dim=-1)
    return torch.bincount(drawn, minlength=len(logits)).numpy()


def test_the_generator_is_the_published_one():
    """The first numbers of SplitMix64 for the seed 1234567 (as in Rosetta Code and its authors' C)."""
    gamma = 0x9E3779B97F4A7C15 - 2**64
    got = mixed(numbers(1234567) + numbers(1, 2, 3, 4, 5) * gamma)
    assert [int(value) % 2**64 for value in got] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


@pytest.mark.parametrize("seeds,steps", [(20_000, 1), (1, 20_000), (100, 200)])
def test_draws_follow_the_softmax(seeds, steps):
    """Pearson's chi-square, below the 0.9999 quantile of 11 degrees of freedom."""
    import torch

    logits = np.linspace(-2.0, 2.5, 12)
    expected = np.exp(logits) / np.exp(logits).sum() * seeds * steps
    got = counts_of(logits, torch.arange(seeds) + 7, torch.arange(steps))
    assert float(((got - expected) ** 2 / expected).sum()) < 37.4


@pytest.mark.parametrize("other", [(1, 0), (0, 1), (1, 1), (2**40, 0)])
def test_neighbouring_seeds_and_steps_are_independent(other):
    """Pairs of draws from 4 equal tokens: chi-square over the 16 cells, and noise without correlation."""
    import torch

    seeds, steps = torch.arange(16_000) * 3 - 9_000, torch.zeros(16_000, dtype=torch.int64)
    first, second = gumbel(seeds, steps, 4), gumbel(seeds + other[0], steps + other[1], 4)
    pairs = torch.bincount(first.argmax(-1) * 4 + second.argmax(-1), minlength=16)
    assert float(((pairs - 1000.0) ** 2 / 1000.0).sum()) < 44.3  # the 0.9999 quantile of 15 degrees of freedom
    assert abs(float(torch.corrcoef(torch.stack([first.flatten(), second.flatten()]))[0, 1])) < 0.02


def test_noise_is_finite_and_has_gumbels_moments():
    noise = gumbel(numbers(*range(-20, 20)), numbers(*range(40)), 50_000).double()
    assert noise.isfinite().all()
    assert float(noise.mean()) == pytest.approx(0.5772, abs=0.01)
    assert float(noise.var()) == pytest.approx(np.pi**2 / 6, abs=0.02)


def test_draws_do_not_depend_on_the_batch(monkeypatch):
    import torch

    from evalkit.engine import draws

    seeds, steps = numbers(5, 2**62, -3, 5, 0), numbers(0, 3, 7, 1, 0)
    together = gumbel(seeds, steps, 1000)
    monkeypatch.setattr(draws, "_BLOCK", 1500)
    assert torch.equal(together, gumbel(seeds, steps, 1000))
    alone = torch.cat([gumbel(seed[None], step[None], 1000) for seed, step in zip(seeds, steps, strict=True)])
    assert torch.equal(together, alone)
    assert torch.equal(together[:, :300], gumbel(seeds, steps, 300))
    assert len({tuple(row.tolist()) for row in together}) == 5


@pytest.mark.parametrize("seed", [0, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**80 + 5])
def test_any_integer_is_a_seed(seed):
    assert -(2**63) <= signed(seed) < 2**63
    assert (signed(seed) - seed) % 2**64 == 0


def test_a_step_can_be_drawn_again_by_itself():
    """What a resumed run needs: no state is carried from one token to the next."""
    import torch

    logits = torch.randn((1, 60), generator=torch.Generator().manual_seed(1))
    choice = Choice(Chooser({"do_sample": True, "top_k": 40, "temperature": 1.3}, None), 11, [1])
    steps = [choose(logits.clone(), [choice], [step])[0] for step in range(12)]
    assert len(set(steps)) > 4
    assert [choose(logits.clone(), [choice], [step])[0] for step in reversed(range(12))] == steps[::-1]
