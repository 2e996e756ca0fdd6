import pytest
import torch

from l2l_gail.core import GradientMixture
from l2l_gail.errors import InputError


def observe_many(mixture, truth, estimates, reference_noise, calls, seed=0):
    """Feed estimates, callables of a generator and the truth, with a noisy unbiased reference."""
    stream = torch.Generator().manual_seed(seed)
    for _ in range(calls):
        halves = []
        for _ in range(2):
            g = torch.stack([estimate(stream) for estimate in estimates])
            noise = torch.randn(len(truth), generator=stream) * reference_noise
            halves.append((g, truth + noise))
        mixture.observe(*halves)
    return mixture.weights()


def noisy(truth, deviation):
    return lambda stream: truth + deviation * torch.randn(len(truth), generator=stream)


def test_weights_are_equal_before_anything_is_seen():
    assert GradientMixture(4).weights().tolist() == [0.25] * 4


def test_unbiased_estimates_are_weighted_by_their_inverse_variances():
    truth = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    estimates = [noisy(truth, 1.0), noisy(truth, 2.0)]
    mixture = GradientMixture(2, memory=0.95, ridge=0.0)
    weights = observe_many(mixture, truth, estimates, 5.0, calls=200)
    # min_b E|(b1 + b2 - 1) truth + b1 n1 + b2 n2|^2: b proportional to 1 / variance.
    torch.testing.assert_close(weights, torch.tensor([0.8, 0.2]).double(), atol=0.02, rtol=0)


def test_a_steady_biased_estimate_shares_with_a_noisy_true_one_as_least_squares_says():
    stream = torch.Generator().manual_seed(2)
    truth, bias = torch.randn(2, 50_000, generator=stream)
    steady = truth + 0.5 * bias
    mixture = GradientMixture(2, memory=0.95, ridge=0.0)
    weights = observe_many(mixture, truth, [lambda _: steady, noisy(truth, 1.0)], 3.0, calls=100)
    # E|truth|^2 = E|bias|^2 = n: gram = n [[1.25, 1], [1, 2]], cross = n [1, 1].
    expected = torch.linalg.solve(torch.tensor([[1.25, 1.0], [1.0, 2.0]]), torch.ones(2))
    torch.testing.assert_close(weights, (expected / expected.sum()).double(), atol=0.02, rtol=0)


def test_an_estimate_that_points_away_gets_no_weight():
    truth = torch.randn(1000, generator=torch.Generator().manual_seed(3))
    weights = observe_many(
        GradientMixture(2), truth, [noisy(truth, 1.0), noisy(-truth, 0.1)], 1.0, calls=20
    )
    assert weights.tolist() == [1.0, 0.0]


def test_weights_are_the_best_of_all_that_are_not_negative():
    stream = torch.Generator().manual_seed(4)
    for _ in range(20):
        mixture = GradientMixture(3, ridge=0.0)
        g, h = torch.randn(2, 3, 5, generator=stream)
        r, s = torch.randn(2, 5, generator=stream)
        mixture.observe((g, r), (h, s))
        weights = mixture.weights()
        assert (weights >= 0).all()
        if not (mixture.cross > 0).any():
            assert weights.tolist() == [1 / 3] * 3
            continue
        # Of all directions of the quadrant, none has a higher cross / sqrt(gram).
        others = torch.rand(4000, 3, generator=stream, dtype=torch.float64)
        others = torch.where(torch.rand(4000, 3, generator=stream) < 0.4, 0.0, others)
        others = others[others.sum(1) > 0]

        def quality(w, mixture=mixture):
            return (w @ mixture.cross) / ((w @ mixture.gram) * w).sum(-1).sqrt()

        assert quality(weights) >= quality(others).max() - 1e-5


def test_alignment_is_the_cosine_of_mixture_and_reference():
    stream = torch.Generator().manual_seed(5)
    g, r = torch.randn(1, 30, generator=stream), torch.randn(30, generator=stream)
    r = r if g[0] @ r > 0 else -r
    mixture = GradientMixture(1)
    mixture.observe((g, r), (g, r))
    expected = torch.nn.functional.cosine_similarity(g[0], r, 0)
    assert mixture.alignment() == pytest.approx(float(expected), rel=1e-5)
    assert GradientMixture(1).alignment() == 0


def test_numbers_that_are_not_finite_are_left_out():
    mixture = GradientMixture(2)
    good = (torch.ones(2, 3), torch.ones(3))
    mixture.observe(good, good)
    before = {name: value.clone() for name, value in mixture.state_dict().items()}
    bad = (torch.full((2, 3), float("nan")), torch.ones(3))
    mixture.observe(good, bad)
    mixture.observe(good, (torch.ones(2, 3), torch.zeros(3)))
    assert all(torch.equal(value, before[name]) for name, value in mixture.state_dict().items())


def test_a_saved_state_goes_on_as_the_mixture_did():
    truth = torch.ones(10)
    mixture, copy = GradientMixture(2), GradientMixture(2)
    observe_many(mixture, truth, [noisy(truth, 1.0), noisy(truth, 2.0)], 1.0, calls=3)
    copy.load_state_dict(mixture.state_dict())
    assert torch.equal(mixture.weights(), copy.weights())


@pytest.mark.parametrize(
    ("size", "kwargs"), [(0, {}), (2, {"memory": 1.0}), (2, {"memory": -0.1}), (2, {"ridge": -1.0})]
)
def test_arguments_that_make_no_mixture_are_refused(size, kwargs):
    with pytest.raises(InputError, match="a mixture needs"):
        GradientMixture(size, **kwargs)
