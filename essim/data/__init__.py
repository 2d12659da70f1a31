"""Any source of scans -> one scan table -> arrays.

In: a folder or table of scans. Out: a checked pandas.DataFrame, one row per scan; float32 arrays [H, W, D] in [0, 1].
Imports: runs.

    prepared    the prepared folder: its paths, its split files
    layouts     data sets as their authors publish them
    bids        BIDS names: what a file is
    pairing     which files of a BIDS folder belong together
    subjects    a folder of data sets -> its subjects
    downloaded  its subjects -> rows: who is healthy, who a patient
    tables      tables as people write them, as text
    people      what tables say about people
    own         a user's own table -> rows
    splits      who is trained on, validated on and tested on; which scans are one person's
    dicom       a folder of DICOM files -> a file
    headers     what a file's header says, such as where the volume lies
    grids       whether a mask belongs to a scan
    intensities what the values of a scan mean: background, brain
    looks       how a brain looks to a network, compared with healthy ones
    checks      what is wrong with a scan table
    datasets    any source -> the scan table (`load_scans`)
    volumes     a row of it -> preprocessed arrays (`load_scan`)
"""
