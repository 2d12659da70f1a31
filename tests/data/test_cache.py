"""The cache of preprocessed scans: the same result without reading again, and never an outdated one."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from helpers import AS_IT_IS, brain, row, save

from essim.data.volumes import load_scan
from essim.settings import Preprocessing


def assert_same(one, two):
    for part in ("image", "mask", "seg", "ignored", "affine"):
        np.testing.assert_array_equal(getattr(one, part), getattr(two, part))
        assert getattr(one, part).dtype == getattr(two, part).dtype


def test_the_cache_gives_the_same_without_reading_again(tmp_path, monkeypatch):
    scan = row(tmp_path / "in", lesion=brain()[1])
    first = load_scan(scan, AS_IT_IS, tmp_path / "cache")
    assert_same(first, load_scan(scan, AS_IT_IS))
    monkeypatch.setattr("essim.data.volumes.preprocess", None)
    assert_same(load_scan(scan, AS_IT_IS, tmp_path / "cache"), first)


def test_the_cache_knows_what_changed(tmp_path):
    cache = tmp_path / "cache"
    scan = row(tmp_path / "in", lesion=brain()[1])
    load_scan(scan, AS_IT_IS, cache)
    image, mask = brain(seed=9)
    save(tmp_path / "in/s0_t2.nii.gz", image)  # another image under the same name
    assert_same(load_scan(scan, AS_IT_IS, cache), load_scan(scan, AS_IT_IS))
    mask[:, :, :4] = False
    save(tmp_path / "in/s0_mask.nii.gz", mask.astype(np.uint8))
    assert_same(load_scan(scan, AS_IT_IS, cache), load_scan(scan, AS_IT_IS))
    smaller = Preprocessing(smooth=False, shape=(12, 12, 8), factor=1)
    assert load_scan(scan, smaller, cache).image.shape == (12, 12, 8)
    assert load_scan(scan | {"ignore": 1}, AS_IT_IS, cache).ignored.any()
    assert len(list(cache.iterdir())) == 5


def test_several_may_fill_the_cache_at_once(tmp_path):
    scan, cache = row(tmp_path / "in"), tmp_path / "cache"
    with ThreadPoolExecutor(8) as pool:
        every = list(pool.map(lambda _: load_scan(scan, AS_IT_IS, cache), range(24)))
    for one in every:
        assert_same(one, every[0])
    assert [path.suffix for path in cache.iterdir()] == [".npz"]
    assert_same(load_scan(scan, AS_IT_IS, cache), every[0])


def test_a_damaged_cache_is_made_again(tmp_path):
    scan, cache = row(tmp_path / "in"), tmp_path / "cache"
    first = load_scan(scan, AS_IT_IS, cache)
    (file,) = cache.iterdir()
    file.write_bytes(file.read_bytes()[:300])
    assert_same(load_scan(scan, AS_IT_IS, cache), first)
    assert_same(load_scan(scan, AS_IT_IS, cache), first)
    assert list(cache.iterdir()) == [file]
