"""The teaching path as it runs, for the site (`make site`): each notebook separately, the same whatever the profile.

The pages show the prose too, so here any change to a notebook runs it again, as does one to the package or a network.
"""

PACKAGE = sorted(path.as_posix() for path in Path("essim").rglob("*.py"))
GIVEN = {"your_own_scan": {"scan": "grown"}}  # whatever was fetched: no real scan gets onto the site
WEIGHTS = sorted(path.as_posix() for path in Path("models").rglob("weights.safetensors"))


rule lesson:
    input:
        "notebooks/walkthrough/{lesson}.ipynb",
        PACKAGE,
        WEIGHTS,
    output:
        touch(f"{HOME}/notebooks/walkthrough/{{lesson}}.ran"),
    log:
        f"{HOME}/notebooks/walkthrough/{{lesson}}.ipynb",
    params:
        given=lambda wildcards: json.dumps(GIVEN.get(wildcards.lesson, {})),
    threads: 1
    shell:
        WARM + "workflow.run_notebook {input[0]:q} {log:q} --threads {threads} --parameters {params.given:q}"


rule walkthrough:
    input:
        expand(rules.lesson.output, lesson=[path.stem for path in sorted(Path("notebooks/walkthrough").glob("*.ipynb"))]),
