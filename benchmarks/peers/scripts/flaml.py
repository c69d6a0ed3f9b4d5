"""FLAML's AutoML as a user calls it."""

from exchange import Fitted, run, store, to_frame, to_objects


def fit(spec, train):
    """The best model, fitted again on all rows; it reports the score that chose it."""
    from flaml import AutoML

    automl, regression = AutoML(), spec["task"] == "regression"
    train = train.sort_values(spec["time"], kind="stable") if spec["time"] else train
    structure = {"split_type": "time"} if spec["time"] else {}
    if spec["group"]:
        structure = {"split_type": "group", "groups": train[spec["group"]].to_numpy()}
    automl.fit(
        to_objects(train.drop(columns=spec["target"])).reset_index(drop=True),
        train[spec["target"]].reset_index(drop=True),
        task="regression" if regression else "classification",
        metric=spec["metric"],
        time_budget=spec["budget"],
        n_jobs=spec["cores"],
        seed=spec["seed"],
        verbose=1,
        **structure,
    )

    def predict(frame):
        ready = to_objects(frame)
        return to_frame(automl.predict(ready)) if regression else to_frame(automl.predict_proba(ready), automl.classes_)

    reported = 1 - automl.best_loss if spec["metric"] == "roc_auc" else automl.best_loss
    return Fitted(predict, automl.best_estimator, reported, store(automl))


if __name__ == "__main__":
    run(fit)
