"""What the screen knows of a run, as told by its events, and how that looks. No clock and no terminal in here."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from flows.screen.tables import format_clock
from models.data.table import Finding
from models.outcome import STATES, format_number
from models.text.safe import to_line
from tasks.run.events import Began, Event, FindingEvent, NoteEvent, PlanEvent, TrialEvent
from tasks.run.stage import STAGES, TUNE

_STAGES = tuple(stage.name for stage in STAGES)
_WORDS = {"timeout": "timed out", "memory": "out of memory"}
_FAMILY, _CELL = 18, 11
_LEAST = 3
"""Families that are shown whatever the height is."""


@dataclass
class BoardCell:
    """One family in one fold."""

    trials: int = 0
    best: float | None = None


@dataclass
class Board:
    """The state of the display."""

    began: float
    """time.time() at which the command began."""
    budget: float | None = None
    """Wall seconds of the whole command; None where trials are counted."""
    stage: str = ""
    note: str = ""
    plan: PlanEvent | None = None
    cells: dict[tuple[str, str], BoardCell] = field(default_factory=dict)
    states: Counter[str] = field(default_factory=Counter)
    spent: float = 0.0
    """Trials so far, parts of one counted by their share."""
    passed: int = 0
    warned: list[Finding] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    stage_since: float | None = None
    tuning_since: float | None = None

    def tell(self, event: Event, now: float | None = None) -> None:
        """Takes the event in."""
        match event:
            case Began(name, note):
                self.stage, self.note, self.stage_since = name, note, now or time.time()
                self.tuning_since = self.stage_since if name == TUNE.name else self.tuning_since
            case FindingEvent(finding):
                self.passed += finding.verdict == "pass"
                self.warned += [finding] if finding.verdict != "pass" else []
            case PlanEvent():
                self.plan = event
            case TrialEvent(family, fold, _, state, inner):
                self.spent += event.share
                self._count_trial(self.cells.setdefault((family, fold), BoardCell()), state, inner)
            case NoteEvent(text):
                self.said.append(text)

    def _count_trial(self, cell: BoardCell, state: str, inner: float | None) -> None:
        cell.trials += 1
        self.states[state] += 1
        if inner is not None and math.isfinite(inner) and state == "complete" and self._is_better(inner, cell.best):
            cell.best = inner

    def _is_better(self, score: float, rival: float | None) -> bool:
        if rival is None or self.plan is None:
            return True
        return score > rival if self.plan.greater_is_better else score < rival

    def average_best(self, family: str) -> tuple[int, float] | None:
        """In how many folds the family has a score, and the mean of its best ones."""
        scores = [c.best for (name, _), c in self.cells.items() if name == family and c.best is not None]
        return (len(scores), sum(scores) / len(scores)) if scores else None

    def find_leader(self) -> str | None:
        """The family with the best mean so far, among those with scores in the most folds."""
        means = {f: m for f in (self.plan.families if self.plan else ()) if (m := self.average_best(f))}
        count = max((folds for folds, _ in means.values()), default=0)
        sign = 1 if self.plan is None or self.plan.greater_is_better else -1
        return max((f for f in means if means[f][0] == count), key=lambda f: sign * means[f][1], default=None)

    def measure_done(self, moment: float) -> tuple[float, float] | None:
        """The share that is done and the seconds that are left; None where nothing can be said yet."""
        if self.budget:
            return min(1.0, (moment - self.began) / self.budget), self.budget - (moment - self.began)
        if not self.plan or not self.plan.trials or self.tuning_since is None:
            return None
        total = self.plan.trials * len(self.plan.families) * len(self.plan.folds)
        share = min(1.0, self.spent / max(1, total))
        return share, (moment - self.tuning_since) * (1 - share) / share if share else 0.0

    def summarize(self, moment: float) -> str:
        """The state as one line, for a log."""
        parts = [f"{format_clock(moment - self.began)} {self.stage or 'start'}", f"{sum(self.states.values())} trials"]
        leader = self.find_leader()
        if leader is not None and (mean := self.average_best(leader)):
            parts.append(f"best {to_line(leader)} {format_number(mean[1])}")
        if (progress := self.measure_done(moment)) is not None and progress[1] > 0:
            parts.append(f"{format_clock(progress[1])} left")
        return ", ".join(parts)


def draw_board(board: Board, width: int, height: int, moment: float) -> RenderableType:
    """The display, in at most so many lines: the time is always there; then families, the best first; then what the
    checks found."""
    plan = board.plan
    head: list[RenderableType] = [_draw_stages(board, moment), _draw_bar(board, width, moment)]
    findings = _draw_findings(board)
    if plan is None:
        return Group(*head, *findings[: max(0, height - len(head))])
    head += ["", _draw_plan(plan), _draw_totals(board)]
    room = height - len(head) - 2  # the head of the grid, and a line that stays free for the cursor
    families = _rank_families(board, plan)[: max(_LEAST, room - 1 if room < len(plan.families) else room)]
    count = len(plan.families) - len(families)
    rest = [Text(f"  and {count} more", style="dim")] if count else []
    spare = max(0, room - len(families) - len(rest))
    return Group(*head, _draw_grid(board, plan, families, width), *rest, *findings[:spare])


def _rank_families(board: Board, plan: PlanEvent) -> list[str]:
    """The families, those with scores in the most folds first and of them the best; then as they were planned."""
    sign = 1 if plan.greater_is_better else -1

    def place(family: str) -> tuple[int, float]:
        mean = board.average_best(family)
        return (-mean[0], -sign * mean[1]) if mean else (0, 0.0)

    return sorted(plan.families, key=place)


def _draw_stages(board: Board, moment: float) -> Text:
    text, is_past = Text(no_wrap=True, overflow="ellipsis"), board.stage in _STAGES
    for name in _STAGES:
        if name == board.stage:
            text.append(f"● {name}", style="bold cyan")
            text.append(f" {format_clock(moment - (board.stage_since or moment))}", style="cyan")
            is_past = False
        else:
            text.append(f"✓ {name}" if is_past else f"· {name}", style="green" if is_past else "dim")
        text.append("  ")
    if board.note:
        text.append(to_line(board.note, 60), style="dim")
    return text


def _draw_plan(plan: PlanEvent) -> Text:
    sense = "higher" if plan.greater_is_better else "lower"
    text = Text(f"{to_line(plan.how, 60)} · {to_line(plan.metric)}, {sense} is better", style="dim")
    text.append(f" · not tried: {len(plan.left_out)}" if plan.left_out else "")
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _draw_grid(board: Board, plan: PlanEvent, families: Sequence[str], width: int) -> Table:
    """Families by folds, each cell with its trials and its best inner score; where the terminal is too narrow for that,
    families by totals."""
    is_wide = _FAMILY + _CELL * len(plan.folds) <= width
    table = Table.grid(padding=(0, 1))
    table.add_column(width=_FAMILY - 1, no_wrap=True, overflow="ellipsis")
    heads = (
        [f"fold {f}" if f.isdigit() else to_line(f, 9) for f in plan.folds]
        if is_wide
        else ["folds", "trials", "best, mean"]
    )
    for _ in heads:
        table.add_column(justify="right", no_wrap=True, width=_CELL - 1)
    table.add_row(Text("trials · best" if is_wide else "", style="dim"), *[Text(h, style="dim") for h in heads])
    leader = board.find_leader()
    for family in families:
        style = "bold green" if family == leader else ""
        name = Text(("▸ " if family == leader else "  ") + to_line(family, _FAMILY - 3), style=style)
        cells = _draw_cells(board, plan, family, style) if is_wide else _draw_sums(board, plan, family, style)
        table.add_row(name, *cells)
    return table


def _draw_cells(board: Board, plan: PlanEvent, family: str, style: str) -> list[Text]:
    texts = []
    for fold in plan.folds:
        cell = board.cells.get((family, fold))
        text = Text("·", style="dim") if cell is None else Text(f"{cell.trials} ", style="dim")
        texts.append(text.append(format_number(cell.best, 3), style=f"not dim {style}") if cell else text)
    return texts


def _draw_sums(board: Board, plan: PlanEvent, family: str, style: str) -> list[Text]:
    mean = board.average_best(family)
    trials = sum(board.cells[family, f].trials for f in plan.folds if (family, f) in board.cells)
    return [
        Text(f"{mean[0] if mean else 0}/{len(plan.folds)}"),
        Text(str(trials)),
        Text(format_number(mean[1] if mean else None), style=style),
    ]


def _draw_totals(board: Board) -> Text:
    text = Text("trials  ", style="dim", no_wrap=True, overflow="ellipsis")
    counts = [f"{board.states[s]:,} {_WORDS.get(s, s)}" for s in STATES if board.states[s]]
    text.append(" · ".join(counts) or "none yet", style="not dim")
    leader = board.find_leader()
    if leader is not None and (mean := board.average_best(leader)):
        text.append("   best  ").append(f"{to_line(leader, 24)} {format_number(mean[1])}", style="not dim bold green")
    return text


def _draw_findings(board: Board) -> list[RenderableType]:
    if not board.passed and not board.warned and not board.said:
        return []
    text = Text("checks  ", style="dim").append(f"{board.passed} passed", style="not dim green")
    text.append(f" · {len(board.warned)} warned" if board.warned else "", style="not dim yellow")
    lines = [_make_line(f"! {to_line(f.message, 160)}", "yellow") for f in board.warned[:4]]
    if len(board.warned) > 4:
        lines.append(Text(f"! and {len(board.warned) - 4} more in the report", style="yellow"))
    lines += [_make_line(f"· {to_line(s, 160)}") for s in board.said[-3:]]
    return [text, *lines]


def _make_line(text: str, style: str = "") -> Text:
    return Text(text, style=style, no_wrap=True, overflow="ellipsis")


def _draw_bar(board: Board, width: int, moment: float) -> RenderableType:
    duration, progress = moment - board.began, board.measure_done(moment)
    text = Text(format_clock(duration), style="bold")
    if progress is None:
        return text.append(" so far", style="not bold dim")
    bar = ProgressBar(
        total=1.0,
        completed=progress[0],
        width=max(10, min(40, width - 40)),
        complete_style="cyan",
        finished_style="cyan",
    )
    text.append(f" of {format_clock(board.budget)}" if board.budget else "", style="not bold")
    text.append(f" · {format_clock(progress[1])} left" if progress[1] > 0 else " · ending", style="not bold dim")
    table = Table.grid(padding=(0, 2))
    table.add_row(bar, text)
    return table
