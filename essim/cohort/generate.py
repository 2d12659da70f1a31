"""The built-in cohort: who is in which set, and their files on disk.

In: a `CohortConfig`. Out: a folder in the layout of the authors' preprocessed data (`Train/ixi`,
`Test/<set>`, `splits`), images int16, masks uint8, true affines, and `cohort.json`, written last. Every
subject is a function of (seed, set, index): bit-identical in any order, alone or in a batch, before or after
an interruption.
"""

import csv
import gzip
import hashlib
import json
import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from pathlib import Path

import nibabel
import numpy as np
from tqdm import tqdm

from essim.cohort import anatomy, lesions, mni, scanner
from essim.runs.files import remove, write_json, writing

SETS = ("healthy", *lesions.KINDS)
# Mean and standard deviation in years.
AGES = {"healthy": (48, 16), "tumour": (58, 12), "stroke": (64, 11), "ms": (38, 10), "wmh": (70, 8)}
WOMEN = {"healthy": 0.55, "tumour": 0.42, "stroke": 0.45, "ms": 0.72, "wmh": 0.5}
FOLDS = 5  # of cross-validation, where there are people enough
COLUMNS = ("img_name", "label", "age", "SEX_ID (1=m, 2=f)", "site", "img_path", "mask_path", "seg_path")


