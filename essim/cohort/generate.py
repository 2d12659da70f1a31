"""The built-in cohort: who is in which set, and their files on disk.

In: a `CohortConfig`. Out: a prepared folder (essim.data.prepared) with images int16, masks uint8, true affines, and
`cohort.json`, written last. Every subject is a function of (seed, set, index): bit-identical in any order, alone or in
a batch, before or after an interruption.
"""

import gzip
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import nibabel
import numpy as np
from tqdm import tqdm

from essim.cohort import anatomy, lesions, mni, scanner, tissues
from essim.data import prepared
from essim.runs.files import remove, write_json, writing
from essim.runs.workers import work_off

ANATOMIES = "anatomies"  # the folder of the tissues of real heads, below the cohort's
SETS = ("healthy", *lesions.PATHOLOGIES)
AGES = {"healthy": (48, 16), "tumour": (58, 12), "stroke": (64, 11), "ms": (38, 10), "wmh": (70, 8)}  # mean, sd, years
WOMEN = {"healthy": 0.55, "tumour": 0.42, "stroke": 0.45, "ms": 0.72, "wmh": 0.5}  # their share


@dataclass(frozen=True)
class CohortConfig:
    """What is generated. `voxel_mm` is 1, 2 or 4 (4 for smoke tests only); the counts are subjects, those of
    patients for each of the four sets; `domain_shift=False` gives everybody a training site; `contrasts` are those of
    `scanner.acquire`; `anatomies` is a prepared folder of real heads to grow from (`tissues`), "" for the template:
    training subjects grow from two thirds of its people, all other subjects from the remaining third."""

    seed: int = 0
    voxel_mm: int = 2
    train: int = 64
    val: int = 8
    test: int = 16
    patients_val: int = 6
    patients_test: int = 16
    domain_shift: bool = True
    contrasts: tuple[str, ...] = ("t1", "t2")
    anatomies: str = ""

    def __post_init__(self):
        object.__setattr__(self, "contrasts", tuple(self.contrasts))  # JSON and YAML have lists
        if "t1" not in self.contrasts or not set(self.contrasts) <= set(prepared.CONTRASTS):
            raise ValueError(f"contrasts is {self.contrasts!r}: take t1 and, if wanted, others of {prepared.CONTRASTS}")
        if self.voxel_mm not in (1, 2, 4):
            raise ValueError(f"voxel_mm is {self.voxel_mm!r}: take 1, 2 or 4")
        for name in ("seed", "train", "val", "test", "patients_val", "patients_test"):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is {value!r}: take a whole number of 0 or more")

    def splits(self, dataset):
        """The split (train, val, test) of every subject of a set, by index; ValueError for an unknown set."""
        if dataset not in SETS:
            raise ValueError(f"dataset is {dataset!r}: take one of {', '.join(SETS)}")
        if dataset == "healthy":
            return ["train"] * self.train + ["val"] * self.val + ["test"] * self.test
        return ["val"] * self.patients_val + ["test"] * self.patients_test


# One subject


