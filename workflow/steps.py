"""What every step of a run is given: the parameters of its notebook.

In: a Plan. Out: {name of a step, such as `06_evaluate_ms`: values}, as plain as a notebook's first cell has them.
A step is named after its notebook, followed by what it is run for.
"""

from methods import folder_of

# What `make ablations` changes, one notebook each: the keys of the profile's `ablations` that it takes.
CHOICES = {
    "a_noising_steps": ("steps", "predictions"),
    "b_noise_draws": ("draw_counts",),
    "c_windows": ("window_counts", "widest"),
    "d_temperature": ("temperatures",),
    "e_post_processing": (),
    "f_resolution": ("factors",),
}
# The sets whose scanners `make shifts` moves, if the study has them, and the tables that say where real scans lie.
SHIFTED = ("stroke", "ms")
PLACES = {"reference": "results/reference/real/tables"}
# The reconstructor with which `make methods` lists the scores that use no reconstruction.
PLAIN = "ddpm"
# The steps of the study that `make real` takes, and what its own are given besides the profile's values.
TRAINING = ("02_train", "03_healthy")
REAL = {"models": "models/anatomies"}
HALF_REAL = {
    "masks": "data/real/masks",
    "grown_network": "models/anatomies_t1",
    "reference": "results/reference/pretrained/tables",
    "patients": 50,  # per set; with both sets `make real` stays below 20 minutes on two cores
}

# What `make confirm` takes from the development study, its committed tables, and what it tests with them.
CONFIRM = {"development": "results/reference/pretrained/tables", "declaration": "workflow/confirm.yaml"}
CHOSEN = ("at_best", "at_best_windows", "claims")


def steps_of(plan):
    """{part of the plan: {step: values}}, with the steps that run once, whatever the parts, under None."""
    if plan.public:
        return real(plan)
    if plan.confirms:
        return confirm(plan)
    steps = {None: {}}
    if not plan.source:
        steps[None]["01_cohort"] = {"data": plan.data, "results": plan.home} | plan.profile["cohort"]
    if len(plan.parts) > 1:
        runs = [{"seed": seed, "fold": fold, "results": plan.home + part} for part, (seed, fold) in plan.parts.items()]
        summary = {"results": plan.study, "runs": runs, "datasets": list(plan.sets)}
        steps[None]["98_spread"] = summary
        steps[None]["10_seeds"] = summary | {"reconstructors": plan.profile["methods"]["repeated"]}
    for part, (seed, fold) in plan.parts.items():
        steps[part] = study(plan, plan.home + part, seed, fold) | ablations(plan, plan.home + part, seed, fold)
        if shifted(plan):
            steps[part]["13_when_ssim_overtakes_l1"] = shifts(plan, plan.home + part, seed)
        steps[part] |= methods(plan, plan.home + part, seed)
    return steps


def shifted(plan):
    """{set: contrast} of the sets whose scanners can be moved: your own scans keep the scanner they were made on."""
    return {} if plan.source or plan.public else {name: plan.sets[name] for name in SHIFTED if name in plan.sets}


def shifts(plan, results, seed):
    """The step of `make shifts` with one seed."""
    cohort, profile = plan.profile["cohort"], plan.profile
    grown = {"sets": shifted(plan), "cohort_seed": cohort["seed"], "voxel_mm": cohort["voxel_mm"]}
    asked = profile["reconstruction"] | {"seed": seed}
    return {"results": results} | PLACES | grown | _ensemble(profile) | asked | profile["shifts"]


def methods(plan, results, seed):
    """Every step of `make methods` with one seed."""

    def folders(method):
        first = seed == plan.first_seed
        return {contrast: folder_of(method, contrast, results, plan.networks, first) for contrast in plan.contrasts}

    tried, given = plan.profile["methods"], {"results": results, "datasets": list(plan.sets)}
    own = {key: value for key, value in tried.items() if key not in ("steps", "repeated")}
    steps = {"10_methods": given | own | {"seed": seed}}
    for name in tried["reconstructors"]:
        alone = name == PLAIN and "segmenter" in tried["scores"] and seed == plan.profile["seeds"][0]
        segmenters = folders("segmenter") if alone else {}
        own = {"reconstructor": name, "seed": seed, "models": folders(name), "segmenters": segmenters}
        scored = {key: tried[key] for key in ("scores", "steps")}
        steps[f"10_one_method_{name}"] = given | own | _ensemble(plan.profile) | scored
    return steps


