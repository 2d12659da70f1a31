"""Four kinds of lesion with exact masks: tumour, stroke, MS, white-matter hyperintensities (wmh).

In: a random generator and a person. Out: the head with the lesions, their mask, and the share of each voxel that each
lesion tissue (`contrast.LESIONS`) fills; what a scanner shows of them follows from relaxation times. Every kind is a
level in mm, high inside; its edge is the level at which the mask has the volume drawn for this patient.
"""

from dataclasses import dataclass, replace

import numpy as np
from scipy import ndimage

from essim.cohort.anatomy import Anatomy, grow_head
from essim.cohort.fields import smooth_noise
from essim.cohort.mni import axes_of, world_of

# Volume of one patient's lesions in ml: median and log standard deviation of a lognormal, drawn again outside [low,
# high]. They are as large as in BraTS (whole tumour, near 90 ml), ATLAS v2.0 (median near 10 ml, tail beyond 100 ml),
# MSLUB (median near 15 ml) and the WMH challenge 2017 (median near 10 ml).
SIZES_ML = {
    "tumour": (85.0, 0.5, 20.0, 200.0),
    "stroke": (10.0, 1.4, 0.2, 250.0),
    "ms": (14.0, 1.2, 0.5, 60.0),
    "wmh": (11.0, 0.9, 1.0, 50.0),
}

PATHOLOGIES = tuple(SIZES_ML)
# One MS lesion in ml: median and log standard deviation, before neighbours merge and voxels cut them. Among 28 patients
# of the Ljubljana MS database (Lesjak et al., Neuroinformatics 2018) a lesion has 0.03 ml in the median and 0.39 ml at
# the 95th percentile, and a patient has 57 of them.
MS_LESION_ML = (0.05, 1.7)
RATER_MM = 0.5  # how far an outline drawn by hand strays from the lesion's, standard deviation
# The most by which a disease ages the brain, in years.
ATROPHY_YEARS = {"tumour": 5, "stroke": 12, "ms": 30, "wmh": 12}


@dataclass(frozen=True)
class Patient:
    """A head with lesions."""

    head: Anatomy
    mask: np.ndarray  # bool [H, W, D], all that is abnormal, as a rater would outline it
    lesion: dict[str, np.ndarray]  # {tissue: [H, W, D] in [0, 1]}, its share of each voxel


def draw_patient(kind, rng, voxel_mm, age, maps=None):
    """One `Patient`. `kind` is tumour, stroke, ms or wmh, ValueError for any other; age in years; maps as in
    `grow_head`."""
    if kind not in SIZES_ML:
        raise ValueError(f"kind is {kind!r}: take one of {', '.join(PATHOLOGIES)}")
    head_rng, rng = rng.spawn(2)
    median, spread, low, high = SIZES_ML[kind]
    ml = 0.0
    while not low <= ml <= high:
        ml = float(median * np.exp(spread * rng.standard_normal()))
    push = None
    if kind == "tumour":
        radius, place = (750 * ml / np.pi) ** (1 / 3), _tumour_place(rng)
        push = _mass_effect(place, 0.6 * radius, rng.uniform(0.15, 0.4))
    head = grow_head(head_rng, voxel_mm, age + rng.uniform(0, ATROPHY_YEARS[kind]), push, maps)
    axes = axes_of(voxel_mm)
    noise = [smooth_noise(rng, axes, mm) for mm in (24, 10, 5)]
    if kind == "tumour":
        level, allowed = _tumour(head, place, noise)
    else:
        level, allowed = {"stroke": _stroke, "ms": _ms, "wmh": _wmh}[kind](rng, head, ml, noise)
    allowed = allowed & head.mask
    mask, _ = _cut(level + np.float32(RATER_MM) * smooth_noise(rng, axes, 8), allowed, ml, voxel_mm)
    truth, inside = _cut(level, allowed, ml, voxel_mm)
    # Partial volume at the edge; a tumour's oedema fades into the tissue that it follows.
    cover = np.clip(0.5 + inside / (5.0 if kind == "tumour" else 1.2 * voxel_mm), 0, 1) * head.mask
    shares = _shares(kind, rng, inside, truth, noise, voxel_mm)
    lesion = {name: (np.clip(share, 0, 1) * cover).astype(np.float32) for name, share in shares.items()}
    if kind == "stroke" and ml > 15:
        head = _with_wider_ventricles(head, truth, ml)
        mask &= head.fractions[0] < 0.5
    return Patient(head, mask, lesion)


def _cut(level, allowed, ml, voxel_mm):
    """Mask of the `ml` highest levels where allowed, and the level above its edge in mm."""
    count = min(max(1, round(1000 * ml / voxel_mm**3)), int(allowed.sum()))
    inside = level - np.partition(level[allowed], -count)[-count]
    return allowed & (inside >= 0), np.where(allowed, inside, np.minimum(inside, 0))


