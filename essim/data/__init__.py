"""Any source of scans -> one scan table -> arrays.

In: a folder or table of scans. Out: a checked pandas.DataFrame, one row a scan; float32 arrays [H, W, D] in [0, 1].
Imports: runs, settings.

    prepared   the prepared folder: its paths, its split files
    layouts    data sets as their authors publish them
    splits     who trains, validates and is tested
    checks     what is wrong with a scan table
    datasets   any source -> the scan table (`load_scans`)
    volumes    a row of it -> preprocessed arrays (`load_scan`)
"""
