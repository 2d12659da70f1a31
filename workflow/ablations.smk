"""The ablations (`make ablations`): one choice of the study changed, everything else as it is; nothing is trained.

What the Snakefile's graph makes -> results/<profile>/ablations/{figures,tables,choices,notebooks}. One notebook is one
choice; the last one puts together what the validation parts would choose. Names are those of the Snakefile.
"""

MODULES |= {
    "ablations/a_noising_steps": "ablations cases choices diffusion ensemble kernels/cpu kernels/cuda kernels/median metrics models noise postprocess ssim stats study unet volumes",
    "ablations/b_noise_draws": "ablations cases choices diffusion ensemble kernels/cpu kernels/cuda kernels/median metrics models noise postprocess ssim stats study unet volumes",
    "ablations/c_windows": "ablations cases choices ensemble kernels/cpu kernels/cuda kernels/median metrics postprocess ssim stats study volumes",
    "ablations/d_temperature": "ablations cases choices ensemble kernels/cpu kernels/cuda kernels/median metrics postprocess ssim stats study volumes",
    "ablations/e_post_processing": "ablations cases choices ensemble kernels/cpu kernels/cuda kernels/median metrics postprocess ssim stats study volumes",
    "ablations/f_resolution": "ablations cases choices ensemble kernels/cpu kernels/cuda kernels/median metrics postprocess ssim stats study volumes",
    "ablations/z_choices": "ablations cases choices ensemble kernels/cpu kernels/cuda kernels/median metrics postprocess ssim stats study volumes",
}


def ablations(results, seed):
    """Every ablation of one study, with its notebook's parameters."""
    tried, made = PROFILE["ablations"], PROFILE["reconstruction"]
    steps = {
        "a_noising_steps": {"t": made["t"], "seed": seed, "steps": tried["steps"], "predictions": tried["predictions"]},
        "b_noise_draws": made | {"seed": seed, "draw_counts": tried["draw_counts"]},
        "c_windows": {"window_counts": tried["window_counts"], "widest": tried["widest"]},
        "d_temperature": {"temperatures": tried["temperatures"]},
        "e_post_processing": {},
        "f_resolution": {"factors": tried["factors"]},
    }
    steps = {name: ENSEMBLE | values for name, values in steps.items()} | {"z_choices": {"ablations": list(steps)}}
    return {name: {"results": results, "datasets": list(SETS)} | values for name, values in steps.items()}


for part, (seed, _) in PARTS.items():
    STEPS[part] |= {f"ablations/{name}": values for name, values in ablations(f"{HOME}{part}", seed).items()}
ABLATIONS = [name.removeprefix("ablations/") for name in MODULES if name.startswith("ablations/")][:-1]
ABLATED = f"{RESULTS}/ablations"


rule ablate:
    input:
        lambda wildcards: modules(f"ablations/{wildcards.choice}"),
        all_sets(f"{MODEL}/weights.safetensors"),
        all_sets(f"{RESULTS}/reconstructions/{{name}}"),
    output:
        f"{ABLATED}/tables/{{choice}}.csv",
        f"{ABLATED}/choices/{{choice}}.csv",
        figure("{choice}", folder=ABLATED),
    log:
        f"{ABLATED}/notebooks/{{choice}}.ipynb",
    params:
        notebook=lambda wildcards: f"ablations/{wildcards.choice}",
        code=lambda wildcards: code(f"ablations/{wildcards.choice}"),
        parameters=parameters("ablations/{choice}"),
    wildcard_constraints:
        choice="|".join(ABLATIONS),
    threads: max(1, CORES // 2)
    shell:
        RUN


rule choices:
    input:
        modules("ablations/z_choices"),
        expand(f"{ABLATED}/choices/{{choice}}.csv", choice=ABLATIONS, allow_missing=True),
        f"{ABLATED}/tables/e_post_processing.csv",
    output:
        f"{ABLATED}/tables/choices.csv",
        f"{ABLATED}/tables/choices.md",
        figure("choices", folder=ABLATED),
    log:
        f"{ABLATED}/notebooks/z_choices.ipynb",
    params:
        notebook="ablations/z_choices",
        code=lambda wildcards: code("ablations/z_choices"),
        parameters=parameters("ablations/z_choices"),
    threads: 1
    shell:
        RUN


rule ablations:
    input:
        expand(rules.ablate.output, part=PARTS, choice=ABLATIONS),
        expand(rules.choices.output, part=PARTS),