def _shares(kind, rng, inside, mask, noise, voxel_mm):
    """{tissue: its share of the lesion}, before partial volume, with variation inside the lesion."""
    severe = rng.uniform(0.75, 1.0)  # how much tissue the disease has left varies between patients
    varied = np.clip(severe * (1 + 0.12 * noise[1] + 0.08 * noise[2]), 0, 1)
    if kind in ("ms", "wmh"):
        return {kind: varied}
    if kind == "stroke":  # a rim of 3 mm or so around what has become a cavity
        ramp = np.clip(inside / 3 - 0.3 + 0.4 * noise[1], 0, 1)
        return {"rim": varied * (1 - ramp), "cavity": ramp}
    # Tumour: oedema, the solid core inside it, and the necrosis inside that; each a share of the volume.
    deep = inside + 5 * noise[1] + 2 * noise[2]
    solid, necrosis = (np.quantile(deep[mask], 1 - q) for q in (0.42, 0.17))
    solid, necrosis = (np.clip(0.5 + (deep - edge) / (1.2 * voxel_mm), 0, 1) for edge in (solid, necrosis))
    solid = np.maximum(solid * np.clip(1 + 0.25 * noise[1] + 0.12 * noise[2], 0, 1), necrosis)
    return {"oedema": varied * (1 - solid), "solid": solid - necrosis, "necrosis": necrosis}


def _with_wider_ventricles(head, infarct, ml):
    """The head, with ventricles that have widened towards an old infarct (ex vacuo), less so farther away."""
    away = ndimage.distance_transform_edt(~infarct) * head.voxel_mm
    widened = np.float32(4 * (ml / 80) ** (1 / 3)) * np.exp(-away / 15)
    csf = np.clip(0.5 + (widened - head.ventricle) / head.voxel_mm, 0, 1) * (head.ventricle < 8) * head.mask
    csf = np.maximum(head.fractions[0], csf).astype(np.float32)
    rest = (1 - csf) / np.maximum(1 - head.fractions[0], 1e-6)
    return replace(head, fractions=np.concatenate([csf[None], head.fractions[1:] * rest]))


def _tumour_place(rng):
    """Centre in the white matter of one hemisphere, above the tentorium, mm."""
    side = rng.choice([-1, 1])
    return np.array([side * rng.uniform(20, 42), rng.uniform(-65, 35), rng.uniform(0, 42)], np.float32)


def _mass_effect(centre, radius, strength):
    """Pull-back that pushes tissue away from `centre`: r -> r (1 - s exp(-r^2 / 2 R^2)), s < 1."""

    def push(world):
        away = world - centre[:, None]
        return -np.float32(strength) * np.exp(-(away**2).sum(0) / np.float32(2 * radius**2)) * away

    return push


def _tumour(head, centre, noise):
    """Ragged ball that follows white matter and seldom crosses the midline."""
    world = world_of(head.voxel_mm)
    distance = np.sqrt(((world - centre[:, None, None, None]) ** 2).sum(0))
    white = ndimage.gaussian_filter(head.fractions[2], 2.5 / head.voxel_mm)
    across = np.clip(-np.sign(centre[0]) * world[0], 0, 12) * 1.5
    level = -distance * (1 + 0.16 * noise[0]) + 3 * noise[1] + 14 * white - across
    return level, head.fractions[0] < 0.5


def _stroke(rng, head, ml, noise):
    """A wedge from the cortex inwards in one arterial territory, or a small deep infarct."""
    world = world_of(head.voxel_mm)
    x, y, z = np.abs(world[0]), world[1], world[2]
    cortex = (head.fractions[1] > 0.5) & (head.depth < 8)
    places = {
        "middle": cortex & (x > 28) & (z > -20) & (y > -65) & (y < 35),
        "posterior": cortex & (y < -72) & (z > -15) & (z < 30),
        "anterior": cortex & (x < 18) & (y > -20) & (z > 15),
        "deep": (x > 12) & (x < 32) & (y > -30) & (y < 18) & (z > -2) & (z < 24) & (head.fractions[0] < 0.3),
        "cerebellum": (z < -28) & (y < -50) & (x > 10) & (head.fractions[1] > 0.4) & (head.depth > 2),
    }
    share = np.array([0.60, 0.12, 0.08, 0.14, 0.06])
    if ml > 15:  # deep perforators and the cerebellum leave small infarcts
        share = np.array([0.78, 0.12, 0.10, 0, 0])
    name = rng.choice(list(places), p=share / share.sum())
    seed = _pick(rng, np.flatnonzero(places[name] & head.mask), world)
    inward = np.array([np.sign(seed[0]) * 16, np.clip(seed[1], -45, 20), 12], np.float32) - seed
    inward /= max(np.linalg.norm(inward), 1.0)
    away = world - seed[:, None, None, None]
    along = np.tensordot(inward, away, 1)
    aside = np.sqrt(np.maximum((away**2).sum(0) - along**2, 0))
    if name in ("deep", "cerebellum"):
        distance = np.sqrt(aside**2 + 0.5 * along**2)
    else:
        distance = np.hypot(aside * (1 + np.clip(along, 0, None) / 60), 0.8 * along)
    across = np.clip(-np.sign(seed[0]) * world[0] + 2, 0, 20) * 3
    sulci = 9 * ndimage.gaussian_filter(head.fractions[0], 2.5 / head.voxel_mm)  # infarcts end there
    ragged = 1 + 0.18 * noise[0] + 0.12 * noise[1]
    level = -distance * ragged + 1.5 * noise[1] + 0.8 * noise[2] - across - sulci
    return level, head.fractions[0] < 0.5


