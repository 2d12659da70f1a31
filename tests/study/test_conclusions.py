"""Conclusions follow from the numbers, whatever the kind of patients."""

import numpy as np
import pandas as pd
import pytest

from essim.study import half_real
from essim.study.conclusions import APART, CLAIMS, LESS, PAIRS, conclusions, say

LEVELS = {"l1": 0.4, "ssim 0.5": 0.3, "ssim 2": 0.2, "adaptive": 0.3, "l1 calibrated": 0.5, "calibrated": 0.6}
ENDS = ("", "_low", "_high")
ENSEMBLE_BEATS_L1, BEATS_L1 = list(PAIRS)[:2]


def patients(count, dataset="ms", **changes):
    """Scores of patients who differ slightly, with the means of LEVELS except for changes."""
    rows = []
    for method, level in (LEVELS | changes).items():
        jitter = np.random.default_rng(len(method)).normal(0, 0.01, count)
        rows += [{"method": method, "subject": f"p{i}", "auprc": level + jitter[i]} for i in range(count)]
    return pd.DataFrame(rows).assign(dataset=dataset)


@pytest.fixture
def grown(tmp_path):
    """The tables of a study: one set; l1 is clearly behind the calibrated ensemble, not clearly behind the paper's."""
    spans = {
        method: dict(zip(ENDS, (level, level - 0.05, level + 0.05), strict=True)) for method, level in LEVELS.items()
    }
    main = [{"method": m} | {f"auprc{end}": value for end, value in span.items()} for m, span in spans.items()]
    main = pd.DataFrame(main).assign(dataset="ms", subjects=16, best_dice=0.5, best_dice_low=0.4, best_dice_high=0.6)
    main.assign(prevalence=0.01).to_csv(tmp_path / "main.csv", index=False)
    main.assign(prevalence=0.01).to_csv(tmp_path / "ablation.csv", index=False)
    gains = dict.fromkeys(PAIRS.values(), (0.3, 0.2, 0.4)) | {("adaptive", "l1"): (-0.1, -0.2, 0.1)}
    claims = [pair + gain for pair, gain in gains.items()]
    claims = pd.DataFrame(claims, columns=["method", "other", "gain", "gain_low", "gain_high"])
    claims = claims.assign(dataset="ms", subjects=16)
    claims = pd.concat([claims.assign(column="protocol"), claims.assign(column="at its best", gain=9.0)])
    claims.to_csv(tmp_path / "claims.csv", index=False)
    lost = [("ssim 0.5", 0.2, 0.1, 0.3), ("ssim 2", 0.3, 0.2, 0.4), ("adaptive", 0.05, 0.0, 0.09)]
    lost = pd.DataFrame(lost, columns=["method", *(f"regret{end}" for end in ENDS)])
    lost.to_csv(tmp_path / "regret.csv", index=False)
    return tmp_path


def verdicts(table, kind):
    return table[table.patients == kind].set_index(["claim", "dataset"]).verdict


def test_of_grown_patients_the_protocol_is_read(grown):
    table = conclusions(grown, {})
    assert list(table.claim) == list(CLAIMS) and set(table.patients) == {"grown"}
    found = table.set_index("claim")
    assert found.loc[BEATS_L1, ["gain", "gain_low", "gain_high"]].tolist() == [0.3, 0.2, 0.4]
    assert found.loc[LESS, ["gain", "gain_low", "gain_high"]].tolist() == pytest.approx([0.15, 0.01, 0.3])
    assert found.verdict.tolist() == ["open"] + ["holds"] * 7


def test_patients_are_compared_with_themselves(grown):
    other = patients(12, "stroke", **{"l1": 0.2, "ssim 2": 0.35, "adaptive": 0.5})
    table = conclusions(grown, {"half-real": pd.concat([patients(12), other])})
    found = verdicts(table, "half-real")
    assert found[ENSEMBLE_BEATS_L1].to_dict() == {"ms": "the opposite", "stroke": "holds"}
    assert found[BEATS_L1].to_dict() == {"ms": "holds", "stroke": "holds"}
    assert found[APART].to_dict() == {"all": "holds"}, "0.5 in MS, 2 in stroke"
    assert found[LESS].to_dict() == {"all": "holds"}
    same = conclusions(grown, {"half-real": pd.concat([patients(12), patients(12, "stroke")])})
    assert verdicts(same, "half-real")[APART, "all"] == "open", "one window is the best in both"


def test_too_few_patients_conclude_nothing(grown):
    table = conclusions(grown, {"real": patients(2)})
    assert set(verdicts(table, "real")) == {"too few patients"}
    assert table[table.patients == "real"].gain.notna().all()


def test_sentences_follow_the_table(grown):
    first, *others = say(conclusions(grown, {"half-real": patients(12), "real": patients(1)}))
    assert len(others) == len(CLAIMS) and first.startswith("Of 8 claims, ")
    assert BEATS_L1 in first and ENSEMBLE_BEATS_L1 not in first, "grown patients leave it open, half-real ones say no"
    assert others[1].startswith(
        "The calibrated ensemble beats l1: grown: holds (ms +0.300 [+0.200, +0.400]); half-real: holds (ms +0.1"
    )
    assert others[1].endswith("; real: too few patients (ms +0.187).")


def test_a_study_that_is_not_there_is_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="claims.csv: no such file; give the tables of a finished study"):
        conclusions(tmp_path, {})


# Side by side


def scored(scores, **about):
    values = {"lesion": scores.subject, "best_dice": 0.5, "prevalence": 0.01, "marked": 0.02} | about
    return scores.assign(**values)


def test_grown_half_real_and_real_patients_stand_side_by_side(grown):
    scores = pd.concat([scored(patients(6), patients="half-real"), scored(patients(1), patients="real", lesion="")])
    table = half_real.beside_grown(scores, grown, ["ms"])
    assert table.patients.unique().tolist() == ["grown", "half-real", "real"]
    assert set(table.method) == {*half_real.SHOWN}
    best = table[table.method == "ssim best"]
    assert best.sigma.tolist() == [0.5] * 3 and best.auprc.tolist() == pytest.approx([0.3] * 3, abs=0.02)
    assert "grown" not in half_real.beside_grown(scores, grown, ["stroke"]).patients.unique()


def test_two_networks_are_compared_patient_by_patient():
    one, two = (
        scored(patients(6, l1=level), patients="half-real", network=name) for level, name in ((0.4, "a"), (0.7, "b"))
    )
    well = scored(patients(2), patients="healthy", network="a", auprc=np.nan)
    means, gains = half_real.by_training(pd.concat([one, two, well]))
    assert means[means.patients == "healthy"].marked.tolist() == [0.02] * 4
    gain = gains.set_index("scored").gain
    assert gain["l1"] == pytest.approx(0.3) and gain["calibrated"] == 0 and gains.subjects.tolist() == [6] * 4
    (sentence,) = half_real.say_training(gains)
    assert sentence.startswith("half-real ms (n = 6), AUPRC gained by training on real heads: l1 +0.30 [+0.30, ")
