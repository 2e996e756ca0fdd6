"""What a run is judged by: held-out images after each epoch, the test images at its end."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from l2l_gail.progress import Message, Tell

from .attacks import pgd
from .cost import attacker_flops, forward_flops
from .data import Dataset, Images
from .evaluate import (
    Accuracy,
    AttackGain,
    accuracy,
    attack,
    attack_gain,
    judging_game,
    moved,
    single_step_trap,
)
from .game import ImageGame
from .guards import Guard
from .logbook import Logbook
from .masking import masking_flags
from .methods import build_method, forward_equivalents
from .pictures import save_pictures
from .registry import Method
from .settings import Settings

__all__ = ["Review"]

_GRID_IMAGES = 8
_WATCHED = 200
_TRAP_GAP = 0.2
_TRAP_FLOOR = 0.05


class Review:
    """Judge of one run; it changes neither player.

    Args:
        settings: Of the run.
        dataset: Its images.
        method: The perturbation's side.
        trained: The game that is trained on.
        evaluated: The classifier that is judged: the trained one, or its average.

    Attributes:
        game: What attacks on the judged classifier are played in, in float32 whatever the training
            is in: a learned attacker's own game.
        epochs: Epochs judged.
        curve: By measure one figure for each of them.
        best: Of the best epoch, the later of two equal ones: ``epoch``, ``score`` and the weights,
            ``classifier``.
        overfitted: Epochs that were caught in catastrophic overfitting.
    """

    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        method: Method,
        trained: ImageGame,
        evaluated: nn.Module,
    ) -> None:
        self._settings = settings
        self._dataset = dataset
        self._method = method
        self._trained = trained
        self._evaluated = evaluated
        self.game = self._new_game()
        self.epochs = 0
        self.curve: dict[str, list[float]] = {"epochs": [], "clean": [], "pgd20": [], "robust": []}
        self.best: dict[str, Any] = {}
        self.overfitted: list[int] = []

    def epoch(self, epoch: int, logbook: Logbook, folder: Path, guard: Guard, tell: Tell) -> None:
        """Judge the classifier on the held-out images, watch its health, keep the best.

        Args:
            epoch: Epochs trained.
            logbook: Takes the figures.
            folder: Takes the adversarial images, and what they are taken for.
            guard: Stops where the classifier cannot be judged.
            tell: Takes the news.

        Raises:
            InputError: Its logits are not finite, or its gradients NaN.
        """
        self.epochs = epoch
        held_out = self._dataset.held_out
        few = held_out.batch(slice(0, _WATCHED))
        watch = torch.Generator(few.x.device).manual_seed(self._settings.seed)
        radius = self._settings.radius
        with guard.judging():
            found = self._measure(held_out)
            by_fgsm, by_pgd = single_step_trap(self._trained.classifier, few, radius, watch)
        self.curve["epochs"].append(epoch)
        self.curve["clean"].append(found.clean)
        self.curve["pgd20"].append(found.pgd20)
        self.curve["robust"].append(found.robust)
        self._keep_best(found)
        trapped = by_fgsm - by_pgd > _TRAP_GAP and by_pgd < _TRAP_FLOOR
        scalars = {
            "held_out/clean": found.clean,
            "held_out/pgd20": found.pgd20,
            "held_out/robust": found.robust,
            "health/fgsm": by_fgsm,
            "health/pgd7": by_pgd,
            "health/catastrophic_overfitting": float(trapped),
        }
        if self._method.learns:
            gain = self.attack_gain(held_out[:_WATCHED])
            assert gain.rule is not None
            scalars["attacker/gain"], scalars["attacker/gain_fgsm"] = gain.rule, gain.fgsm
            distance = self._moved()
            if distance is not None:
                scalars["attacker/moved"] = distance
        logbook.scalars(scalars, epoch)
        self._log_images(logbook, folder)
        tell(
            Message(
                "line",
                f"epoch {epoch}/{self._settings.epochs}: held-out clean {found.clean:.1%}, "
                f"PGD-20 {found.pgd20:.1%}, robust {found.robust:.1%}",
            )
        )
        if trapped:
            self.overfitted.append(epoch)
            tell(
                Message(
                    "line",
                    f"warning: catastrophic overfitting, {by_fgsm:.0%} under FGSM but "
                    f"{by_pgd:.0%} under PGD-7; take more inner steps or a lower --lr",
                )
            )

    def attack_gain(self, images: Images) -> AttackGain:
        """Return what FGSM and the method's own rule gain on the classifier that is judged.

        Args:
            images: On which; for a rule that starts from what it remembers, on as many training
                images, as it knows no others.
        """
        if self._trained.memory is None:
            return attack_gain(self.game, self._method, images)
        game = self._new_game()
        game.memory = self._trained.memory
        return attack_gain(game, self._method, self._dataset.train[: len(images)])

    def summary(self, guard: Guard, tell: Tell) -> dict[str, Any]:
        """Evaluate the last and the best classifier on the test images, and say what the run was.

        Args:
            guard: Stops at figures that are not finite, and knows what was not taken.
            tell: Takes the news.

        Raises:
            InputError: A figure is not finite.
        """
        settings, classifier, test = self._settings, self._evaluated, self._dataset.test
        tell(Message("line", f"evaluates on {len(test)} test images"))
        last = self._measure(test)
        gain = self.attack_gain(test)
        guard.check_measures(attack_gain_fgsm=gain.fgsm, attack_gain_l2l=gain.rule)
        best = last
        if self.best["epoch"] != self.epochs:
            weights = copy.deepcopy(classifier.state_dict())
            classifier.load_state_dict(self.best["classifier"])
            best = self._measure(test)
            classifier.load_state_dict(weights)
        flags = masking_flags(classifier, test, {}, seed=settings.seed)
        for flag in flags:
            tell(Message("line", f"sign of masked gradients: {flag}"))
        shape = tuple(test.pixels.shape[1:])
        flops = forward_flops(classifier, 1, *shape)
        attacker = attacker_flops(self._method, *shape)
        # What has neither convolution nor matrix product counts as none, and cannot be a measure.
        share = (attacker or 0) / flops if flops else 0.0
        learned = self._method.rule.parameters() if self._method.learns else ()
        return {
            "kind": "cifar",
            "method": settings.label,
            "data": self._dataset.name,
            "seed": settings.seed,
            "epochs": self.epochs,
            "clean": last.clean,
            "pgd20": last.pgd20,
            "robust": last.robust,
            "clean_best": best.clean,
            "pgd20_best": best.pgd20,
            "robust_best": best.robust,
            "best_epoch": self.best["epoch"],
            "forward_equivalents": forward_equivalents(settings, share),
            "attack_gain_fgsm": gain.fgsm,
            "attack_gain_l2l": gain.rule,
            "attacker_moved": self._moved() if self._method.learns else None,
            "catastrophic_overfitting_epochs": self.overfitted,
            "masking_flags": flags,
            **guard.counts,
            "train_images": len(self._dataset.train),
            "held_out_images": len(self._dataset.held_out),
            "eval_images": len(test),
            "params": sum(p.numel() for p in classifier.parameters()),
            "attacker_params": sum(p.numel() for p in learned),
            "flops": flops,
            "attacker_flops": attacker,
            "device": str(test.pixels.device),
            "settings": settings.to_dict(),
            "curve": self.curve,
        }

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold of it."""
        return {"curve": self.curve, "best": self.best, "overfitted": self.overfitted}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take over a state of :meth:`state_dict`; entries beside it do not matter."""
        self.curve = state["curve"]
        self.best = state["best"]
        self.overfitted = state["overfitted"]
        self.epochs = int(self.curve["epochs"][-1]) if self.curve["epochs"] else 0

    def _new_game(self) -> ImageGame:
        if self._method.learns:
            return judging_game(self._evaluated, self._settings.radius, self._method)
        return ImageGame(self._evaluated, self._settings.radius)

    def _measure(self, images: Images) -> Accuracy:
        settings = self._settings
        return accuracy(self._evaluated, images, settings.radius, seed=settings.seed)

    def _keep_best(self, found: Accuracy) -> None:
        # Robust accuracy is no goal of standard training: its least trained epoch has the most.
        score = found.clean if self._settings.method == "standard" else found.robust
        if not self.best or score >= self.best["score"]:  # of two equal ones the longer trained
            weights = copy.deepcopy(self._evaluated.state_dict())
            self.best = {"epoch": self.epochs, "score": score, "classifier": weights}

    def _moved(self) -> float | None:
        return moved(self._method.rule, build_method(self._settings).rule)

    def _log_images(self, logbook: Logbook, folder: Path) -> None:
        """Show the learned attacker's images, or PGD-20's where none is learned."""
        few = self._dataset.test.batch(slice(0, _GRID_IMAGES))
        if self._method.learns:
            perturbed = attack(self.game, self._method, few)
        else:
            perturbed = pgd(self._evaluated, few, self._settings.radius)
        logbook.images(_as_rgb(few.x), _as_rgb(perturbed), self.epochs)
        save_pictures(
            folder,
            self._evaluated,
            few,
            perturbed,
            data=self._dataset.name,
            classes=self._dataset.classes,
        )


def _as_rgb(x: Tensor) -> Tensor:
    """Return images with three channels: grey ones repeated, of more than three the first."""
    return x[:, :3] if x.shape[1] >= 3 else x[:, :1].expand(-1, 3, -1, -1)
