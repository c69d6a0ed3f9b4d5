"""mljar-supervised in its mode Compete."""

from exchange import Fitted, divide_groups, run, to_frame, to_objects

METRICS = {"roc_auc": "auc", "log_loss": "logloss", "rmse": "rmse", "mae": "mae"}
TASKS = {"binary": "binary_classification", "multiclass": "multiclass_classification", "regression": "regression"}


def fit(spec, train):
    """What it takes for the best, mostly an ensemble; it reports the score on its own folds."""
    from supervised import AutoML

    train = train.sort_values(spec["time"], kind="stable") if spec["time"] else train
    train = to_objects(train).reset_index(drop=True)
    X, y = train.drop(columns=spec["target"]), train[spec["target"]]
    settings, given = _make_validation(spec, train)
    automl = AutoML(
        mode="Compete",
        ml_task=TASKS[spec["task"]],
        eval_metric=METRICS[spec["metric"]],
        total_time_limit=int(spec["budget"]),
        n_jobs=spec["cores"],
        random_state=spec["seed"],
        results_path="mljar",
        verbose=0,
        **settings,
    )
    automl.fit(X, y, **given)

    def predict(frame):
        if spec["task"] == "regression":
            return to_frame(automl.predict(to_objects(frame)))
        said = automl.predict_all(to_objects(frame))
        odds = [name for name in said if name.startswith("prediction_")]
        return to_frame(said[odds], [name.removeprefix("prediction_") for name in odds])

    board = automl.get_leaderboard()
    name = automl._best_model.get_name()
    return Fitted(predict, name, _read_reported(spec, board, name), "mljar")


def _make_validation(spec, train):
    """Settings and arguments of fit that keep groups together, or the order of time."""
    if spec["time"]:
        return {"validation_strategy": {"validation_type": "split", "train_ratio": 0.75, "shuffle": False}}, {}
    if not spec["group"]:
        return {}, {}
    return {"validation_strategy": {"validation_type": "custom"}}, {"cv": divide_groups(spec, train)}


def _read_reported(spec, board, name):
    """Losses are positive, and so is an area that it counts as a loss below zero."""
    value = board.loc[board["name"] == name, "metric_value"].iloc[0]
    return abs(float(value))


if __name__ == "__main__":
    run(fit)
