"""One person's head to study space.

In: the paths of a person's T1, T2 and FLAIR (each may be missing), brain mask and lesions, and a `Template`. Out: a
`Placed`: float32 images, bool mask and uint8 lesions on the study grid, with the transforms back to the scans.
Paper: section 3 (data): affine registration to an atlas, skull-stripped, N4 bias-corrected, cut to the brain.
"""

from dataclasses import dataclass, field

import numpy as np
import SimpleITK as sitk

from essim.cohort import mni
from essim.data.grids import same_grid
from essim.data.prepared import CONTRASTS
from essim.data.volumes import LESION, read_nifti
from essim.prepare import align
from essim.prepare.align import HERE, from_sitk, sample_label, to_sitk
from essim.prepare.brain import ON_SCAN, correct, find_brain, home_of, lifted, naming, read_image, read_lesions

MARGIN_MM = 8  # around the brain of a template of your own
UNSTATED = "the header doesn't state the scan's orientation; left and right are a guess"
DOUBTFUL = 0.8  # a brain that overlaps the template's by less (Dice) needs a look


@dataclass
class Template:
    """What heads are registered to. `image` the template's T1, skull-stripped, float32, on a grid of its own. The study
    grid: `shape` (H, W, D), `affine` [4, 4] voxel to world, RAS+, mm; `brain` bool [H, W, D], the template's on it.
    `standard`: whether it is MNI152, whose anatomy essim knows.
    """

    image: sitk.Image
    shape: tuple
    affine: np.ndarray
    brain: np.ndarray
    standard: bool = True


@dataclass
class Placed:
    """A person in study space. `images` {contrast: float32 [H, W, D], in the scan's units, 0 outside the mask}; `mask`
    bool; `seg` uint8 (1 lesion, 2 ignored) or None; `affine` [4, 4], RAS+, mm; `transforms` {contrast: sitk.Transform
    from points of study space to points of that scan}: `sitk.Resample` with it brings the scan to study space, its
    inverse brings a map back; `dice` overlap of the mask with the template's brain, 0 to 1; `drawn_by` where the
    mask comes from: its path, "nonzero", or a skull stripper's name;
    `notes` on what the files leave open: (a sentence, how far to trust the result, 0 to 1).
    """

    images: dict
    mask: np.ndarray
    seg: np.ndarray | None
    affine: np.ndarray
    transforms: dict
    dice: float
    drawn_by: str = ""
    notes: list = field(default_factory=list)

    @property
    def transform(self):
        """The transform of the first contrast, the only one where a single scan was placed."""
        return next(iter(self.transforms.values()))


def load_template(path=None, voxel_mm=1):
    """The template and the study grid around its brain.

    Args:
        path: a skull-stripped T1 template (such as SRI24's), NIfTI; keeps its axes, cropped to its brain and 8 mm
            around. None: MNI152, part of nilearn, in the box of the built-in cohort (160 x 192 x 160 mm).
        voxel_mm: side of a voxel of the study grid.

    Raises:
        FileNotFoundError, ValueError: as in `read_nifti`; voxel_mm is out of range, or the template is not stripped.
    """
    if not 0.25 <= voxel_mm <= 8:
        raise ValueError(f"voxel_mm is {voxel_mm}: take a size from 0.25 to 8 mm.")
    if path is None:
        data, own_affine = mni.read_file("t1")
        image = to_sitk(data * (data > mni.BRAIN), own_affine)
        shape, affine = tuple(int(n) for n in mni.shape_of(voxel_mm)), mni.affine_of(voxel_mm)
    else:
        data, own_affine = read_nifti(path)
        filled = np.argwhere(data > 0)
        if not 0 < len(filled) < 0.7 * data.size:
            raise ValueError(f"{path}: is not a skull-stripped template (0 around the brain); give one that is.")
        image = to_sitk(data.clip(0).astype(np.float32), own_affine)
        spacing_mm = np.linalg.norm(own_affine[:3, :3], axis=0)
        margin, step = MARGIN_MM / spacing_mm, voxel_mm / spacing_mm  # in the template's voxels
        low, high = filled.min(0) - 0.5 - margin, filled.max(0) + 0.5 + margin
        shape = tuple(int(n) for n in np.ceil((high - low) * spacing_mm / voxel_mm))
        affine = own_affine @ np.diag([*step, 1])
        affine[:3, 3] = (own_affine @ [*low + 0.5 * step, 1])[:3]  # the centre of the first voxel
    brain = sample_label(image > 0, to_sitk(np.zeros(shape, np.uint8), affine), HERE)
    return Template(image, shape, affine, from_sitk(brain)[0] > 0, path is None)


