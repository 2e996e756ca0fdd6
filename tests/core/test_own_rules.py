"""Rules and games of others: plausible mistakes are one line, ordinary habits of torch work."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from l2l_gail.core import SGD, Adam, Game, L2LTrainer, MatrixRule, Oracle, State, UpdateRule, Vars
from l2l_gail.errors import InputError
from tests.core.support import assert_same_course, hand_over


class Target(Game):
    """Three variables and one number, drawn to 1."""

    def init_follower(self, batch: Any) -> Vars:
        return {"w": torch.zeros(2, 3), "b": torch.zeros(())}

    def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
        return sum(((v - 1).square().sum() for v in follower.values()), torch.zeros(()))


class Answers(UpdateRule):
    """Returns what a function makes of variables, gradient and state."""

    def __init__(self, answer: Callable[[Vars, Vars, State], Any]) -> None:
        super().__init__()
        self.answer = answer

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> Any:
        return self.answer(variables, oracle(variables), state)


def moved(v: Vars, g: Vars) -> Vars:
    return {name: v[name] - 0.1 * g[name] for name in v}


def written(v: Vars, g: Vars) -> Vars:
    for name in v:
        v[name].sub_(0.1 * g[name])
    return v


def in_place(v: Vars, g: Vars) -> Vars:
    for name in v:
        v[name] = v[name] - 0.1 * g[name]
    return v


PAIR = "must return a pair, a dict of the moved variables and its state, not a"


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda v, g, s: None, PAIR),
        (lambda v, g, s: moved(v, g), PAIR),
        (lambda v, g, s: ({"w": v["w"]}, s), "must return every variable: it left out 'b'"),
        (lambda v, g, s: ({}, s), "must return every variable: it left out 'w'"),
        (lambda v, g, s: ({**v, "b": 3.0}, s), "returns 'b' as a float, not a tensor"),
        (lambda v, g, s: ({**v, "c": v["b"]}, s), "was given no variable 'c', and returns one"),
        (lambda v, g, s: ({**v, "w": v["w"].T}, s), r"'w' in shape \(3, 2\), given it in \(2, 3\)"),
        (lambda v, g, s: (written(v, g), s), "writes into the variables that it is given"),
        (lambda v, g, s: (in_place(v, g), s), "writes into the variables that it is given"),
        (lambda v, g, s: (moved(v, g), s | {"t": 1}), "a state with 't', which it was not given"),
        (lambda v, g, s: (moved(v, g), None), "its state as a dict, {} for none, not as a NoneT"),
    ],
)
def test_what_no_rule_may_return_is_refused_in_one_line(
    answer: Callable[[Vars, Vars, State], Any], said: str
) -> None:
    trainer = L2LTrainer(Target(), Answers(answer), persistent=True)
    with pytest.raises(InputError, match=said) as caught:
        trainer.step([None])
    assert "\n" not in str(caught.value)


def test_what_a_rule_was_only_told_it_may_leave_out() -> None:
    trainer = L2LTrainer(Target(), Answers(lambda v, g, s: ({"w": v["w"] - g["w"]}, s)))
    assert list(trainer.step([None])) == []


class Momentum(UpdateRule):
    """A learned momentum rule whose state may be in a container of any kind."""

    def __init__(self, kind: type, idle: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.log_lr = nn.Parameter(torch.tensor(-3.0))
        self.idle = nn.Parameter(torch.zeros(())) if idle else None

    def _held(self, moments: dict[str, Tensor]) -> Any:
        return moments if self.kind is dict else self.kind(moments.values())

    def init(self, variables: Vars) -> State:
        return {"moments": self._held({n: torch.zeros_like(v) for n, v in variables.items()})}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        held, gradient = state["moments"], oracle(variables)
        former = held if self.kind is dict else dict(zip(variables, held, strict=True))
        moments = {name: 0.9 * former[name] + gradient[name] for name in variables}
        step = self.log_lr.exp()
        after = {name: v - step * moments[name] for name, v in variables.items()}
        return after, {"moments": self._held(moments)}


class Writing(UpdateRule):
    """Momentum that does not keep its hands off what it is given."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way = way
        self.log_lr = nn.Parameter(torch.tensor(-3.0))

    def init(self, variables: Vars) -> State:
        return {"m": {n: torch.zeros_like(v) for n, v in variables.items()}, "t": 0}

    def forward(self, variables: Vars, oracle: Oracle, state: State) -> tuple[Vars, State]:
        gradient, moments, t = oracle(variables), state["m"], state["t"] + 1
        if self.way == "answer":
            for g in gradient.values():
                g.div_(1 + g.norm())
        else:
            gradient = {name: g / (1 + g.norm()) for name, g in gradient.items()}
        if self.way == "tensor":
            moments = {name: m.mul_(0.9).add_(gradient[name]) for name, m in moments.items()}
        else:
            moments = {name: 0.9 * m + gradient[name] for name, m in moments.items()}
        if self.way == "dict":
            state["t"] = t
        step = self.log_lr.exp()
        return {n: v - step * moments[n] for n, v in variables.items()}, {"m": moments, "t": t}


