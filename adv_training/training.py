"""One run: a classifier against one method, from the first batch to the summary."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from l2l_gail.averaging import WeightAverage
from l2l_gail.checkpoints import OTHER_VERSION, load_checkpoint, save_checkpoint
from l2l_gail.devices import own_defaults
from l2l_gail.errors import InputError
from l2l_gail.experiment import Plan, check_record
from l2l_gail.files import fitting
from l2l_gail.going_on import check_nothing_lost
from l2l_gail.progress import Message, Tell, silent
from l2l_gail.runs import RunFolder
from l2l_gail.stopping import Interrupted, Stop, signals_deferred

from .attacks import JUDGED_AT_ONCE
from .cuda_graphs import check_cuda_graphs, with_cuda_graphs
from .data import Dataset
from .guards import Guard
from .layer_noise import layer_noise
from .logbook import Logbook
from .methods import build_method
from .plan import check_batch_size, check_images, plan_of
from .processes import ALONE, Processes
from .review import Review
from .rules import set_radius
from .schedule import learning_rate
from .settings import Settings
from .step import build_game, build_trainer, classifier_for, deal_out, train_step
from .trained_model import MODEL_FILE, save_model

__all__ = ["Training"]

_LOG_EVERY = 50
_TELL_EVERY = 10


class Training:
    """One run of one method, resumable to the bit.

    Args:
        settings: What to train and how.
        dataset: Images, on the device to train on.
        folder: Where checkpoint, summary and event files go.
        tell: Takes the news.
        resume: Go on from the folder's checkpoint, if there is one.
        save_every: Steps between two checkpoints inside an epoch; 0 for one after each epoch alone.
        cuda_graphs: Replay the classifier's passes as CUDA graphs: on a GPU the same training,
            faster; on a CPU nothing. See :mod:`~adv_training.cuda_graphs`.
        plan: What the run notes of itself; made from the settings by default.
        processes: Those that share each batch; all of them make a ``Training`` and run it.

    Raises:
        InputError: If the batch is larger than the training set, the folder is another seed's, or
            holds a run and ``resume`` is not given, the checkpoint was written under other settings
            or with other data, or passes are to be replayed that are compiled or shared by several
            processes; or the run is to go on and its checkpoint is gone.
    """

    @own_defaults
    def __init__(
        self,
        settings: Settings,
        dataset: Dataset,
        folder: RunFolder,
        *,
        tell: Tell = silent,
        resume: bool = False,
        save_every: int = 0,
        cuda_graphs: bool = False,
        plan: Plan | None = None,
        processes: Processes = ALONE,
    ) -> None:
        check_batch_size(settings.batch_size, dataset)
        check_images(settings, dataset)
        if folder.seed != settings.seed:
            raise InputError(
                f"{folder.path} is the folder of seed {folder.seed}, and the settings say seed "
                f"{settings.seed}; give both the same"
            )
        plan = plan or plan_of(settings, dataset)
        self.settings = settings
        self.dataset = dataset
        self.folder = folder
        self.tell = tell if processes.is_first else silent
        self.processes = processes
        device = dataset.train.pixels.device
        self._order_stream = torch.Generator(device).manual_seed(settings.seed)
        self._noise_stream = torch.Generator(device).manual_seed(settings.seed + 1)
        self.method = build_method(settings)
        self.method.rule.to(device)
        classifier = classifier_for(settings, dataset).to(device)
        deal_out(classifier, self.method, settings, processes)
        self.game = build_game(classifier, self.method, settings, self._noise_stream, dataset.train)
        self.average = WeightAverage(classifier, settings.ema) if settings.ema else None
        self.evaluated = self.average.model if self.average else classifier
        if settings.compile:
            for model in {classifier, self.evaluated}:
                model.compile()  # in place: the weights keep their names
        if cuda_graphs:
            check_cuda_graphs(settings, processes)
        self.cuda_graphs = cuda_graphs
        self.review = Review(settings, dataset, self.method, self.game, self.evaluated)
        if settings.ramp:
            set_radius(self.method.rule, settings.radius)  # or say now that it cannot be done
        self.trainer = build_trainer(self.game, self.method, settings, processes)
        averaged = {"averaged classifier": self.average.model} if self.average else {}
        self.guard = Guard(settings, self.trainer, {"classifier": classifier, **averaged})
        self.steps_per_epoch = len(dataset.train) // settings.batch_size
        self.save_every = save_every
        self.epoch = 0
        self._steps_into_epoch = 0
        self._order_at_epoch = self._order_stream.get_state()
        self._spent = (0.0, 0.0)  # wall and CPU seconds before this process took over
        self._begun = _clock()
        state = processes.from_first(lambda: self._begin(plan, resume))
        if state is not None:
            self._load(state)

    @own_defaults
    def run(self) -> dict[str, Any]:
        """Train the remaining epochs, evaluate, write the summary, and return it.

        Of several processes the first returns it, the others return nothing of it.

        Raises:
            Interrupted: After Ctrl-C or SIGTERM, with a checkpoint of where the training was.
        """
        if self.processes.from_first(
            lambda: self.epoch == self.settings.epochs and self.folder.finished
        ):
            self.tell(Message("line", "is finished already"))
            lacks_model = not os.path.exists(
                self.folder.path / MODEL_FILE
            )  # version 0.1.0 wrote none
            if self.processes.is_first and lacks_model and self.folder.has_checkpoint:
                self._save_model()
            return self.folder.read_summary()
        logbook: Logbook | None = None
        if self.processes.is_first:
            logbook = Logbook(self.folder.path, step=self.trainer.steps, epoch=self.epoch)
        settings = self.settings
        total = settings.epochs * self.steps_per_epoch
        self.tell(Message("total", amount=self.trainer.steps, total=total))
        if self.trainer.steps:
            self.tell(Message("line", f"goes on after step {self.trainer.steps} of {total}"))
        try:
            with signals_deferred() as stop, self._with_cuda_graphs():
                while self.epoch < settings.epochs:
                    self._train_epoch(logbook, stop)
                    if logbook:
                        if settings.ramp:  # the attacker is judged in the whole ball
                            self._set_radius(settings.radius)
                        with self._layer_noise():
                            self.review.epoch(
                                self.epoch, logbook, self.folder.path, self.guard, self.tell
                            )
                    self._save()
                if asked := self.processes.largest(stop()):  # heard in the last review
                    raise Interrupted(asked)
            spent = self._spent_now()
            if not logbook:
                return {}
            with self._layer_noise():
                summary = self.review.summary(self.guard, self.tell)
        finally:
            if logbook:
                logbook.close()
        # Seconds of training: a method that is judged twice on the test images is not dearer.
        summary["wall_s"], summary["cpu_s"] = spent
        summary["processes"] = self.processes.count
        self._save_model()
        self.folder.write_summary(**summary)
        return summary

    @contextmanager
    def _with_cuda_graphs(self) -> Iterator[None]:
        """Replay passes of the batch sizes of the training and of the judges, if asked to."""
        with ExitStack() as stack:
            if self.cuda_graphs:
                for model in {self.game.classifier, self.evaluated}:
                    sizes = {self.settings.batch_size, JUDGED_AT_ONCE}
                    stack.enter_context(with_cuda_graphs(model, sizes))
            yield

    def _train_epoch(self, logbook: Logbook | None, stop: Stop) -> None:
        settings = self.settings
        resumed = self._steps_into_epoch
        self._order_stream.set_state(self._order_at_epoch)
        total = settings.epochs * self.steps_per_epoch
        batches = self.dataset.train.shuffled(
            settings.batch_size, self._order_stream, augmented=self.dataset.augmented
        )
        part = self.processes.part(settings.batch_size)
        own = (batch.part(part) if self.processes.count > 1 else batch for batch in batches)
        repeated = (batch for batch in own for _ in range(self.method.replays))
        told = resumed
        for i, batch in enumerate(islice(repeated, self.steps_per_epoch), start=1):
            if i <= resumed:
                continue  # trained on in an earlier sitting; drawn again for the generator's sake
            # The rate in the middle of the step, so that neither the first nor the last is 0.
            done = (self.trainer.steps + 0.5) / total
            rate = self._set_rate(learning_rate(done, settings))
            if settings.ramp:
                self._set_radius(settings.radius * min(1.0, done / settings.ramp))
            with self._layer_noise():
                stats = train_step(self.trainer, self.method, batch)
            self.guard.after_step()
            if self.average:
                self.average.follow(self.game.classifier)
            if i % _TELL_EVERY == 0 or i == self.steps_per_epoch:
                text = f"epoch {self.epoch + 1}, loss {float(stats['leader_loss']):.3f}"
                self.tell(Message("advance", text, i - told))
                told = i
            if i % _LOG_EVERY == 0 or i == self.steps_per_epoch:
                scalars = self._step_scalars(stats, rate)
                if logbook:
                    logbook.scalars(scalars, self.trainer.steps)
            self._steps_into_epoch = i
            asked = self.processes.largest(stop())  # by a signal to any of them
            if asked or (self.save_every and i % self.save_every == 0):
                self._save()
            if asked:
                raise Interrupted(asked)
        self.epoch += 1
        self._steps_into_epoch = 0
        self._order_at_epoch = self._order_stream.get_state()

    def _layer_noise(self) -> AbstractContextManager[None]:
        place = self.settings.seed, self.trainer.steps, self.processes.rank
        return layer_noise(self._order_stream.device, *place)

    def _set_radius(self, radius: float) -> None:
        self.game.eps = radius
        set_radius(self.method.rule, radius)

    def _set_rate(self, rate: float) -> float:
        assert self.trainer.leader_optimizer is not None
        for group in self.trainer.leader_optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _step_scalars(self, stats: dict[str, Tensor], rate: float) -> dict[str, float]:
        loss, right = self.processes.mean([stats["leader_loss"], self.game.last_accuracy])
        scalars = {
            "train/loss": float(loss),
            "train/accuracy": float(right),
            "train/lr": rate,
        }
        if self.method.learns and "meta_gradient_norm" in stats:
            scalars["attacker/gradient_norm"] = float(stats["meta_gradient_norm"])
        return scalars

    def _spent_now(self) -> tuple[float, float]:
        wall, cpu = _clock()
        spent = self.processes.total(cpu - self._begun[1])
        return self._spent[0] + wall - self._begun[0], self._spent[1] + spent

    def _save_model(self) -> None:
        weights = {"best": self.review.best["classifier"], "last": self.evaluated.state_dict()}
        path = self.folder.path / MODEL_FILE
        save_model(path, self.settings, self.dataset, method=self.method, **weights)

    def _save(self) -> None:
        self.guard.check_state()
        state = self._state()
        if self.processes.is_first:
            save_checkpoint(self.folder.checkpoint, state)

    def _state(self) -> dict[str, Any]:
        return {
            "device": self._order_stream.device.type,
            "classifier": self.game.classifier.state_dict(),
            "average": self.average.state_dict() if self.average else None,
            "trainer": self.trainer.state_dict(),
            "memory": self.game.memory.state_dict() if self.game.memory else None,
            "order": self._order_at_epoch,
            "steps_into_epoch": self._steps_into_epoch,
            "noise": self._noise_stream.get_state(),
            "epoch": self.epoch,
            **self.review.state_dict(),
            "spent": list(self._spent_now()),
        }

    def _begin(self, plan: Plan, resume: bool) -> dict[str, Any] | None:
        """Return the checkpoint to go on from; note down a new run."""
        if resume:
            check_record(self.folder.path, plan, resume=True)
        if resume and self.folder.has_checkpoint:
            return load_checkpoint(self.folder.checkpoint)
        if resume and self.folder.only_result_left("epochs", self.settings.epochs):
            self.epoch = self.settings.epochs
            return None
        if self.folder.finished or self.folder.has_checkpoint:
            raise InputError(
                f"{self.folder.path} holds a run already: give resume=True to go on with it, or "
                "RunFolder.create(...) for a folder of its own"
            )
        if resume:
            every = self.steps_per_epoch
            check_nothing_lost(self.folder, min(every, self.save_every or every), self.tell)
        self.folder.write_config(plan.record)
        return None

    def _load(self, state: dict[str, Any]) -> None:
        if state.get("device") != self._order_stream.device.type:
            raise InputError(
                f"{self.folder.path} was trained on {state.get('device')}, whose random states do "
                f"not fit {self._order_stream.device.type}; resume it there, or leave --resume out"
            )
        with fitting(self.folder.checkpoint, OTHER_VERSION):
            self._restore(state)

    def _restore(self, state: dict[str, Any]) -> None:
        self.game.classifier.load_state_dict(state["classifier"])
        if self.average:
            self.average.load_state_dict(state["average"])
        self.trainer.load_state_dict(state["trainer"])
        if self.game.memory:
            self.game.memory.load_state_dict(state["memory"])
        self._order_at_epoch = state["order"]
        self._steps_into_epoch = state.get("steps_into_epoch", 0)  # 0.1.0 saved whole epochs alone
        self._noise_stream.set_state(state["noise"])
        self.epoch = state["epoch"]
        self.review.load_state_dict(state)
        self._spent = (state["spent"][0], state["spent"][1])


def _clock() -> tuple[float, float]:
    """Return wall and CPU seconds of this process, all threads included."""
    return time.perf_counter(), time.process_time()
