"""How networks of PyTorch are trained, for every family that does: batches, losses, early stopping, chance.

A family builds a module and gets it back with its best weights. What it then delivers is its own business; `net` and
`cnn` deliver scikit-learn's objects (models/fitting/perceptron.py). PyTorch is imported when it is needed: families can
be listed without it."""
# pyright: reportMissingImports=false
# It is an extra: types are checked where it may be missing.

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from models.fitting.family import Shape, TrainingData

if TYPE_CHECKING:
    import torch

_EVALUATED = 8192
"""Rows of one forward pass without gradients."""
_LONGEST_GRADIENT = 1.0
_LEAST_STEPS = 40
"""Batches of an epoch on small tables, whatever the batch size."""
_LEAST_L1 = 1e-6
"""A smaller penalty is none."""


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How training goes."""

    epochs: int
    """The most there may be; the schedule of the learning rate runs over so many, however early it ends."""
    patience: int
    """Epochs without a lower loss on the rows for early stopping after which it ends."""
    batch_size: int
    learning_rate: float
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    """`adamw` decays weights apart from the gradient (Loshchilov & Hutter 2019); `sgd` with Nesterov's momentum."""
    schedule: Literal["constant", "cosine"] = "constant"
    """`cosine` falls to zero at the last epoch (Loshchilov & Hutter 2017)."""
    weight_decay: float = 0.0
    l1: float = 0.0
    """Penalty on the sum of absolute weights; biases and normalisations go free, here and in the decay."""


