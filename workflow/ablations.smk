"""The ablations (`make ablations`): one choice of the study changed, everything else as it is.

What the Snakefile's graph makes -> results/<profile>/ablations/{figures,tables,choices,notebooks}. One notebook is one
choice; z_choices puts together what the validation parts would choose. Only the baselines of the last one are trained,
for longer. Names are those of the Snakefile.
"""

ABLATED = f"{RESULTS}/ablations"


use rule run_notebook as ablate with:
    input:
        modules("ablations/{choice}"),
        all_sets(f"{MODEL}/weights.safetensors", f"{RESULTS}/reconstructions/{{name}}"),
    output:
        tables("{choice}", folder=ABLATED),
        f"{ABLATED}/choices/{{choice}}.csv",
        figure("{choice}", folder=ABLATED),
    log: executed("{choice}", folder=ABLATED)
    params: **step("ablations/{choice}")
    wildcard_constraints:
        choice="|".join(CHOICES),


use rule run_notebook as choices with:
    input:
        modules("ablations/z_choices"),
        expand(f"{ABLATED}/choices/{{choice}}.csv", choice=CHOICES, allow_missing=True),
        tables("e_post_processing", folder=ABLATED),
    output:
        tables("choices", folder=ABLATED),
        f"{ABLATED}/tables/choices.md",
        figure("choices", folder=ABLATED),
    log: executed("z_choices", folder=ABLATED)
    params: **step("ablations/z_choices")
    threads: 1


use rule run_notebook as longer with:
    input:
        modules("03_baselines"),
        STAMP,
    output:
        [f"{ABLATED}/models/{{contrast}}/{name}" for name in BASELINES],
        figure("baselines_{contrast}", "baselines_training_{contrast}", folder=ABLATED),
    log: executed("03_baselines_{contrast}", folder=ABLATED)
    params: **step("03_baselines_{contrast}_longer")


use rule run_notebook as longer_baselines with:
    input:
        modules("ablations/g_longer_baselines"),
        all_sets(*(f"{folder}/models/{{contrast}}/{name}" for folder in (RESULTS, ABLATED) for name in BASELINES)),
        all_sets(f"{RESULTS}/reconstructions/{{name}}"),
    output:
        tables("g_longer_baselines", folder=ABLATED),
        figure("g_longer_baselines", folder=ABLATED),
    log: executed("g_longer_baselines", folder=ABLATED)
    params: **step("ablations/g_longer_baselines")


rule ablations:
    input:
        expand(rules.ablate.output, part=PLAN.parts, choice=CHOICES),
        expand(rules.choices.output, part=PLAN.parts),
        expand(rules.longer_baselines.output, part=PLAN.parts),
