"""Data sets as downloaded -> rows of the scan table: who is a patient, who is healthy, and who is left out.

In: a folder, of one data set or of several side by side (essim.data.subjects). Out: the scan table, not yet split, and
sentences about everything that was decided along the way. Paper: section 3 (data).
"""

from collections import Counter

import pandas as pd

from essim.data.layouts import BIDS, LAYOUTS, known_labels
from essim.data.prepared import CONTRASTS
from essim.data.splits import doubtful_people
from essim.data.subjects import find_subjects

COLUMNS = ("dataset", "subject", "contrast", "image", "mask", "seg", "age", "sex", "site", "ignore")


def read_downloaded(source):
    """The scans of data sets as downloaded.

    Returns: (a table with COLUMNS, {set: the labels that its lesion masks may have}, sentences). Patients without a
        lesion mask have no row, and a sentence counts them. Raises FileNotFoundError where no file name is recognised,
        ValueError where no scan is left.
    """
    subjects, sentences = find_subjects(source)
    if not subjects:
        known = ", ".join(layout.name for layout in LAYOUTS)
        raise FileNotFoundError(
            f"{source}: has no folder `splits` and no scan of a known data set ({known}); "
            + "".join(f"{sentence}; " for sentence in sentences)
            + "generate the cohort there (notebook 01_cohort), correct the path, or list your scans in a CSV."
        )
    rows, labels, used, gone, imageless = [], {}, [], {}, Counter()
    for subject in subjects:
        layout = subject.layout
        dataset, reason = judge(subject)
        images = {contrast: subject.files[contrast] for contrast in CONTRASTS if contrast in subject.files}
        if not images:
            imageless[dataset, "t1c" in subject.files] += 1
            continue
        if reason:
            gone.setdefault(dataset, Counter())[reason] += 1
            continue
        used.append((dataset, subject))
        if not layout.own_grid:
            labels[dataset] = known_labels(layout, labels.get(dataset, ()))
        about = {"subject": subject.name, "site": subject.site, "age": subject.age, "sex": subject.sex}
        files = {"mask": str(subject.files.get("mask", layout.mask)), "seg": str(subject.files.get("seg", ""))}
        shared = about | files | {"dataset": dataset, "ignore": layout.ignore}
        rows += [shared | {"contrast": contrast, "image": str(path)} for contrast, path in images.items()]
    left_out = list(_left_out(gone, imageless))
    if not rows:
        raise ValueError(f"{source}: no scan is left: {'; '.join([*left_out, *sentences])}.")
    scans = pd.DataFrame(rows, columns=COLUMNS)
    bids = scans[scans.subject.isin([subject.name for _, subject in used if subject.layout is BIDS])]
    return scans, labels, [*sentences, *left_out, *_choices(source, used), *doubtful_people(bids)]


def judge(subject):
    """(set of a downloaded subject, why it is left out or "").

    A subject isn't taken as healthy if it has a lesion mask, if a table calls it something else, or if nothing says
    that it is healthy although something does for others.
    """
    if "seg" in subject.files:
        return subject.layout.dataset or "patients", ""
    if subject.layout.dataset:
        return subject.layout.dataset, "" if subject.layout.dataset == "healthy" else "without a lesion mask"
    if subject.ill:
        return "patients", subject.ill
    if subject.healthy:
        return "healthy", ""
    return ("patients", "; ".join(dict.fromkeys(subject.doubts))) if subject.doubts else ("healthy", "")


def _left_out(gone, imageless):
    """Sentences that count who is left out: {set: {reason: count}}, {(set, with a T1 with contrast agent): count}."""
    for (dataset, agent), count in imageless.items():
        text = f"{count} {dataset} subject(s) without a T1, T2 or FLAIR are left out"
        yield text + (", since a T1 with contrast agent isn't taken as T1" if agent else "")
    for dataset, reasons in gone.items():
        text = f"{sum(reasons.values())} {dataset} subject(s) without a lesion mask are left out"
        told = [f"{count}: {reason}" for reason, count in reasons.items() if reason != "without a lesion mask"]
        yield text + (f" ({'; '.join(told)})" if told else "")


def _choices(source, used):
    """Sentences about what was decided along the way: which files, and who is healthy."""
    spare, remarks = {}, Counter()
    for dataset, subject in used:
        for entry in subject.spare:
            spare.setdefault(dataset, []).append(entry)
        remarks.update((dataset, remark) for remark in subject.remarks)
    for dataset, entries in spare.items():
        why = {reason: (path, taken) for path, taken, reason in reversed(entries)}
        why = {reason: [path.relative_to(source) for path in pair] for reason, pair in why.items()}
        told = [f"{reason} ({taken}, not {path})" for reason, (path, taken) in why.items()]
        text = f"{len(entries)} further file(s) of {dataset} subjects (other runs or spaces) are unused"
        yield f"{text}; chosen for: {', '.join(told)}"
    for (dataset, remark), count in remarks.items():
        yield f"{count} {dataset} subject(s) {remark}"
    bids = [(dataset, subject) for dataset, subject in used if subject.layout is BIDS]
    unknown = sum(dataset == "healthy" and subject.healthy is None for dataset, subject in bids)
    if unknown:
        text = "nothing says who is healthy (no lesion masks, no column `group` or `diagnosis` in a participants.tsv)"
        yield f"{text}: {unknown} BIDS subject(s) are taken as healthy; such a column, with `control`, confirms it"
    contrary = sum(dataset != "healthy" and subject.healthy is True for dataset, subject in bids)
    if contrary:
        yield f"{contrary} subject(s) with a lesion mask are called healthy in a table; they count as patients"