def writing(way: str, mode: Any) -> L2LTrainer:
    rule = Writing(way)
    optimizer = torch.optim.SGD(rule.parameters(), 0.1)
    return L2LTrainer(Target(), rule, meta_optimizer=optimizer, persistent=True, meta_mode=mode)


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
@pytest.mark.parametrize("way", ["tensor", "dict"])
def test_a_rule_that_writes_into_its_state_is_refused(way: str, mode: str) -> None:
    trainer = writing(way, mode)
    if (way, mode) == ("dict", "forward"):  # where each derivative has a dict of its own
        trainer.step([None])
        return
    refused(trainer, "Writing writes into the state that it is given: return new tensors, in new")


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
def test_a_rule_may_write_into_what_the_oracle_answers(mode: str) -> None:
    courses = {}
    for way in ("answer", "neither"):
        trainer = writing(way, mode)
        norms = [trainer.step([None]).get("meta_gradient_norm") for _ in range(5)]
        again = writing(way, mode)
        hand_over(trainer, again)
        norms.append(trainer.step([None])["meta_gradient_norm"])
        assert torch.equal(norms[-1], again.step([None])["meta_gradient_norm"])
        assert trainer.follower is not None
        courses[way] = trainer.follower, [0.0 if norm is None else float(norm) for norm in norms]
    assert_same_course([courses["answer"][0]], [courses["neither"][0]], 0, 0)
    assert courses["answer"][1] == courses["neither"][1]


def test_answers_of_the_oracle_share_no_memory() -> None:
    point = {"a": torch.ones(3), "b": torch.ones(3)}
    answer = Oracle(lambda v: (v["a"] + v["b"]).square().sum())(point)
    answer["a"].zero_()
    assert torch.equal(answer["b"], torch.full((3,), 4.0))


@pytest.mark.parametrize("mode", ["reverse", "forward", "next"])
def test_a_state_may_hold_lists_and_tuples(mode: Any) -> None:
    courses = {}
    for kind in (dict, list, tuple):
        rule = Momentum(kind)
        optimizer = torch.optim.SGD(rule.parameters(), 1e-3)
        trainer = L2LTrainer(
            Target(), rule, meta_optimizer=optimizer, persistent=True, meta_mode=mode
        )
        courses[kind] = [
            float(trainer.step([None]).get("meta_gradient_norm", torch.zeros(()))) for _ in range(8)
        ]
        assert type(trainer.state["moments"]) is kind
    assert courses[list] == courses[tuple] == courses[dict]
    assert max(courses[dict]) > 0


@pytest.mark.parametrize("no_grad", [False, True])
def test_a_parameter_that_is_never_used_has_a_gradient_of_zero_and_the_others_learn(
    no_grad: bool,
) -> None:
    rule = Momentum(dict, idle=True)
    optimizer = torch.optim.SGD(rule.parameters(), 1e-3)
    trainer = L2LTrainer(Target(), rule, meta_optimizer=optimizer, persistent=True)
    with torch.set_grad_enabled(not no_grad):
        for _ in range(3):
            trainer.step([None])
    assert float(rule.idle) == 0.0
    assert float(rule.log_lr) != -3.0


