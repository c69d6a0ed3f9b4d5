"""How a validation loss changes with the penalties of a linear model, by implicit differentiation.

Coefficients b and intercept c make

    sum_i weight_i loss(y_i, x_i b + c) + sum_j (ridge_j b_j^2 / 2 + lasso_j |b_j|)

least, so its gradient is zero there, and stays zero while a penalty changes: that tells how b moves, and the validation
loss with it. One linear system with the Hessian serves all penalties at once (Pedregosa 2016, ICML, HOAG). Where there
is a lasso the same holds on the coefficients that are not zero (Bertrand et al. 2022, Journal of Machine Learning
Research 23:149). The loss is half the squared error, or the log loss of one (binary) or several classes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy.linalg import LinAlgError, solve
from scipy.sparse.linalg import LinearOperator, cg
from scipy.special import expit, softmax

from models.fitting.family import TrainingData

DENSE = 1500
"""Up to so many coefficients the Hessian is written out; above, conjugate gradients only multiply by it."""

_CHUNK = 1_000_000
"""Cells of rows that are copied at once."""

_NEWTON = 8
"""Steps at most from where a solver stopped to where the gradient is zero; each squares the error."""

_SMALL = 1e-10
"""A gradient this small beside the loss's own counts as zero."""


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a penalised linear model is least, or near there."""

    part: TrainingData
    """The training rows. A class's code is its column among the coefficients."""
    beta: np.ndarray
    """(1 or classes, columns + 1): coefficients, the intercept last."""
    ridge: np.ndarray
    """(columns,)"""
    lasso: np.ndarray
    """(columns,)"""

    @property
    def free(self) -> np.ndarray:
        """Which entries of beta move when a penalty does: with a lasso those that are not zero. A mask of the
        shape of beta."""
        return (self.beta != 0) | (np.append(self.lasso, 0.0) == 0)

    @property
    def gradient(self) -> np.ndarray:
        """Of the penalised training loss, by beta and in its shape."""
        data = _gather_by_beta(_compute_slopes(self.part, self.beta), self.part.X)
        return data + np.append(self.ridge, 0.0) * self.beta + np.append(self.lasso, 0.0) * np.sign(self.beta)


def refine_solution(
    part: TrainingData, coef: np.ndarray, intercept: np.ndarray, ridge: np.ndarray, lasso: np.ndarray
) -> Solution:
    """The coefficients of a fitted model, taken by Newton's method to where the gradient is zero on those that are not
    zero: solvers stop earlier than derivatives can bear. A coefficient that would change its sign becomes zero. `coef`
    is (1 or classes, columns), `intercept` (1 or classes,); `ridge` and `lasso` are (columns,)."""
    beta = np.column_stack([np.atleast_2d(coef), np.atleast_1d(intercept)]).astype(float)
    solution = Solution(part, beta, ridge, lasso)
    tolerance = _SMALL * max(1.0, float(np.abs(_gather_by_beta(_compute_slopes(part, 0 * beta), part.X)).max()))
    for _ in range(_NEWTON):
        residual = np.abs(solution.gradient[solution.free]).max(initial=0.0)
        if residual <= tolerance:
            break
        candidate = _take_newton_step(solution)
        if (
            not np.abs(candidate.gradient[candidate.free]).max(initial=0.0) < residual
            and (candidate.free == solution.free).all()
        ):
            break
        solution = candidate
    return solution


def _take_newton_step(solution: Solution) -> Solution:
    beta = solution.beta.copy()
    beta[solution.free] -= _solve_hessian(solution, solution.gradient[solution.free])
    flips = (beta * solution.beta < 0) & (np.append(solution.lasso, 0.0) > 0)
    return replace(solution, beta=np.where(flips, 0.0, beta))


def solve_adjoint(solution: Solution, pull: np.ndarray) -> np.ndarray:
    """What the Hessian takes to `pull`, the derivative of some loss by beta; zero where beta can't move. Both have
    beta's shape."""
    adjoint = np.zeros_like(solution.beta)
    adjoint[solution.free] = _solve_hessian(solution, pull[solution.free])
    return adjoint


def differentiate_by_penalties(solution: Solution, judge: TrainingData) -> tuple[np.ndarray, np.ndarray]:
    """Derivative of the mean loss on the validation rows (log loss, or squared error) by each column's ridge and by
    each column's lasso. Both are (columns,)."""
    adjoint = solve_adjoint(solution, _gather_by_beta(compute_mean_slopes(judge, solution.beta), judge.X))[:, :-1]
    coef = solution.beta[:, :-1]
    return -(adjoint * coef).sum(axis=0), -(adjoint * np.sign(coef)).sum(axis=0)