def describe(config, dataset, index):
    """A subject's name, set, split, age (years), sex (m, f) and site, a dict; IndexError where the set is smaller."""
    splits = config.splits(dataset)
    if not 0 <= index < len(splits):
        raise IndexError(f"{dataset} has {len(splits)} subjects: there is no index {index}")
    rng = _stream(config, dataset, index, 0)
    mean, sd = AGES[dataset]
    age = round(float(np.clip(mean + sd * rng.standard_normal(), 20, 86)), 1)
    sex = "f" if rng.random() < WOMEN[dataset] else "m"
    training = scanner.TRAINING_SITES[index % len(scanner.TRAINING_SITES)]
    other = scanner.OTHER_SITES[index // (4 if dataset == "healthy" else 1) % len(scanner.OTHER_SITES)]
    # Every fourth healthy test scan comes from the patients' sites, so that site and lesion can be told apart.
    fourth = splits[index] == "test" and (index - config.train - config.val) % 4 == 3
    site = other if config.domain_shift and (dataset != "healthy" or fourth) else training
    name = f"{dataset}{index:04d}"
    return {"subject": name, "dataset": dataset, "split": splits[index], "age": age, "sex": sex, "site": site.name}


def grow_subject(config, dataset, index, cache=None):
    """One subject: what `describe` says, its contrasts (`t1`, ...) int16 (0 outside the brain), `mask` and `seg` (None
    if healthy) uint8, all [H, W, D], `affine` [4, 4], `displacement` [3, H, W, D] in mm. No state, no order: a pure
    function. `cache`: a folder that keeps the tissues of real anatomies."""
    person = describe(config, dataset, index)
    rng, voxel = _stream(config, dataset, index, 1), config.voxel_mm
    maps = _maps_of(config, person["split"], index, cache) if config.anatomies else None
    seg = lesion = None
    if dataset == "healthy":
        head = anatomy.grow_head(rng, voxel, person["age"], maps=maps)
    else:
        patient = lesions.draw_patient(dataset, rng, voxel, person["age"], maps)
        head, seg, lesion = patient.head, patient.mask.astype(np.uint8), patient.lesion
    site = scanner.SITES[person["site"]]
    images = {
        contrast: scanner.acquire(
            _stream(config, dataset, index, 2 + prepared.CONTRASTS.index(contrast)), head, site, contrast, lesion
        )
        for contrast in config.contrasts
    }
    volumes = images | {"mask": head.mask.astype(np.uint8), "seg": seg}
    return person | volumes | {"affine": mni.affine_of(voxel), "displacement": head.displacement}


def _maps_of(config, split, index, cache):
    """The maps of one real head; subjects that are trained on and those that are not never share one."""
    people = tissues.find_anatomies(config.anatomies)
    unseen = people[2::3] or people
    seen = [one for one in people if one not in unseen] or people
    chosen = seen if split == "train" else unseen
    return tissues.load_anatomy(*chosen[index % len(chosen)], cache, config.voxel_mm)


def _stream(config, dataset, index, stream):
    """The random generator of one subject for one purpose."""
    return np.random.default_rng([config.seed, SETS.index(dataset), index, stream])


def paths_of(config, person):
    """The files of one subject below the data folder: {kind: path}, with a lesion mask for patients."""
    kinds = [*config.contrasts, "mask"] + ["seg"] * (person["dataset"] != "healthy")
    return {kind: prepared.path_of(person["dataset"], person["subject"], kind) for kind in kinds}


def _write_subject(config, out, key):
    subject = grow_subject(config, *key, out / ANATOMIES)
    for kind, path in paths_of(config, subject).items():
        image = nibabel.Nifti1Image(subject[kind], subject["affine"])
        image.header.set_xyzt_units("mm")
        image.set_sform(subject["affine"], code=4)  # 4: MNI space
        image.set_qform(subject["affine"], code=4)
        # Gzip without name and time: the same subject gives the same bytes.
        with writing(out / path) as temporary, open(temporary, "wb") as raw:
            with gzip.GzipFile("", "wb", 1, raw, mtime=0) as stream:
                stream.write(image.to_bytes())


# The folder


def generate(config, out, workers=1):
    """Write the cohort into the folder `out` with `workers` processes; returns the path of `cohort.json`.

    A finished cohort of the same recipe (parameters and source) is left alone. After an interruption the finished
    subjects are kept; another recipe starts from scratch. Raises FileExistsError where `out` holds scans of another
    origin, OSError where the disk is full, RuntimeError where a process dies; nothing half-written is left behind.
    """
    out, recipe = Path(out), recipe_of(config)
    done, begun = out / "cohort.json", out / "recipe.json"  # Snakemake removes the first where a cohort is out of date
    people = {
        (dataset, i): describe(config, dataset, i) for dataset in SETS for i in range(len(config.splits(dataset)))
    }
    files = {key: [out / path for path in paths_of(config, person).values()] for key, person in people.items()}
    splits = {out / prepared.SPLITS / name: group for name, group in _split_files(config, people).items()}
    todo = [key for key, paths in files.items() if not all(path.is_file() for path in paths)]
    if _recipe_in(done) == recipe and not todo and all(path.is_file() for path in splits):
        return done
    if recipe not in (_recipe_in(done), _recipe_in(begun)):
        _start_afresh(out)
        todo = list(people)
    write_json(begun, {"recipe": recipe, "parameters": asdict(config)})
    remove(done)
    _write_subjects(config, out, todo, workers, len(people))
    for path, group in splits.items():
        prepared.write_split(path, group)
    written = [path for paths in files.values() for path in paths]
    digests = {str(path.relative_to(out)): hashlib.sha256(path.read_bytes()).hexdigest() for path in written}
    write_json(done, {"parameters": asdict(config), "recipe": recipe, "files": digests})
    return done


def recipe_of(config):
    """Hash of the parameters and of the source that makes the subjects and their places."""
    parameters = asdict(config) | {"anatomies": bool(config.anatomies)}  # wherever they lie
    digest = hashlib.sha256(json.dumps(parameters, sort_keys=True).encode())
    here = Path(__file__).parent
    for module in (*sorted(here.glob("*.py")), Path(prepared.__file__), here.parent / "kernels/sampling.py"):
        digest.update(module.read_bytes())
    for person in tissues.find_anatomies(config.anatomies) if config.anatomies else ():
        digest.update(tissues.digest_of(*person).encode())
    return digest.hexdigest()


def _recipe_in(path):
    try:
        return json.loads(path.read_text())["recipe"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _start_afresh(out):
    """Remove an earlier cohort, whole or not; FileExistsError where the scans are of another origin."""
    folders = [out / folder for folder in (*map(prepared.folder_of, SETS), prepared.SPLITS)]
    if not (out / "cohort.json").exists() and not (out / "recipe.json").exists():
        for folder in folders:
            if folder.exists():
                raise FileExistsError(f"{folder} holds data of another origin: give another folder")
    write_json(out / "recipe.json", {"recipe": None})  # if killed from here on, the folder still counts as ours
    for path in (out / "cohort.json", *folders):
        remove(path)


def _write_subjects(config, out, todo, workers, total):
    """Every subject of `todo`, with a progress bar over the whole cohort; the first error ends it."""
    write = partial(_write_subject, config, out)
    if workers > 1 and len(todo) > 1:
        results = work_off(write, todo, workers, died=True)
    else:
        results = ((key, write(key)) for key in todo)
    with tqdm(total=total, initial=total - len(todo), desc="cohort", unit="subject") as bar:
        for (dataset, index), died in results:
            if died:
                raise RuntimeError(f"{dataset} {index}: its process died, often for lack of memory; use fewer workers")
            bar.update()


def _split_files(config, people):
    """{name: subjects} of the split files. Each fold validates on other people, from the end of those not tested on."""
    folds = range(max(1, min(prepared.FOLDS, (config.train + config.val) // max(1, config.val))))
    names = [prepared.split_name("healthy", split, fold) for fold in folds for split in ("train", "val")]
    names += [prepared.split_name(dataset, split) for dataset in SETS[1:] for split in ("val", "test")]
    files = {name: [] for name in [*names, prepared.split_name("healthy", "test")]}  # written even if empty
    for (dataset, index), person in people.items():
        if dataset != "healthy" or person["split"] == "test":
            parts = [(person["split"], 0)]
        else:
            own = (config.train + config.val - 1 - index) // max(1, config.val)  # the fold to validate in
            parts = [("val" if fold == own else "train", fold) for fold in folds]
        for split, fold in parts:
            files[prepared.split_name(dataset, split, fold)].append(person | {"seg": dataset != "healthy"})
    return files