def _ms(rng, head, ml, noise):
    """Ovoids: at the ventricles, under the cortex, in deep white matter, below the tentorium."""
    white, world = head.fractions[2], world_of(head.voxel_mm)
    high = world[2] > -18
    places = (
        (white > 0.6) & (head.ventricle > 1) & (head.ventricle < 7) & high & (np.abs(world[0]) > 7),
        (white > 0.4) & (white < 0.9) & (head.depth > 4) & (head.depth < 12) & high,
        (white > 0.9) & (head.ventricle > 8) & (head.depth > 8) & high,
        (white > 0.4) & (world[2] < -22),
    )
    places = [np.flatnonzero(place & head.mask) for place in places]
    level, drawn = np.full(white.shape, -99, np.float32), 0.0
    for _ in range(400):
        kind = rng.choice(4, p=[0.5, 0.25, 0.17, 0.08])
        if not len(places[kind]):
            continue
        size = float(np.clip(MS_LESION_ML[0] * np.exp(MS_LESION_ML[1] * rng.standard_normal()), 0.008, 8))
        stretch = rng.uniform(1.3, 2.2) if kind == 0 else rng.uniform(1.0, 1.5)
        radius = (size / (4.19e-3 * stretch)) ** (1 / 3)
        _blob(level, head, _pick(rng, places[kind], world), radius, stretch, rng, kind == 0)
        drawn += size
        if drawn > 1.1 * ml:
            break
    return level + 0.3 * noise[2] + 0.2 * noise[1], (white + head.fractions[1] > 0.5) & (white > 0.15)


def _wmh(rng, head, ml, noise):
    """Bands along the lateral ventricles, thicker at the horns (caps), alike on both sides, and deep dots."""
    white, world = head.fractions[2], world_of(head.voxel_mm)
    x, y, z = world
    both = [(n + n[::-1]) / np.float32(np.sqrt(2)) for n in noise]  # x = 0 is the middle of the canvas
    caps = 4.0 * (np.exp(-(((y - 28) / 12) ** 2)) + np.exp(-(((y + 55) / 15) ** 2)))
    level = caps + 2.2 * both[0] + 1.4 * both[1] + 0.8 * noise[2] - head.ventricle
    level[(np.abs(x) < 6) | (z < -4) | (head.ventricle < -1)] = -99
    deep = (white > 0.85) & (head.ventricle > 7) & (head.depth > 7) & (z > 0) & head.mask
    middle = np.partition(level[white > 0.5], -max(1, round(700 * ml / head.voxel_mm**3)))
    edge = middle[-max(1, round(700 * ml / head.voxel_mm**3))]  # the dots meet the bands at their common edge
    deep = np.flatnonzero(deep)
    for _ in range(rng.poisson(5 + 0.8 * ml) if len(deep) else 0):
        radius = float(np.clip(1.9 * np.exp(0.35 * rng.standard_normal()), 1.2, 5))
        _blob(level, head, _pick(rng, deep, world), radius, rng.uniform(1, 1.6), rng, False, edge)
    return level, (white > 0.5) & (head.ventricle > 0)


def _pick(rng, places, world):
    """World position of one random voxel of those at `places` (flat indices)."""
    return world.reshape(3, -1)[:, places[rng.integers(len(places))]]


def _blob(level, head, centre, radius, stretch, rng, radial, edge=0.0):
    """Raise `level` to an ovoid: `edge` on its border, `edge + radius` at its centre; long axis random or `radial`
    (away from the ventricle, as plaques around a vein)."""
    voxel = head.voxel_mm
    at = [int(np.argmin(np.abs(a - c))) for a, c in zip(axes_of(voxel), centre, strict=True)]
    reach = int(np.ceil(1.6 * radius * stretch / voxel)) + 1
    box = tuple(slice(max(i - reach, 0), i + reach + 1) for i in at)
    axis = rng.standard_normal(3)
    if radial:
        around = head.ventricle[tuple(slice(max(i - 1, 0), i + 2) for i in at)]
        axis = np.array([g.mean() for g in np.gradient(around)]) + 0.2 * axis * voxel
    axis = (axis / max(np.linalg.norm(axis), 1e-6)).astype(np.float32)
    axes = [axis[part] for axis, part in zip(axes_of(voxel), box, strict=True)]
    away = np.stack(np.meshgrid(*axes, indexing="ij")).astype(np.float32) - centre[:, None, None, None]
    along = np.tensordot(axis, away, 1)
    aside = np.maximum((away**2).sum(0) - along**2, 0)
    distance = np.sqrt(aside + (along / stretch) ** 2)
    level[box] = np.maximum(level[box], edge + radius - distance)
