"""AutoGluon with its preset best_quality."""

from exchange import Fitted, run, to_frame

METRICS = {
    "roc_auc": "roc_auc",
    "log_loss": "log_loss",
    "rmse": "root_mean_squared_error",
    "mae": "mean_absolute_error",
}


def fit(spec, train):
    """The model that it predicts with; it reports the score on its own folds."""
    from autogluon.tabular import TabularPredictor

    predictor = TabularPredictor(
        label=spec["target"],
        problem_type=spec["task"],
        eval_metric=METRICS[spec["metric"]],
        path="autogluon",
        verbosity=1,
        learner_kwargs={"random_state": spec["seed"]},
    )
    structure = {"time_on": spec["time"]} if spec["time"] else {"group_on": spec["group"]} if spec["group"] else None
    predictor.fit(
        train,
        presets="best_quality",
        time_limit=spec["budget"],
        num_cpus=spec["cores"],
        num_gpus=0,
        validation_structure=structure,
    )

    def predict(frame):
        if spec["task"] == "regression":
            return to_frame(predictor.predict(frame))
        said = predictor.predict_proba(frame)
        return to_frame(said, said.columns)

    board = predictor.leaderboard()
    best = predictor.model_best
    reported = abs(float(board.loc[board["model"] == best, "score_val"].iloc[0]))
    return Fitted(predict, best, reported, "autogluon")


if __name__ == "__main__":
    run(fit)
