"""H2O's AutoML, with a server of its own that ends with the script."""

import socket

from exchange import Fitted, divide_groups, run, to_frame

METRICS = {"roc_auc": "AUC", "log_loss": "logloss", "rmse": "RMSE", "mae": "MAE"}


def fit(spec, train):
    """The leader of its board; it reports the leader's score in cross-validation. It has no folds by time."""
    import h2o
    from h2o.automl import H2OAutoML

    h2o.init(port=_find_port(), nthreads=spec["cores"], ice_root=".", log_dir=".", bind_to_localhost=True)
    h2o.no_progress()
    features = [name for name in train if name != spec["target"]]
    table = _to_table(train, spec)
    automl = H2OAutoML(
        max_runtime_secs=int(spec["budget"]), seed=spec["seed"], sort_metric=METRICS[spec["metric"]], verbosity=None
    )
    folds = {"fold_column": "peers_fold"} if spec["group"] else {}
    if spec["group"]:
        table["peers_fold"] = h2o.H2OFrame(_number_folds(spec, train))
    automl.train(x=features, y=spec["target"], training_frame=table, **folds)
    leader = automl.leader
    if leader is None:
        raise RuntimeError("H2O has no model: its time was over before the first one was whole.")

    def predict(frame):
        said = leader.predict(_to_table(frame, spec)).as_data_frame()
        if spec["task"] == "regression":
            return to_frame(said["predict"])
        return to_frame(said.iloc[:, 1:], leader._model_json["output"]["domains"][-1])

    stored = h2o.save_model(leader, path="model", force=True)
    return Fitted(predict, leader.algo, _read_reported(leader, spec["metric"]), stored)


def _find_port():
    """A port whose neighbour is free too: the server takes both."""
    while True:
        with socket.socket() as one, socket.socket() as next_one:
            one.bind(("127.0.0.1", 0))
            try:
                next_one.bind(("127.0.0.1", one.getsockname()[1] + 1))
            except OSError:
                continue
            return one.getsockname()[1]


def _to_table(frame, spec):
    """H2O's frame: text, truth and labels as factors, as a test table of one kind of value would be read otherwise."""
    import h2o
    import pandas as pd

    def choose_type(name, column):
        if pd.api.types.is_datetime64_any_dtype(column):
            return "time"
        is_label = name == spec["target"] and spec["task"] != "regression"
        is_number = pd.api.types.is_numeric_dtype(column) and not pd.api.types.is_bool_dtype(column)
        return "real" if is_number and not is_label else "enum"

    kinds = {name: choose_type(name, column) for name, column in frame.items()}
    # A label 1 beside a column of fractions would arrive as 1.0.
    texts = {n: frame[n].astype(object).map(str).where(frame[n].notna(), None) for n in kinds if kinds[n] == "enum"}
    return h2o.H2OFrame(frame.assign(**texts).reset_index(drop=True), column_types=kinds)


def _number_folds(spec, train):
    """The fold of each row."""
    import pandas as pd

    folds = pd.Series(0, index=range(len(train)), name="peers_fold")
    for number, (_, rows) in enumerate(divide_groups(spec, train)):
        folds.iloc[rows] = number
    return folds.to_frame()


def _read_reported(leader, metric):
    scores = leader.model_performance(xval=True)
    read = {"roc_auc": "auc", "log_loss": "logloss", "rmse": "rmse", "mae": "mae"}[metric]
    return getattr(scores, read)()


if __name__ == "__main__":
    run(fit)
