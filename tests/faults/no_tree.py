"""Point 11: boosted trees whose leaves would need more examples than there are, so none is grown."""

from __future__ import annotations

from sklearn.ensemble import HistGradientBoostingClassifier

from hepbench import Model, hookimpl


class Treeless:
    """Boosted trees with a wrong ``min_samples_leaf``."""

    trusts = ("sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",)

    def __init__(self):
        self.trees = None
        self.parameters = 0

    def fit(self, data, *, seed):
        self.trees = HistGradientBoostingClassifier(min_samples_leaf=10_000, random_state=seed)
        self.trees.fit(data.train.inputs["table"], data.train.labels)
        nodes = (len(tree.nodes) - 1 for step in self.trees._predictors for tree in step)
        self.parameters = sum(nodes)

    def scores(self, inputs):
        return self.trees.predict_proba(inputs["table"])


@hookimpl
def hepbench_models():
    return [
        Model(
            name="treeless",
            summary="boosted trees without a split",
            inputs=("table",),
            build="no_tree:build",
            offers=frozenset({"estimate"}),
        )
    ]


def build(shapes):
    return Treeless()