def place(images, template, *, mask="", seg="", ignore=""):
    """Bring one person to study space; the same input gives the same bits.

    Args:
        images: {contrast: path}; the first of them, a T1 before a T2 before a FLAIR, is registered to the template, the
            others to the one that the brain mask belongs to.
        template: a `Template`.
        mask: path of the brain mask; "nonzero": the images are stripped, the brain is where they are not 0; "": a
            skull stripper finds it (`strip`).
        seg: path of the lesions, "" for none. ignore: the label in it that is neither lesion nor background.
            Mask and lesions may lie on the grid of any of the scans, and move with it, or on another grid in the space
            of the first.

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged or not a 3-D volume; the mask is empty or not on the image; the image has NaN
            inside it; there is neither mask nor stripper; registration fails. The message is one sentence with the
            file.
    """
    with align.one_thread():
        read = {contrast: read_image(path) for contrast, path in images.items()}
        scans, grids = ({contrast: part[i] for contrast, part in read.items()} for i in (0, 1))
        anchor = min(scans, key=CONTRASTS.index)
        home, brain, notes, drawn_by = find_brain(scans, grids, anchor, mask)
        notes += [(f"{UNSTATED} ({grid.path})", 0.0) for grid in grids.values() if not grid.stated]
        drawn, lesion_grid = read_lesions(seg, ignore) if seg else (None, None)
        lesion_home = home_of(lesion_grid, grids, anchor) if seg else None
        even, brains, matrices = _align(images, scans, home, brain, anchor, template)

        grid = to_sitk(np.zeros(template.shape, np.uint8), template.affine)
        inside = from_sitk(sample_label(brain, grid, matrices[home]))[0] > 0
        placed = {c: from_sitk(align.sample_scan(even[c], grid, matrices[c], brains[c]))[0] * inside for c in scans}
        lesions = None
        if seg:
            lesions = from_sitk(sample_label(drawn, grid, matrices[lesion_home]))[0]
            if not same_grid(lesion_grid, grids[lesion_home]):
                notes.append(_overlap(lesion_grid, lesions == LESION, inside))
        dice = 2 * (inside & template.brain).sum() / max(inside.sum() + template.brain.sum(), 1)
        transforms = {contrast: align.as_transform(matrix) for contrast, matrix in matrices.items()}
        return Placed(placed, inside, lesions, template.affine, transforms, float(dice), drawn_by, notes)


def _overlap(grid, lesion, brain):
    """(A note on lesions that were drawn on another grid, the share of them in the brain); both masks bool.

    Raises ValueError if that share is too small.
    """
    share = (lesion & brain).sum() / max(lesion.sum(), 1)
    if share < ON_SCAN:
        place = f"{share:.0%} of them in the brain"
        raise ValueError(f"{grid.path}: the lesions lie outside the brain ({place}); give the lesions of this scan.")
    return f"the lesions lie on another grid and were resampled (nearest neighbour): {share:.0%} in the brain", share


def _align(images, scans, home, brain, anchor, template):
    """{contrast: the scan without its bias field}, {contrast: its brain, on that image's grid}, {contrast: the matrix
    from study space to the scan}: the scans are registered to the one that the brain mask belongs to (`home`), and the
    anchor to the template."""
    even, brains, from_home = {home: correct(images[home], scans[home], brain)}, {home: brain}, {home: HERE}
    for contrast in [contrast for contrast in scans if contrast != home]:
        moving = lifted(scans[contrast])
        shift = align.centre_of(moving) - align.centre_of(lifted(scans[home], brain))
        with naming(images[contrast], f"registration to {images[home]}"):
            from_home[contrast] = align.register_rigid(even[home], brain, moving, shift)
        brains[contrast] = sample_label(brain, scans[contrast], np.linalg.inv(from_home[contrast]))
        even[contrast] = correct(images[contrast], scans[contrast], brains[contrast])
    brains = {contrast: sample_label(brains[contrast], even[contrast], HERE) for contrast in scans}
    with naming(images[anchor], "registration to the template"):
        to_anchor = align.register_affine(template.image, sitk.Mask(even[anchor], brains[anchor]))
    return even, brains, {c: from_home[c] @ np.linalg.inv(from_home[anchor]) @ to_anchor for c in scans}