def test_parameters_that_require_no_gradient_are_passed_over_by_both_players() -> None:
    rule = MatrixRule(0.1, learn_step=False, learn_network=True)
    assert not all(p.requires_grad for p in rule.parameters())
    optimizer = torch.optim.Adam(rule.parameters(), 1e-2)
    L2LTrainer(Target(), rule, meta_optimizer=optimizer, persistent=True).step([None])

    net = nn.Sequential(nn.Linear(1, 4), nn.Linear(4, 1))
    net[0].requires_grad_(False)

    class FineTuned(Game):
        def init_follower(self, batch: Tensor) -> Vars:
            return {"x": batch.clone()}

        def follower_loss(self, follower: Vars, batch: Tensor) -> Tensor:
            return -net(follower["x"]).square().mean()

        def leader_loss(self, follower: Vars, batch: Tensor) -> Tensor:
            return net(follower["x"]).square().mean()

    before = [p.clone() for p in net.parameters()]
    leader = torch.optim.SGD(net.parameters(), 0.1)
    L2LTrainer(FineTuned(), SGD(0.1), leader_optimizer=leader).step([torch.ones(5, 1)])
    stays = [torch.equal(p, was) for p, was in zip(net.parameters(), before, strict=True)]
    assert stays == [True, True, False, False]


def test_a_variable_that_the_loss_does_not_use_stays() -> None:
    class Unused(Target):
        def init_follower(self, batch: Any) -> Vars:
            return super().init_follower(batch) | {"unused": torch.ones(3)}

        def follower_loss(self, follower: Vars, batch: Any) -> Tensor:
            return super().follower_loss({"w": follower["w"]}, batch)

    trainer = L2LTrainer(Unused(), Adam(0.1), persistent=True)
    trainer.step([None])
    assert torch.equal(trainer.follower["unused"], torch.ones(3))
    assert not torch.equal(trainer.follower["w"], torch.zeros(2, 3))


def test_a_momentum_that_is_learned_starts_above_0() -> None:
    with pytest.raises(InputError, match="starts between 0 and 1, not at 0"):
        MatrixRule(learn_momentum=True, betas=(0.0, 0.99))


class Lossy(Game):
    """A game of which one loss is wrong."""

    def __init__(self, **losses: Callable[[Tensor], Any]) -> None:
        self.weight = nn.Parameter(torch.ones(()))
        self.losses = losses

    def init_follower(self, batch: Any) -> Vars:
        return {"w": torch.zeros(2, 3)}

    def loss(self, of: str, follower: Vars) -> Any:
        right: Callable[[Tensor], Tensor] = lambda w: self.weight * (w - 1).square().sum()  # noqa: E731
        return self.losses.get(of, right)(follower["w"])

    def follower_loss(self, follower: Vars, batch: Any) -> Any:
        return self.loss("follower", follower)

    def leader_loss(self, follower: Vars, batch: Any) -> Any:
        return self.loss("leader", follower)


class LossyMeta(Lossy):
    def meta_loss(self, follower: Vars, batch: Any) -> Any:
        return self.loss("meta", follower)


NO_LOSSES = [
    (lambda w: w, r"has the shape \(2, 3\): return one number, such as its mean"),
    (lambda w: w.sum().item(), "is a float: return a tensor of one number"),
    (lambda w: w.detach().sum(), "has no gradient: compute it of the tensors that"),
]


def refused(trainer: L2LTrainer, said: str) -> None:
    with pytest.raises(InputError, match=f"^{said}") as caught:
        trainer.step([None])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("loss", "said"), NO_LOSSES)
def test_what_is_no_loss_is_refused_in_one_line(loss: Callable[[Tensor], Any], said: str) -> None:
    game = Lossy(leader=loss)
    optimizer = torch.optim.SGD([game.weight], lr=0.1)
    refused(L2LTrainer(game, SGD(0.1), leader_optimizer=optimizer), f"the leader's loss {said}")
    modes: tuple[Any, ...] = ("reverse", "forward", "next")
    for mode in modes:
        rule = MatrixRule()
        learns: dict[str, Any] = {
            "meta_optimizer": torch.optim.Adam(rule.parameters()),
            "persistent": True,
            "meta_mode": mode,
        }
        trainer = L2LTrainer(Lossy(follower=loss), rule, **learns)
        refused(trainer, f"the follower's loss {said}")
        if mode != "next":  # which takes no meta-loss of a game's own
            trainer = L2LTrainer(LossyMeta(meta=loss), rule, **learns)
            refused(trainer, f"the meta-loss {said}")


def test_a_loss_may_be_a_vector_of_one_number() -> None:
    trainer = L2LTrainer(
        Lossy(follower=lambda w: (w - 1).square().sum().view(1)), SGD(0.5), persistent=True
    )
    trainer.step([None])
    assert trainer.follower is not None
    assert torch.equal(trainer.follower["w"], torch.ones(2, 3))
