"""A stand-in of the study: the real Snakefile, profiles and modules, with notebooks that only write the files they have
to, run without kernels, so that the graph's own behaviour is tested, in seconds. test_smoke.py runs the real ones."""

import json
import re

import nbformat
from closure import code_of, imported
from study_folder import Study

NOTEBOOKS = [
    *("01_cohort", "02_train", "03_baselines", "03_healthy", "03_reconstruct", "04_kernel_ablation"),
    *(
        "05_at_its_best",
        "05_ensembling",
        "06_evaluate",
        "07_calibrated_ensemble",
        "08_best_sigma",
        "09_across_sets",
        "98_spread",
    ),
    "99_figures",
]

# Writes the outputs of its step; then waits or fails, if a file of that name says so.
STAND_IN = """
import json, time
from pathlib import Path
outputs, names = json.loads(Path("outputs.json").read_text()), globals()
steps = [NOTEBOOK, *[f"{NOTEBOOK}_{names.get(key)}" for key in ("dataset", "contrast")]]
step, log = next((s, log) for s in steps if (log := f"{results}/notebooks/{s}.ipynb") in outputs)
for name in outputs[log]:
    path = Path(name) if Path(name).suffix else Path(name) / "scans.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(step)
while Path(f"slow_{step}").exists():
    time.sleep(0.1)
if Path(f"exit_{step}").exists():
    raise SystemExit(0)
if Path(f"fail_{step}").exists():
    raise ValueError("data/x.nii.gz: the volume is empty; fetch it again.")
"""

# In place of workflow/run_notebook.py: no kernel, and nothing to be imported.
RUNNER = """
import json, sys
from pathlib import Path
notebook, executed, _, parameters = sys.argv[1:5]
cells = json.loads(Path(notebook).read_text())["cells"]
exec("\\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"), json.loads(parameters))
Path(executed).write_text("executed")
"""


def write_notebook(path, *sources):
    cells = [nbformat.v4.new_code_cell(source) for source in sources]
    cells[0].metadata["tags"] = ["parameters"]
    cells.insert(0, nbformat.v4.new_markdown_cell("A stand-in."))
    metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=metadata), path)


def finished_stand_in(folder):
    """A stand-in in an empty folder, run to its end with two patient sets."""
    study = Study.copied(folder, parts=("workflow", "essim"))
    (study.folder / "essim/__init__.py").write_text('"""The stand-in needs modules, not the whole package."""')
    (study.folder / "notebooks").mkdir()
    for name in NOTEBOOKS:
        imports = f"if False:  # what the real one does\n    import {', '.join(sorted(imported(code_of(name))))}"
        sources = ("# parameters", imports, f"NOTEBOOK = {name!r}", STAND_IN)
        write_notebook(study.folder / f"notebooks/{name}.ipynb", *sources)
    (study.folder / "workflow/run_notebook.py").write_text(RUNNER)
    study.change_profile({"sets": {"tumour": "t2", "stroke": "t1"}})

    planned = study.run("--dry-run", "--quiet", "host", config=["seeds=[0,1]"]).stdout
    jobs = re.findall(r"^ +output: (.*)\n +log: (.*)", planned, re.MULTILINE)
    outputs = {log: names.split(", ") for names, log in jobs}
    (study.folder / "outputs.json").write_text(json.dumps(outputs))

    done = study.run()
    assert done.returncode == 0, done.stdout
    return study


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
