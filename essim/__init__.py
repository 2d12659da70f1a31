"""essim: unsupervised anomaly detection in brain MRI with diffusion models and ensembled SSIM maps.

The files in this folder are the method and can be read in one sitting; each subfolder is a room of the study around it,
whose first lines say what comes in and what goes out. The public names are listed in `__init__.pyi`, where editors
find them; they are imported on first use, so that `import essim` stays quick.

    settings       what a study can set             ssim           similarity maps at any kernel size
    noise          simplex and Gaussian noise       ensemble       the paper's anomaly map, and l1
    unet           the network                      calibration    ours: measured against healthy brains
    diffusion      noising, loss, reconstruction    postprocess    rim, median, specks
    models         a model folder -> a network      weights        files of any trained network
    reconstruct    a volume, slice by slice          tone           how bright a volume's tissues are
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
