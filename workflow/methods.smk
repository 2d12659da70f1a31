"""The field's methods (`make methods`): every reconstructor of the profile under every score, on the study's patients.

What the Snakefile's graph makes -> results/<profile>/methods/<reconstructor>, then the tables and figures of all. A
network is trained as the study's own is, or taken from models/methods/<network>_<contrast> if it is there. A new method
is a file of essim/methods and a word in the profile; nothing else runs again. Of further seeds, only the reconstructors
that the profile repeats are run. Names are those of the Snakefile.
"""

from methods import KINDS, OF_THE_STUDY, chosen_methods, folder_of, network_of, own_network, path_of
from warm_kernels import THREADS

METHODS = f"{RESULTS}/methods"
STEP = f"{WARM}workflow.methods "
STEP = "".join(f"{name}={{threads}} " for name in THREADS) + STEP
TRIED = PLAN.profile["methods"]
RECONSTRUCTORS = TRIED["reconstructors"]
try:
    LEARNED = sorted({own for name in chosen_methods(TRIED) if (own := own_network(name, NETWORKS))})
except ValueError as error:
    raise WorkflowError(str(error)) from None
HEALTHY = [f"healthy_{contrast}" for contrast in PLAN.contrasts]
FIRST = {part: next(other for other, run in PLAN.parts.items() if run[1] == PLAN.parts[part][1]) for part in PLAN.parts}


def without_methods(paths):
    """Paths of modules without the methods themselves: each step names those that it uses."""
    return [path for path in paths if not path.startswith(tuple(f"essim/methods/{kind}/" for kind in KINDS))]


def module_of(method):
    """What a reconstructor, or a score, depends on."""
    return modules_behind(path_of(method).removesuffix(".py").replace("/", "."))


def model_of(wildcards):
    """The model folder that a folder's reconstructor takes."""
    contrast = PLAN.sets.get(wildcards.folder) or wildcards.folder.removeprefix("healthy_")
    first = PLAN.parts[wildcards.part][0] == PLAN.first_seed
    return folder_of(wildcards.reconstructor, contrast, HOME + wildcards.part, NETWORKS, first)


def weights_of(wildcards):
    """The file of that network; nothing where the reconstructor takes none."""
    taken = network_of(wildcards.reconstructor)
    return f"{model_of(wildcards)}/{OF_THE_STUDY.get(taken, 'weights')}.safetensors" if taken else []


def asked_of(wildcards):
    """The settings with which a folder is reconstructed, as JSON."""
    step = STEPS[wildcards.part]["10_methods"]
    patients = {"val": step["patients_val"], "test": step["patients_test"]}
    counts = patients if wildcards.folder in PLAN.sets else {"yardstick": step["yardsticks"]}
    return json.dumps({"draws": step["draws"], "seed": step["seed"], "counts": counts})


def training_of(wildcards):
    """What the training of a method's network is given, as JSON: what the study's own is, and the part's seed."""
    asked = STEPS[wildcards.part][f"02_train_{wildcards.contrast}"]
    return json.dumps(asked | {"training": asked["training"] | {"seed": PLAN.parts[wildcards.part][0]}})


rule learn:
    input:
        lambda wildcards: module_of(wildcards.network),
        modules_behind("essim.train.loop"),
        STAMP,
    output:
        expand(
            f"{METHODS}/models/{{network}}_{{contrast}}/{{file}}",
            file=["weights.safetensors", "config.json", "log.csv"],
            allow_missing=True,
        ),
    params:
        asked=training_of,
    wildcard_constraints:
        network="|".join(LEARNED) or "none",
    threads: max(1, CORES // 2)
    shell:
        STEP + "learn {wildcards.network} $(dirname {output[0]:q}) --asked {params.asked:q}"


rule rebuild:
    input:
        lambda wildcards: module_of(wildcards.reconstructor),
        modules_behind("essim.study.rebuilt"),
        weights_of,
        # of which only scans, masks and lesions are used, the same for all seeds
        folder=lambda wildcards: f"{HOME}{FIRST[wildcards.part]}/reconstructions/{wildcards.folder}",
    output:
        directory(f"{METHODS}/{{reconstructor}}/{{folder}}"),
    params:
        asked=asked_of,
        model=model_of,
    wildcard_constraints:
        reconstructor="|".join(RECONSTRUCTORS),
        folder="|".join([*PLAN.sets, *HEALTHY]),
    threads: max(1, CORES // 2)
    shell:
        STEP + "rebuild {wildcards.reconstructor} {output:q} --folder {input.folder:q} --model {params.model:q} "
        "--asked {params.asked:q}"


use rule run_notebook as one_method with:
    input:
        lambda wildcards: without_methods(modules_of("10_one_method")),
        lambda wildcards: sum(map(module_of, [wildcards.reconstructor, *TRIED["scores"]]), []),
        expand(f"{METHODS}/{{reconstructor}}/{{folder}}", folder=[*PLAN.sets, *HEALTHY], allow_missing=True),
        lambda wildcards: [
            f"{folder}/weights.safetensors"
            for folder in STEPS[wildcards.part][f"10_one_method_{wildcards.reconstructor}"]["segmenters"].values()
        ],
    output:
        [f"{METHODS}/{{reconstructor}}/{name}.csv" for name in ("scores", "choices", "costs")],
        figure("methods_{reconstructor}"),
    log: executed("10_one_method_{reconstructor}")
    params: **step("10_one_method_{reconstructor}")
    wildcard_constraints:
        reconstructor="|".join(RECONSTRUCTORS),


use rule run_notebook as methods_grid with:
    input:
        modules("10_methods"),
        expand(rules.one_method.output, reconstructor=RECONSTRUCTORS, allow_missing=True),
    output:
        tables("methods_grid", "methods_choices", "methods_trade"),
        figure("methods_grid", "methods"),
    log: executed("10_methods")
    params: **step("10_methods")
    threads: 1


use rule run_notebook as methods_seeds with:
    input:
        modules("10_seeds"),
        expand(rules.one_method.output[0], part=PLAN.parts, reconstructor=TRIED["repeated"]),
    output:
        tables("methods_seeds", folder=STUDY),
        figure("methods_seeds", folder=STUDY),
    log: executed("10_seeds", folder=STUDY)
    params: **step("10_seeds")
    threads: 1


rule methods:
    input:
        expand(rules.methods_grid.output, part={*FIRST.values()}),
        rules.methods_seeds.output if len(PLAN.parts) > 1 else [],
