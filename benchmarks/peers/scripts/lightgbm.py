"""LightGBM as its library sets it, with categories as such."""

from exchange import Coder, Fitted, run, store, to_frame


def fit(spec, train):
    """One booster of a hundred rounds; it reports nothing."""
    from lightgbm import LGBMClassifier, LGBMRegressor

    X, y = train.drop(columns=spec["target"]), train[spec["target"]]
    coder, regression = Coder(X), spec["task"] == "regression"
    kind = LGBMRegressor if regression else LGBMClassifier
    model = kind(n_jobs=spec["cores"], random_state=spec["seed"], verbosity=-1).fit(coder.to_categories(X), y)

    def predict(frame):
        coded = coder.to_categories(frame)
        return to_frame(model.predict(coded)) if regression else to_frame(model.predict_proba(coded), model.classes_)

    return Fitted(predict, "LightGBM, defaults", stored=store((coder.levels, model)))


if __name__ == "__main__":
    run(fit)