@dataclass(frozen=True)
class CohortConfig:
    """What is generated. `voxel_mm` is 1, 2 or 4 (4 for smoke tests only); the counts are subjects, those of
    patients for each of the four sets; `domain_shift=False` gives everybody a training site."""

    seed: int = 0
    voxel_mm: int = 2
    train: int = 64
    val: int = 8
    test: int = 16
    patients_val: int = 6
    patients_test: int = 16
    domain_shift: bool = True

    def __post_init__(self):
        if self.voxel_mm not in (1, 2, 4):
            raise ValueError(f"voxel_mm is {self.voxel_mm!r}: take 1, 2 or 4")
        for name in ("seed", "train", "val", "test", "patients_val", "patients_test"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is {value!r}: take a whole number of 0 or more")

    def splits(self, dataset: str) -> list[str]:
        """The split (train, val, test) of every subject of a set, by index; ValueError for an unknown set."""
        if dataset not in SETS:
            raise ValueError(f"dataset is {dataset!r}: take one of {', '.join(SETS)}")
        if dataset == "healthy":
            return ["train"] * self.train + ["val"] * self.val + ["test"] * self.test
        return ["val"] * self.patients_val + ["test"] * self.patients_test


def person(config: CohortConfig, dataset: str, index: int) -> dict:
    """Name, split, age (years), sex (m, f) and site of one subject; IndexError where the set is smaller."""
    splits = config.splits(dataset)
    if not 0 <= index < len(splits):
        raise IndexError(f"{dataset} has {len(splits)} subjects: there is no index {index}")
    rng = _stream(config, dataset, index, 0)
    mean, spread = AGES[dataset]
    age = round(float(np.clip(mean + spread * rng.standard_normal(), 20, 86)), 1)
    sex = "f" if rng.random() < WOMEN[dataset] else "m"
    training = scanner.TRAINING_SITES[index % len(scanner.TRAINING_SITES)]
    other = scanner.OTHER_SITES[index // (4 if dataset == "healthy" else 1) % len(scanner.OTHER_SITES)]
    # Every fourth healthy test scan comes from the patients' sites: site and lesion can be told apart.
    fourth = splits[index] == "test" and (index - config.train - config.val) % 4 == 3
    elsewhere = dataset != "healthy" or fourth
    site = other if config.domain_shift and elsewhere else training
    return {
        "subject": f"{dataset}{index:04d}",
        "dataset": dataset,
        "split": splits[index],
        "age": age,
        "sex": sex,
        "site": site.name,
    }


def subject(config: CohortConfig, dataset: str, index: int) -> dict:
    """One subject: what `person` says, `t1`, `t2` int16 (0 outside the brain), `mask` and, for patients,
    `seg` uint8, all [H, W, D], `affine` [4, 4], `displacement` [3, H, W, D] in mm. No state, no order: a pure
    function."""
    who = person(config, dataset, index)
    rng, voxel = _stream(config, dataset, index, 1), config.voxel_mm
    seg, shift = None, {"t1": None, "t2": None}
    if dataset == "healthy":
        head = anatomy.grow(rng, voxel, who["age"], who["sex"])
    else:
        patient = lesions.draw_patient(dataset, rng, voxel, who["age"], who["sex"])
        head, seg, shift = patient.head, patient.mask.astype(np.uint8), patient.shift
    site = scanner.SITES[who["site"]]
    images = {
        c: scanner.acquire(_stream(config, dataset, index, stream), head, site, c, shift[c])
        for stream, c in ((2, "t1"), (3, "t2"))
    }
    return (
        who
        | images
        | {
            "mask": head.mask.astype(np.uint8),
            "seg": seg,
            "affine": mni.affine_of(voxel),
            "displacement": head.displacement,
        }
    )


def _stream(config, dataset, index, stream) -> np.random.Generator:
    return np.random.default_rng([config.seed, SETS.index(dataset), index, stream])


def paths_of(who: dict) -> dict[str, str]:
    """The files of one subject below the data folder: t1, t2, mask and, for patients, seg."""
    folder = "Train/ixi" if who["dataset"] == "healthy" else f"Test/{who['dataset']}"
    kinds = ("t1", "t2", "mask") if who["dataset"] == "healthy" else ("t1", "t2", "mask", "seg")
    return {kind: f"{folder}/{kind}/{who['subject']}_{kind}.nii.gz" for kind in kinds}


def generate(config: CohortConfig, out: str | Path, workers: int = 1) -> Path:
    """Write the cohort into the folder `out` with `workers` processes; returns the path of `cohort.json`.

    Finished cohorts of the same recipe (parameters and source) are left alone. After an interruption the
    finished subjects are kept; another recipe starts from scratch. Raises FileExistsError where `out`
    holds scans of another origin, OSError where the disk is full; nothing half-written stays.
    """
    out, recipe = Path(out), recipe_of(config)
    done, begun = out / "cohort.json", out / "recipe.json"  # Snakemake removes the first where a cohort is out of date
    people = [(dataset, i) for dataset in SETS for i in range(len(config.splits(dataset)))]
    files = {(d, i): [out / p for p in paths_of(person(config, d, i)).values()] for d, i in people}
    if _recipe_in(done) == recipe and all(f.is_file() for group in files.values() for f in group):
        if all((out / "splits" / name).is_file() for name in _tables(config)):
            return done
    if recipe not in (_recipe_in(done), _recipe_in(begun)):
        _start_afresh(out)
    write_json(begun, {"recipe": recipe, "parameters": asdict(config)})
    remove(done)
    todo = [key for key in people if not all(f.is_file() for f in files[key])]
    _write_subjects(config, out, todo, workers, len(people))
    for name, rows in _tables(config).items():
        with writing(out / "splits" / name) as temporary, open(temporary, "w", newline="") as stream:
            csv.writer(stream).writerows([("", *COLUMNS), *((i, *row) for i, row in enumerate(rows))])
    digests = {
        str(f.relative_to(out)): hashlib.sha256(f.read_bytes()).hexdigest() for group in files.values() for f in group
    }
    write_json(done, {"parameters": asdict(config), "recipe": recipe, "files": digests})
    return done


def _start_afresh(out: Path) -> None:
    """Remove an earlier cohort, whole or not; FileExistsError where the scans are of another origin."""
    folders = [out / "Train" / "ixi", *(out / "Test" / kind for kind in lesions.KINDS), out / "splits"]
    if not (out / "cohort.json").exists() and not (out / "recipe.json").exists():
        for folder in folders:
            if folder.exists():
                raise FileExistsError(f"{folder} holds data of another origin: give another folder")
    write_json(out / "recipe.json", {"recipe": None})  # a kill from here on is still seen as ours
    for path in (out / "cohort.json", *folders):
        remove(path)


def recipe_of(config: CohortConfig) -> str:
    """Hash of the parameters and of the source that makes the subjects."""
    digest = hashlib.sha256(json.dumps(asdict(config), sort_keys=True).encode())
    for module in (mni.__file__, anatomy.__file__, lesions.__file__, scanner.__file__, __file__):
        digest.update(Path(module).read_bytes())
    return digest.hexdigest()


def _recipe_in(path: Path) -> str | None:
    try:
        return json.loads(path.read_text())["recipe"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write_subjects(config, out, todo, workers, total) -> None:
    """Every subject of `todo`, with a progress bar over the whole cohort."""
    with tqdm(total=total, initial=total - len(todo), desc="cohort", unit="subject") as bar:
        if workers <= 1 or len(todo) <= 1:
            for dataset, index in todo:
                _write_subject(config, out, dataset, index)
                bar.update()
            return
        # Spawn: forking a notebook's kernel with its threads hangs now and then, and macOS spawns anyway.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(workers, len(todo)), context, initializer=_one_thread) as pool:
            jobs = [pool.submit(_write_subject, config, out, *key) for key in todo]
            try:
                for job in as_completed(jobs):
                    job.result()
                    bar.update()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise


def _one_thread() -> None:
    os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"


def _write_subject(config: CohortConfig, out: Path, dataset: str, index: int) -> None:
    made = subject(config, dataset, index)
    for kind, path in paths_of(made).items():
        image = nibabel.Nifti1Image(made[kind], made["affine"])
        image.header.set_xyzt_units("mm")
        image.set_sform(made["affine"], code=4)  # 4: MNI space
        image.set_qform(made["affine"], code=4)
        # Gzip without name and time: the same subject gives the same bytes.
        with writing(out / path) as temporary, open(temporary, "wb") as raw:
            with gzip.GzipFile("", "wb", 1, raw, mtime=0) as stream:
                stream.write(image.to_bytes())


def _tables(config: CohortConfig) -> dict[str, list[tuple]]:
    """The split files: name -> rows. In each fold others validate, from the last of those not tested to the first."""
    folds = max(1, min(FOLDS, (config.train + config.val) // max(1, config.val)))
    tables = {f"IXI_{split}_fold{fold}.csv": [] for fold in range(folds) for split in ("train", "val")}
    tables |= {"IXI_test.csv": []} | {f"{kind}_{split}.csv": [] for kind in lesions.KINDS for split in ("val", "test")}
    for dataset in SETS:
        for index, split in enumerate(config.splits(dataset)):
            who = person(config, dataset, index)
            path = {kind: "/" + p for kind, p in paths_of(who).items()}
            if dataset != "healthy" or split == "test":
                names = [f"{dataset}_{split}.csv" if dataset != "healthy" else "IXI_test.csv"]
            else:
                own = (config.train + config.val - 1 - index) // max(1, config.val)  # the fold to validate in
                names = [f"IXI_{'val' if fold == own else 'train'}_fold{fold}.csv" for fold in range(folds)]
            for name in names:
                tables[name].append(
                    (
                        f"{who['subject']}_t1.nii.gz",
                        int(dataset != "healthy"),
                        who["age"],
                        1 if who["sex"] == "m" else 2,
                        who["site"],
                        path["t1"],
                        path["mask"],
                        path.get("seg", ""),
                    )
                )
    return tables
