"""Every reconstructor under every score: folders with several draws, both columns, costs, sentences."""

import json

import numpy as np
import pandas as pd
import pytest
from test_rebuilt import ASKED, noisy

from essim.methods import registry
from essim.methods.context import Context
from essim.methods.reconstructors import ae, blur, ddpm
from essim.study import methods, rebuilt
from essim.train.trained import NETWORKS


@pytest.fixture
def noise_rebuilt(folder, tmp_path):
    out = tmp_path / "methods/noisy/ms"
    rebuilt.rebuild(folder, out, noisy, **ASKED)
    return out


@pytest.fixture
def judged(noise_rebuilt):
    scores = {name: registry.scores()[name] for name in ("l1", "l2", "mahalanobis", "calibrated")}
    folders, contexts = {"ms": noise_rebuilt}, {"ms": Context()}
    table, choices = methods.score(folders, scores, contexts)
    costs = methods.costs(
        folders, scores, contexts, lambda dataset, score: {"training_minutes": 5.0, "training_slices": 24000}
    )
    return [frame.assign(reconstructor="ddpm") for frame in (table, choices, costs)]


def test_every_score_is_judged_twice_and_what_it_lacks_leaves_it_out(judged):
    table, choices, _ = judged
    assert list(choices.method) == ["l1", "l2", "mahalanobis"], "there is no calibration"
    assert list(table.split.unique()) == ["val", "test"]
    assert list(table.method.unique()) == ["l1", "l2", "mahalanobis", "l1 smoothed"]
    wide = table.pivot(index="subject", columns="method", values="protocol")
    np.testing.assert_allclose(wide["l1"], wide["l2"], atol=1e-12, err_msg="a median keeps the order")
    chosen = table[table.split == "val"]
    assert (chosen.at_best >= chosen.protocol - 1e-12).all()


def test_a_set_without_a_validation_part_is_only_tested(noise_rebuilt, tmp_path):
    rebuilt.rebuild(noise_rebuilt, tmp_path / "real", noisy, **ASKED | {"counts": {"test": 1}})
    scores, folders = {"l1": registry.scores()["l1"]}, {"ms": noise_rebuilt, "real": tmp_path / "real"}
    table, _ = methods.score(folders, scores, dict.fromkeys(folders, Context()))
    assert list(table.split).count("val") == 2 and list(table.split).count("test") == 4
    with pytest.raises(ValueError, match="real: has no validation cases; post-processing is chosen on"):
        methods.score({"real": tmp_path / "real"}, scores, {"real": Context()})


def test_costs_and_what_they_buy(judged):
    table, _, costs = judged
    assert list(costs.score) == ["", "l1", "l2", "mahalanobis"]
    assert list(costs.training_minutes) == [5, 0, 0, 0], "only a score with its own network needs training"
    trade = methods.trade(table, costs, {"ddpm": ["l1", "mahalanobis"]})
    seconds = costs.set_index("score").seconds
    np.testing.assert_allclose(trade.seconds, [seconds[""] + seconds[name] for name in ("l1", "mahalanobis")])
    test = table[(table.split == "test") & (table.method == "mahalanobis")]
    assert trade.auprc[1] == pytest.approx(test.at_best.mean()) and list(trade.training_slices) == [24000, 24000]
    assert trade.gain[0] == 0 and trade.gain[1] == pytest.approx(trade.auprc[1] - trade.auprc[0])


def test_a_score_that_needs_no_reconstruction_stands_alone(judged):
    table, _, costs = judged
    costs.loc[costs.score == "l2", ["alone", "training_slices"]] = True, 24000
    trade = methods.trade(table, costs, {"ddpm": ["l1", "l2"]})
    assert list(trade.name) == ["ddpm", "l2"] and list(trade.training_slices) == [24000, 24000], "it uses its network"
    assert trade.seconds[1] == costs.set_index("score").seconds["l2"], "without the reconstruction's"


def scores_of(values):
    """A score table: {(reconstructor, method, split): AUPRC of the patients}, of two sets."""
    rows = [
        {"reconstructor": r, "method": m, "split": split, "dataset": dataset, "subject": str(i), "at_best": value}
        for (r, m, split), patients in values.items()
        for dataset in ("ms", "stroke")
        for i, value in enumerate(patients)
    ]
    return pd.DataFrame(rows).assign(protocol=0.0)


def test_a_reconstructors_score_is_chosen_on_the_validation_part():
    table = scores_of(
        {
            **{("ddpm", "l1", "val"): [0.5, 0.7], ("ddpm", "l2", "val"): [0.7, 0.8], ("blur", "l1", "val"): [0.1]},
            **{("ddpm", "l1", "test"): [0.9], ("ddpm", "l2", "test"): [0.1], ("blur", "l1", "test"): [0.1]},
        }
    )
    assert methods.chosen(table) == {"ddpm": "l2", "blur": "l1"}
    grid = methods.grid(table).set_index(["reconstructor", "dataset", "method"])
    assert grid.auprc["ddpm", "ms", "l1"] == 0.9 and (methods.grid(table, "protocol").auprc == 0).all()


def test_published_orderings_are_said_with_their_interval():
    rng = np.random.default_rng(0)
    l1 = rng.uniform(0.1, 0.2, 12)
    table = scores_of({("ddpm", "l1", "test"): l1, ("ddpm", "ssim_l1", "test"): l1 + 0.3 + 0.01 * rng.random(12)})
    table = pd.concat([table, scores_of({("mddpm", "l1", "test"): l1 - 0.05})])
    said = list(methods.say_published(table))
    assert len(said) == len(methods.PUBLISHED_SCORES) + len(methods.PUBLISHED_RECONSTRUCTORS)
    (fusion,) = [sentence for sentence in said if "2408.08228" in sentence]
    assert "ms better (+0.30" in fusion and "stroke better" in fusion
    assert "Published: mahalanobis ahead of l1 (arXiv 2407.12474); not tried." in said
    (masked,) = [sentence for sentence in said if "mddpm ahead of ddpm" in sentence]
    assert "ms worse (-0.050 [-0.050, -0.050])" in masked


def test_steps_that_a_network_knows(tmp_path):
    for t_range, known in (([100, 300], (160, 300)), (None, (160, 300, 390)), ([400, 600], ())):
        training = {"t_range": t_range, "timesteps": 1000}
        (tmp_path / "config.json").write_text(json.dumps({"training": training}))
        assert methods.steps_known(tmp_path, [160, 300, 390]) == known


def test_what_a_training_was_is_told_by_its_folder(tmp_path):
    log = pd.DataFrame({"step": [2, 4, 6], "seconds": [60.0, 90.0, 290.0]})
    for network, about in (
        ("ae", {"autoencoder": {"steps": 10, "batch": 8}}),
        ("diffusion", {"steps": 30, "training": {"batch": 4}}),
    ):
        _, description, name = NETWORKS[network]
        (tmp_path / description).write_text(json.dumps(about))
        log.to_csv(tmp_path / name, index=False)
    assert methods.training_of(ae, tmp_path) == {"training_minutes": 1.5, "training_slices": 80}, "at its fastest pace"
    assert methods.training_of(ddpm, tmp_path)["training_slices"] == 120
    assert methods.training_of(blur, tmp_path) == methods.UNTRAINED