def study(plan, results, seed, fold):
    """Every step of the study with one seed on one fold."""
    profile, names = plan.profile, list(plan.sets)
    reconstruction, sigmas = profile["reconstruction"] | {"seed": seed}, profile["ablation_sigmas"]
    ensemble, shares = _ensemble(profile), profile["healthy_shares"]
    steps = {
        "05_at_its_best": ensemble | {"datasets": names, "windows": profile["windows"], "t": reconstruction["t"]},
        "05_ensembling": ensemble | {"datasets": names} | reconstruction,
        "07_calibrated_ensemble": ensemble | {"datasets": names} | profile["calibrated"],
        "08_best_sigma": {"datasets": names, "sigmas": sigmas},
        "09_across_sets": ensemble | {"datasets": names},
        "99_figures": {"datasets": names},
    }
    for contrast in plan.contrasts:
        scans = _scans(plan) | {"fold": fold, "contrast": contrast}
        training = {"network": plan.network(contrast), "training": profile["training"] | _training_seed(plan, seed)}
        steps[f"02_train_{contrast}"] = scans | training
        steps[f"03_baselines_{contrast}"] = _baselines(plan, contrast, seed, fold)
        steps[f"03_healthy_{contrast}"] = scans | {"shares": shares} | ensemble | reconstruction
    for name, contrast in plan.sets.items():
        steps[f"03_reconstruct_{name}"] = _scans(plan) | {"dataset": name, "contrast": contrast} | reconstruction
        steps[f"04_kernel_ablation_{name}"] = {"dataset": name, "sigmas": sigmas}
        steps[f"06_evaluate_{name}"] = ensemble | {"dataset": name, "shares": shares}
    return {step: {"results": results} | values for step, values in steps.items()}


def ablations(plan, results, seed, fold):
    """Every ablation of the study with one seed on one fold: one choice changed, everything else as it is.

    Only the baselines of the last one are trained, for longer.
    """
    tried, reconstruction = plan.profile["ablations"], plan.profile["reconstruction"]
    given = {"results": results, "datasets": list(plan.sets)}
    beside = {
        "a_noising_steps": {"t": reconstruction["t"], "seed": seed},
        "b_noise_draws": reconstruction | {"seed": seed},
    }
    steps = {
        f"ablations/{name}": given | _ensemble(plan.profile) | beside.get(name, {}) | {key: tried[key] for key in keys}
        for name, keys in CHOICES.items()
    }
    steps["ablations/g_longer_baselines"] = given | _ensemble(plan.profile)
    steps["ablations/z_choices"] = given | {"ablations": list(CHOICES)}
    for contrast in plan.contrasts:
        values = {"results": f"{results}/ablations"} | _baselines(plan, contrast, seed, fold) | {"network": ""}
        values["autoencoder"] |= {"steps": tried["autoencoder_steps"]}
        steps[f"03_baselines_{contrast}_longer"] = values
    return steps


def real(plan):
    """Every step of `make real`: what is made of public scans, and a network that is trained on them."""
    given = {"data": plan.data, "results": plan.home, "sigmas": plan.profile["ablation_sigmas"]}
    own = {"real_network": f"{plan.home}/models/t1", "seed": plan.first_seed}
    steps = {None: {"11_real_heads": given | REAL, "12_half_real": given | HALF_REAL | own}}
    for part, (seed, fold) in plan.parts.items():
        whole = study(plan, plan.home + part, seed, fold)
        steps[part] = {step: values for step, values in whole.items() if step.startswith(TRAINING)}
    return steps


def confirm(plan):
    """Every step of `make confirm`: fresh patients reconstructed, and the tests."""
    steps = {None: {}}
    for part, (seed, fold) in plan.parts.items():
        results = plan.home + part
        whole = study(plan, results, seed, fold)
        steps[part] = {step: values for step, values in whole.items() if step.startswith("03_reconstruct")}
        own = {"results": results, "datasets": list(plan.sets)} | CONFIRM
        steps[part]["14_confirm"] = _ensemble(plan.profile) | own
    return steps


def check(steps):
    """Raise ValueError, in a sentence, for the first step whose values its notebook would refuse."""
    from essim.runs.params import MODELS, check

    for step, values in (pair for part in steps.values() for pair in part.items()):
        notebook = next(name for name in MODELS if step.startswith(name))
        check(notebook, values | ({"workers": 1} if notebook == "01_cohort" else {}))


def _scans(plan):
    return {"data": plan.data, "cache": f"{plan.home}/cache", "preprocessing": plan.profile["preprocessing"]}


def _ensemble(profile):
    return {"temperature": profile["temperature"], "sigmas": profile["sigmas"]}


def _training_seed(plan, seed):
    """With pretrained networks, a seed is only the noise's."""
    return {"seed": plan.first_seed if plan.networks else seed}


def _baselines(plan, contrast, seed, fold):
    autoencoder = plan.profile["autoencoder"] | _training_seed(plan, seed)
    values = {"fold": fold, "contrast": contrast, "network": plan.network(contrast), "autoencoder": autoencoder}
    return _scans(plan) | values | {"datasets": [name for name in plan.sets if plan.sets[name] == contrast]}