def differentiate_by_features(solution: Solution, judge: TrainingData) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Derivative of the mean loss on the validation rows by each cell of their X and by each cell of the training X,
    where the coefficients move as the latter tells them; and how the former pulls at the coefficients, (1 or classes,
    columns): what is derived by the penalty is minus the sum of that times them (Keerthi, Sindhwani & Chapelle 2006,
    NeurIPS)."""
    pull = compute_mean_slopes(judge, solution.beta)
    adjoint, coef = solve_adjoint(solution, _gather_by_beta(pull, judge.X)), solution.beta[:, :-1]
    shifts = _move_slopes(solution, _compute_margins(solution.part.X, adjoint))
    return (
        pull @ coef,
        -_compute_slopes(solution.part, solution.beta) @ adjoint[:, :-1] - shifts @ coef,
        adjoint[:, :-1],
    )


def compute_mean_slopes(judge: TrainingData, beta: np.ndarray) -> np.ndarray:
    """(rows, 1 or classes): derivative of the mean validation loss by what the model says of each row."""
    mass = float(len(judge.y) if judge.weight is None else judge.weight.sum()) or 1.0
    return _compute_slopes(judge, beta) * (2 if judge.shape.task == "regression" else 1) / mass


def _gather_by_beta(slopes: np.ndarray, X: np.ndarray) -> np.ndarray:
    """Derivatives by beta of a sum over rows, from those by what the model says of each row."""
    return np.column_stack([slopes.T @ X, slopes.sum(axis=0)])


def _compute_margins(X: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return X @ beta[:, :-1].T + beta[:, -1]


def _predict_rows(part: TrainingData, beta: np.ndarray) -> np.ndarray:
    """(rows, 1 or classes): predicted values, or probabilities."""
    margins = _compute_margins(part.X, beta)
    if part.shape.task == "regression":
        return margins
    return expit(margins) if len(beta) == 1 else softmax(margins, axis=1)


def _compute_slopes(part: TrainingData, beta: np.ndarray) -> np.ndarray:
    """Derivative of each row's weighted loss by what the model says of it."""
    goal = part.y[:, None] if len(beta) == 1 else np.eye(len(beta))[part.y]
    slopes = _predict_rows(part, beta) - goal
    return slopes if part.weight is None else slopes * part.weight[:, None]


def _prepare_curvature(solution: Solution) -> tuple[np.ndarray, np.ndarray]:
    """Row weights, and what the model says: the second derivatives of the rows' losses are made of them."""
    weight = np.ones(len(solution.part.y)) if solution.part.weight is None else solution.part.weight
    return weight, _predict_rows(solution.part, solution.beta)


def _solve_hessian(solution: Solution, goal: np.ndarray) -> np.ndarray:
    """The Hessian's inverse, on the entries that are free, times the goal."""
    if len(goal) > DENSE:
        operator: Any = LinearOperator((len(goal),) * 2, matvec=lambda v: _multiply_hessian(solution, v), dtype=float)  # pyright: ignore
        return cg(operator, goal, rtol=1e-10, maxiter=10 * len(goal))[0]
    hessian = _build_hessian(solution)[np.ix_(solution.free.ravel(), solution.free.ravel())]
    try:
        return solve(hessian, goal, assume_a="pos", check_finite=False)
    except LinAlgError:  # columns that say the same, and no ridge
        return np.linalg.lstsq(hessian, goal)[0]


def _build_hessian(solution: Solution) -> np.ndarray:
    (outputs, width), (weight, predictions) = solution.beta.shape, _prepare_curvature(solution)
    blocks = np.empty((outputs, width, outputs, width))
    for a in range(outputs):
        for b in range(a + 1):
            curve = weight * (
                1.0 if solution.part.shape.task == "regression" else predictions[:, a] * ((a == b) - predictions[:, b])
            )
            blocks[a, :, b] = _sum_products(solution.part.X, curve)
            blocks[b, :, a] = blocks[a, :, b].T
        blocks[a, :, a] += np.diag(np.append(solution.ridge, 0.0))
    if outputs > 1:  # a number added to all intercepts changes nothing: of such solutions the one that adds none
        blocks[:, -1, :, -1] += weight.mean()
    return blocks.reshape(solution.beta.size, solution.beta.size)


def _sum_products(X: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted sums over rows of all products of two columns, a column of ones the last; by chunks of rows, as X may
    fill much of the memory."""
    sums = np.zeros((X.shape[1] + 1,) * 2)
    step = max(1, _CHUNK // X.shape[1])
    for start in range(0, len(X), step):
        rows, weights = X[start : start + step], weight[start : start + step, None]
        sums[:-1, :-1] += rows.T @ (rows * weights)
    sums[-1] = np.append(weight @ X, weight.sum())
    sums[:, -1] = sums[-1]
    return sums


def _multiply_hessian(solution: Solution, free: np.ndarray) -> np.ndarray:
    """The Hessian on the free entries times these, without writing it out."""
    vector = np.zeros_like(solution.beta)
    vector[solution.free] = free
    shifts = _move_slopes(solution, _compute_margins(solution.part.X, vector))
    product = _gather_by_beta(shifts, solution.part.X) + np.append(solution.ridge, 0.0) * vector
    if len(vector) > 1:
        product[:, -1] += _prepare_curvature(solution)[0].mean() * vector[:, -1].sum()
    return product[solution.free]


def _move_slopes(solution: Solution, margins: np.ndarray) -> np.ndarray:
    """How each training row's slopes change when what the model says of it moves by so much."""
    weight, predictions = _prepare_curvature(solution)
    if solution.part.shape.task != "regression":
        margins = predictions * (margins - (predictions * margins).sum(axis=1, keepdims=True))
    return weight[:, None] * margins
