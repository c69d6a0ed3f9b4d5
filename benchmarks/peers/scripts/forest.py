"""A random forest of scikit-learn's defaults, with 500 trees: the 0 of the scaled score."""

from exchange import Coder, Fitted, run, store, to_frame


def fit(spec, train):
    """The forest on categories as numbers; it reports nothing."""
    from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

    X, y = train.drop(columns=spec["target"]), train[spec["target"]]
    coder, regression = Coder(X), spec["task"] == "regression"
    kind = RandomForestRegressor if regression else RandomForestClassifier
    model = kind(n_estimators=500, n_jobs=spec["cores"], random_state=spec["seed"]).fit(coder.to_numbers(X), y)

    def predict(frame):
        coded = coder.to_numbers(frame)
        return to_frame(model.predict(coded)) if regression else to_frame(model.predict_proba(coded), model.classes_)

    return Fitted(predict, "RandomForest, 500 trees", stored=store((coder.levels, model)))


if __name__ == "__main__":
    run(fit)
