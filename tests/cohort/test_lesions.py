"""Lesions: what they show in each contrast, how large they are, what they do to the brain around them."""

from unittest import mock

import numpy as np
import pytest
from scipy import ndimage

from essim.cohort import lesions, scanner
from essim.cohort.generate import CohortConfig, grow_subject


@pytest.mark.parametrize("kind", lesions.PATHOLOGIES)
def test_a_lesion_is_seen_as_what_it_is(kind):
    """The same head and the same noise with and without its lesion: brighter in T2w, darker in T1w; in FLAIR bright,
    but for the cavity of an infarct."""
    site = scanner.TRAINING_SITES[0]
    patient = lesions.draw_patient(kind, np.random.default_rng(3), 2, 60)
    core = patient.mask & (patient.head.fractions[2] > 0.9) & (sum(patient.lesion.values()) > 0.7)
    cavity = np.clip(patient.lesion.get("cavity", 0) + 0.0 * patient.mask, 0, 1) > 0.8
    for contrast, sign in (("t1", -1), ("t2", 1), ("flair", 1)):
        without, with_ = (
            scanner.acquire(np.random.default_rng(4), patient.head, site, contrast, lesion).astype(float)
            for lesion in (None, patient.lesion)
        )
        where = core & ~cavity if contrast == "flair" else core
        assert sign * (with_ - without)[where].mean() > 40  # of about 1000
        if contrast == "flair" and kind == "stroke":
            tissue = patient.mask & cavity & (patient.head.fractions[0] < 0.2)
            assert (with_ - without)[tissue].mean() < -40
        away = ndimage.distance_transform_edt(sum(patient.lesion.values()) == 0) > 4
        assert np.abs(with_ - without)[away & patient.head.mask].mean() < 2


def test_lesions_fill_no_more_than_a_voxel():
    for kind in lesions.PATHOLOGIES:
        patient = lesions.draw_patient(kind, np.random.default_rng(0), 4, 70)
        total = sum(patient.lesion.values())
        assert min(share.min() for share in patient.lesion.values()) >= 0 and total.max() <= 1 + 1e-5
        assert total[patient.mask].mean() > 0.3 and not total[~patient.head.mask].any()


def test_disease_ages_the_brain():
    ages = []
    for kind in lesions.PATHOLOGIES:
        with mock.patch.object(lesions, "grow_head", side_effect=lambda rng, v, age, *_: ages.append(age) or 1 / 0):
            with pytest.raises(ZeroDivisionError):
                lesions.draw_patient(kind, np.random.default_rng(1), 4, 40)
    assert all(40 < age < 40 + lesions.ATROPHY_YEARS[kind] for kind, age in zip(lesions.PATHOLOGIES, ages, strict=True))


def test_an_old_infarct_widens_the_ventricles_beside_it():
    patient = lesions.draw_patient("stroke", np.random.default_rng(1), 4, 60)
    infarct = np.zeros_like(patient.mask)
    infarct[26:30, 22:28, 20:26] = True  # right of the middle
    wider = lesions._with_wider_ventricles(patient.head, infarct, 80).fractions
    grown = wider[0] - patient.head.fractions[0]
    assert grown.min() >= 0 and grown[20:].sum() > 1.5 * grown[:20].sum() > 0
    np.testing.assert_allclose(wider.sum(0)[patient.head.mask], 1, atol=1e-5)


def test_lesion_volumes_follow_the_stated_distribution():
    for kind in lesions.PATHOLOGIES:
        median, spread, low, high = lesions.SIZES_ML[kind]
        config = CohortConfig(voxel_mm=4, patients_val=0, patients_test=5)
        volumes = [grow_subject(config, kind, i)["seg"].sum() * 0.064 for i in range(5)]
        assert 0.9 * low <= min(volumes) and max(volumes) <= 1.01 * high
        # Five draws: the median is within 3 standard errors (1.25 s / sqrt n), two-sided.
        assert abs(np.log(np.median(volumes) / median)) < 3 * 1.25 * spread / np.sqrt(5)
