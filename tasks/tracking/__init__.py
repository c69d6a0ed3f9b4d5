"""MLflow as a mirror of the event journal: one process, runs by id, never "the active run".

__main__    the process: `python -m tasks.tracking WORKDIR`
mirror      makes MLflow hold what the journal says
entry       a record within MLflow's limits
bulk        many ended trials in one transaction
store       the address, the experiment, errors
orphans     runs whose process is gone
seal        what a model's first run fixes for the later ones; how often sealed rows were opened, and decided
moves       who was champion when
challengers how many challengers a champion has met
described   descriptions and a view for MLflow's page      opening     how that page opens
look        `list_runs` and `fetch_artifact`, for any process
past        a finished run as a later one needs it

wandb_writer, wandb_runs    the same tree for Weights & Biases, by a process of its own
"""

from tasks.tracking.look import fetch_artifact, list_runs
from tasks.tracking.past import PastRun, find_newest_run, list_finished_runs

__all__ = ["PastRun", "fetch_artifact", "find_newest_run", "list_finished_runs", "list_runs"]