def make_training_settings(config: Mapping[str, Any], rows: int, share: float = 1.0) -> TrainingSettings:
    """The course of a configuration with `epochs`, `batch_size`, `learning_rate`, `optimizer`, `schedule`,
    `weight_decay` and maybe `l1`, on so many rows: small tables get smaller batches. With a `share` of its epochs it is
    a short training that comes to its end, schedule and all."""
    # A step of plain descent is about ten times as short as one of Adam's.
    faster = 10.0 if config["optimizer"] == "sgd" else 1.0
    return TrainingSettings(
        epochs=math.ceil(share * config["epochs"]),
        patience=max(8, config["epochs"] // 3),
        batch_size=max(16, min(config["batch_size"], rows // _LEAST_STEPS)),
        learning_rate=config["learning_rate"] * faster,
        optimizer=config["optimizer"],
        schedule=config["schedule"],
        weight_decay=config["weight_decay"],
        l1=config.get("l1", 0.0) if config.get("l1", 0.0) > _LEAST_L1 else 0.0,
    )


@dataclass(frozen=True, eq=False)
class TrainedModule:
    """A module with its best weights, on the CPU and in evaluation mode, and what its outputs mean."""

    module: torch.nn.Module
    rounds: int
    """Epochs that made these weights."""
    centre: float = 0.0
    spread: float = 1.0
    """In regression the prediction is `centre + spread * output`."""


def count_outputs(part: TrainingData) -> int:
    """How many numbers a module has to give for a row: one, or in multiclass tasks one for each class of the part."""
    return int(part.y.max()) + 1 if part.shape.task == "multiclass" else 1


def train_module(
    build: Callable[[], torch.nn.Module],
    part: TrainingData,
    course: TrainingSettings,
    seed: int,
    threads: int,
    rounds: int | None = None,
) -> TrainedModule:
    """The module that `build` makes, trained on the part.

    `part.X` may have any shape whose first axis is rows; so has `part.stop`. The module takes float32 of that shape
    and gives (rows, `outputs(part)`): logits in classification, the scaled target in regression. With `rounds`
    exactly so many epochs and no early stopping. FloatingPointError where the loss is no number any more."""
    with _fix_randomness(seed, threads):
        return _train_until_best(build(), part, course, seed, rounds)


def continue_training(
    build: Callable[[], torch.nn.Module],
    part: TrainingData,
    course: TrainingSettings,
    seed: int,
    threads: int,
    rounds: int,
    state: Mapping[str, Any] | None = None,
) -> tuple[TrainedModule, dict[str, Any]]:
    """As `train`, so many epochs more from a state that an earlier call returned (None: from nothing); and the state of
    their end: weights, what the optimiser remembers, and chance. The learning rate is the course's throughout."""
    with _fix_randomness(seed, threads):
        return _continue_module(build(), part, course, seed, rounds, state)


def _continue_module(
    module: torch.nn.Module,
    part: TrainingData,
    course: TrainingSettings,
    seed: int,
    rounds: int,
    state: Mapping[str, Any] | None,
) -> tuple[TrainedModule, dict[str, Any]]:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    centre, spread = _measure_scale(part)
    rows = _TensorRows(part.X, part.y, part.weight, part.shape, centre, spread, device)
    loss, module = _make_loss(part.shape), module.to(device)
    steps, order = _OptimizerSteps(module, course), torch.Generator().manual_seed(seed)
    if state is not None:
        module.load_state_dict(state["module"])
        steps.take_up(state["optimizer"])
        order.set_state(state["order"])
        torch.set_rng_state(state["chance"])
    for _ in range(rounds):
        for batch in rows.draw_batches(course.batch_size, order):
            steps.step(lambda tensors=batch: loss(module(tensors[0]), tensors[1], tensors[2]))
    steps.check()
    snapshot = {"module": module.state_dict(), "optimizer": steps.optimizer.state_dict()}
    chance = {"order": order.get_state(), "chance": torch.get_rng_state()}
    return TrainedModule(module.cpu().eval(), rounds, centre, spread), {**copy.deepcopy(snapshot), **chance}


@contextmanager
def _fix_randomness(seed: int, threads: int) -> Iterator[None]:
    """Everything random starts from the seed, algorithms repeat, and so many threads are used; as before afterwards."""
    import torch

    settings = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True, warn_only=True)
            yield
    finally:
        torch.set_num_threads(settings[0])
        torch.use_deterministic_algorithms(settings[1])


def _train_until_best(
    module: torch.nn.Module, part: TrainingData, course: TrainingSettings, seed: int, rounds: int | None
) -> TrainedModule:
    import torch

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    centre, spread = _measure_scale(part)
    rows = _TensorRows(part.X, part.y, part.weight, part.shape, centre, spread, device)
    validation = None if part.stop is None or rounds else _TensorRows(*part.stop, part.shape, centre, spread, device)
    loss, module = _make_loss(part.shape), module.to(device)
    steps, order = _OptimizerSteps(module, course), torch.Generator().manual_seed(seed)
    best, weights, best_epoch, epoch = math.inf, None, 0, 0
    for epoch in range(1, (rounds or course.epochs) + 1):
        steps.begin(epoch)
        for batch in rows.draw_batches(course.batch_size, order):
            steps.step(lambda tensors=batch: loss(module(tensors[0]), tensors[1], tensors[2]))
        if validation is not None and (value := validation.measure_loss(module, loss)) < best:
            best, weights, best_epoch = value, copy.deepcopy(module.state_dict()), epoch
        if validation is not None and epoch - best_epoch >= course.patience:
            break
    steps.check()
    if weights is not None:
        module.load_state_dict(weights)
    return TrainedModule(module.cpu().eval(), best_epoch or epoch, centre, spread)


class _TensorRows:
    """Rows as tensors on the device; weights have mean 1."""

    def __init__(self, X: np.ndarray, y: np.ndarray, weight, shape: Shape, centre: float, spread: float, device):
        import torch

        goal = (y - centre) / spread if shape.task != "multiclass" else y
        weight = np.ones(len(y)) if weight is None else weight / weight.mean()
        self.X = torch.as_tensor(np.asarray(X, np.float32), device=device)
        self.goal = torch.as_tensor(np.asarray(goal, np.int64 if shape.task == "multiclass" else np.float32)).to(device)
        self.weight = torch.as_tensor(np.asarray(weight, np.float32), device=device)

    def draw_batches(
        self, size: int, order: torch.Generator
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """All rows in random order; a last row left alone goes with those before it, as it could not be normalised."""
        import torch

        count = len(self.goal)
        shuffled = torch.randperm(count, generator=order).to(self.goal.device)
        cuts = list(range(size, count - 1, size))
        for place in torch.tensor_split(shuffled, cuts):
            yield self.X[place], self.goal[place], self.weight[place]

    def measure_loss(self, module: torch.nn.Module, loss: Callable[..., torch.Tensor]) -> float:
        """The mean loss of all rows; infinite where it is no number."""
        import torch

        module.eval()
        with torch.no_grad():
            outputs = torch.cat([module(rows) for rows in self.X.split(_EVALUATED)])
            value = float(loss(outputs, self.goal, self.weight))
        module.train()
        return value if math.isfinite(value) else math.inf


class _OptimizerSteps:
    """The optimiser with its schedule and penalties."""

    def __init__(self, module: torch.nn.Module, course: TrainingSettings):
        import torch

        self.course, self.all = course, [p for p in module.parameters() if p.requires_grad]
        self.matrices = [p for p in self.all if p.ndim > 1]
        groups: list[dict[str, Any]] = [
            {"params": self.matrices, "weight_decay": course.weight_decay},
            {"params": [p for p in self.all if p.ndim <= 1], "weight_decay": 0.0},
        ]
        kinds = {
            "adam": torch.optim.Adam,
            "adamw": torch.optim.AdamW,
            "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
        }
        self.optimizer = kinds[course.optimizer](groups, lr=course.learning_rate, fused=True)
        self.last = torch.zeros(())

    def take_up(self, state: dict[str, Any]) -> None:
        """Remembers what an earlier optimiser did, with this course's learning rate and penalties."""
        settings = [{name: group[name] for name in ("lr", "weight_decay")} for group in self.optimizer.param_groups]
        self.optimizer.load_state_dict(copy.deepcopy(state))
        for group, setting in zip(self.optimizer.param_groups, settings, strict=True):
            group.update(setting)

    def begin(self, epoch: int) -> None:
        """Sets the learning rate of this epoch."""
        if self.course.schedule == "cosine":
            share = 0.5 * (1 + math.cos(math.pi * min(1.0, (epoch - 1) / self.course.epochs)))
            for group in self.optimizer.param_groups:
                group["lr"] = self.course.learning_rate * share

    def step(self, loss: Callable[[], torch.Tensor]) -> None:
        """One step against the gradient, which is cut where it is very long (Pascanu et al. 2013)."""
        import torch

        self.optimizer.zero_grad()
        self.last = loss()
        penalty = self.course.l1 * sum(p.abs().sum() for p in self.matrices) if self.course.l1 else 0.0
        (self.last + penalty).backward()
        torch.nn.utils.clip_grad_norm_(self.all, _LONGEST_GRADIENT)
        self.optimizer.step()

    def check(self) -> None:
        """FloatingPointError where training ran away."""
        if not math.isfinite(float(self.last.detach())):
            raise FloatingPointError(f"training ran away at a learning rate of {self.course.learning_rate:g}")


def _measure_scale(part: TrainingData) -> tuple[float, float]:
    """Weighted mean and standard deviation of a regression's target."""
    if part.shape.task != "regression":
        return 0.0, 1.0
    centre = float(np.average(part.y, weights=part.weight))
    spread = float(np.sqrt(np.average((part.y - centre) ** 2, weights=part.weight)))
    return centre, spread or 1.0


def _make_loss(shape: Shape) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]:
    """The weighted mean loss of (outputs, goal, weight)."""
    import torch
    from torch.nn import functional as F

    def each(outputs: torch.Tensor, goal: torch.Tensor) -> torch.Tensor:
        if shape.task == "multiclass":
            return F.cross_entropy(outputs, goal, reduction="none")
        values = outputs.squeeze(1)
        if shape.task == "binary":
            return F.binary_cross_entropy_with_logits(values, goal, reduction="none")
        residual = goal - values
        if shape.loss == "quantile":
            return torch.maximum(shape.level * residual, (shape.level - 1) * residual)
        return residual.abs() if shape.loss == "absolute" else residual.square()

    return lambda outputs, goal, weight: (each(outputs, goal) * weight).mean()
