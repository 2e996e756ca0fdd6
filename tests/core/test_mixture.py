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
    ("size", "kwargs", "message"),
    [
        (0, {}, "size must be a whole number from 1 on, not 0"),
        (2, {"memory": 1.0}, "memory must be from 0 to below 1, not 1.0"),
        (2, {"memory": -0.1}, "memory must be"),
        (2, {"memory": "0.9"}, "memory must be"),
        (2, {"ridge": -1.0}, "ridge must be 0 or more and finite, not -1.0"),
        (2, {"caution": -1.0}, "caution must be"),
        (2, {"caution": float("inf")}, "caution must be"),
        (2, {"fallback": 2}, "fallback must be the number of an estimate, not 2"),
        (2, {"fallback": -1}, "fallback must be"),
    ],
)
def test_arguments_that_make_no_mixture_are_refused(size, kwargs, message):
    with pytest.raises(InputError, match=message):
        GradientMixture(size, **kwargs)


def test_with_caution_noise_alone_leaves_nearly_all_to_the_fallback():
    zero = torch.zeros(50)
    estimates = [noisy(zero, 1.0)] * 4

    def share_of_the_first(caution):
        shares = []
        for seed in range(40):
            mixture = GradientMixture(4, caution=caution)
            shares.append(float(observe_many(mixture, zero, estimates, 1.0, 30, seed)[0]))
        return sum(shares) / len(shares)

    assert share_of_the_first(caution=0.0) == pytest.approx(0.25, abs=0.1)
    assert share_of_the_first(caution=2.0) > 0.8


def test_caution_leaves_the_weights_of_what_is_better_beyond_doubt():
    truth = torch.randn(20_000, generator=torch.Generator().manual_seed(1))
    estimates = [noisy(truth, 3.0), noisy(truth, 1.0)]
    bold = observe_many(GradientMixture(2), truth, estimates, 1.0, calls=100)
    cautious = observe_many(GradientMixture(2, caution=1.0), truth, estimates, 1.0, calls=100)
    torch.testing.assert_close(cautious, bold, atol=0.02, rtol=0)
    assert cautious[1] > 0.85


def test_the_doubt_is_the_standard_error_of_an_exponential_average():
    stream = torch.Generator().manual_seed(5)
    mixture = GradientMixture(2, memory=0.5, caution=3.0, ridge=0.0, fallback=1)
    crosses, weights = [], []
    for call in range(6):
        g, h = torch.randn(2, 2, 4, generator=stream) + 2.0
        r, s = torch.randn(2, 4, generator=stream) + 2.0
        mixture.observe((g, r), (h, s))
        unit = float(r.norm() * s.norm())
        crosses.append(((g @ s + h @ r) / 2 / unit).double())
        weights.append(0.5 * 0.5 ** (5 - call))
    share = torch.tensor(weights).double() / sum(weights)
    cross = torch.stack(crosses)
    difference = cross[:, 0] - cross[:, 1]
    mean = share @ difference
    variance = share @ (difference - mean) ** 2
    calls = 3 * sum(weights)  # (1 + memory) / (1 - memory), times the weight that is there
    lowered = share @ cross[:, 0] - 3.0 * (variance / (calls - 1)).sqrt()
    gram = mixture.gram / mixture.seen
    expected = torch.linalg.solve(gram, torch.stack([lowered, share @ cross[:, 1]]))
    expected = expected.clamp(min=0)
    if (expected == 0).any():  # the other one alone
        expected = (expected > 0).double()
    torch.testing.assert_close(mixture.weights(), expected / expected.sum(), atol=1e-6, rtol=0)


def test_a_cautious_mixture_whose_reference_points_away_is_the_fallback():
    mixture = GradientMixture(3, caution=1.0, fallback=2)
    g, r = torch.ones(3, 4), -torch.ones(4)
    mixture.observe((g, r), (g, r))
    assert mixture.weights().tolist() == [0.0, 0.0, 1.0]
