"""A watch as a run of its own in MLflow: what was compared, and what was found."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping
from typing import Any

from tasks.run.journal import find_default_address
from tasks.tracking.mirror.entry import NOTE, PARAM, TAG, make_dataset
from tasks.tracking.orphans import make_process_tags
from tasks.tracking.store import connect_store, ensure_experiment


def record_watch(
    name: str,
    *,
    begun: float,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    tags: Mapping[str, str],
    table: Mapping[str, Any],
    files: Mapping[str, str],
    note: str = "",
    address: str | None = None,
) -> str:
    """The id of a finished run of the kind `watch` in the model's experiment. `table`: the rows as a dataset input;
    `files`: name -> text; `note`: what a person should read of it, as markdown."""
    from mlflow.entities import DatasetInput, InputTag, Metric, Param

    store, key = address or find_default_address(), f"watch-{secrets.token_hex(8)}"
    client = connect_store(store)
    # With the tags of its process: whichever command comes next closes it, should this one be killed.
    process = make_process_tags(os.getpid())
    key_tags = {"nestor.kind": "watch", "nestor.key": key, "nestor.run": key, **process}
    all_tags = {k: v[:TAG] for k, v in {**tags, **key_tags, NOTE: note}.items() if v}
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(begun))
    run_id = client.create_run(
        ensure_experiment(client, store, name), round(begun * 1000), all_tags, f"watch {stamp}"
    ).info.run_id  # fmt: skip
    moment = round(time.time() * 1000)
    client.log_batch(
        run_id,
        [Metric(k, float(v), moment, 0) for k, v in metrics.items()],
        [Param(k, str(v)[:PARAM]) for k, v in params.items() if v not in (None, "", {})],
    )
    client.log_inputs(
        run_id, [DatasetInput(make_dataset(table).dataset, [InputTag("mlflow.data.context", "watching")])]
    )
    for file, text in files.items():
        client.log_text(run_id, text, file)
    client.set_terminated(run_id, "FINISHED")
    for tag in process:
        client.delete_tag(run_id, tag)
    return run_id
