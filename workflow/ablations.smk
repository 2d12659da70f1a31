"""The ablations (`make ablations`): one choice of the study changed, everything else as it is.

What the Snakefile's graph makes -> results/<profile>/ablations/{figures,tables,choices,notebooks}. One notebook is one
choice; z_choices puts together what the validation parts would choose. Nothing is trained but the baselines of the last
one, which get a longer training. Names are those of the Snakefile.
"""

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
    steps |= {"g_longer_baselines": ENSEMBLE}
    return {name: {"results": results, "datasets": list(SETS)} | values for name, values in steps.items()}


for part, (seed, _) in PARTS.items():
    STEPS[part] |= {f"ablations/{name}": values for name, values in ablations(f"{HOME}{part}", seed).items()}
    for contrast in CONTRASTS:
        values = STEPS[part][f"03_baselines_{contrast}"]
        longer = values["autoencoder"] | {"steps": PROFILE["ablations"]["autoencoder_steps"]}
        values = values | {"results": f"{HOME}{part}/ablations", "network": "", "autoencoder": longer}
        STEPS[part][f"03_baselines_{contrast}_longer"] = values
CHOICES = STEPS[next(iter(PARTS))]["ablations/z_choices"]["ablations"]
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
        choice="|".join(CHOICES),
    threads: max(1, CORES // 2)
    shell:
        RUN


rule choices:
    input:
        modules("ablations/z_choices"),
        expand(f"{ABLATED}/choices/{{choice}}.csv", choice=CHOICES, allow_missing=True),
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


rule longer:
    input:
        modules("03_baselines"),
        STAMP,
    output:
        [f"{ABLATED}/models/{{contrast}}/{name}" for name in BASELINES],
        figure("baselines_{contrast}", "baselines_training_{contrast}", folder=ABLATED),
    log:
        f"{ABLATED}/notebooks/03_baselines_{{contrast}}.ipynb",
    params:
        notebook="03_baselines",
        code=code("03_baselines"),
        parameters=parameters("03_baselines_{contrast}_longer"),
    threads: max(1, CORES // 2)
    shell:
        RUN


rule longer_baselines:
    input:
        modules("ablations/g_longer_baselines"),
        all_sets([f"{folder}/models/{{contrast}}/{name}" for folder in (RESULTS, ABLATED) for name in BASELINES]),
        all_sets(f"{RESULTS}/reconstructions/{{name}}"),
    output:
        f"{ABLATED}/tables/g_longer_baselines.csv",
        figure("g_longer_baselines", folder=ABLATED),
    log:
        f"{ABLATED}/notebooks/g_longer_baselines.ipynb",
    params:
        notebook="ablations/g_longer_baselines",
        code=lambda wildcards: code("ablations/g_longer_baselines"),
        parameters=parameters("ablations/g_longer_baselines"),
    threads: max(1, CORES // 2)
    shell:
        RUN


rule ablations:
    input:
        expand(rules.ablate.output, part=PARTS, choice=CHOICES),
        expand(rules.choices.output, part=PARTS),
        expand(rules.longer_baselines.output, part=PARTS),
