"""What all tests share: one thread a process, so that two test workers don't fight for two cores."""

import os

for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"


def pytest_collection_modifyitems(items):
    """The longest files first, or the other worker would wait for them at the end."""
    items.sort(key=lambda item: item.path.name not in ("test_smoke.py", "test_workflow.py", "test_notebooks.py"))
