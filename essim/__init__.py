"""essim: unsupervised anomaly detection in brain MRI with diffusion models and ensembled SSIM maps.

The files of this folder are the method and can be read in one sitting; each folder is a room of the study around it,
and says in its first lines what comes in and what goes out. The public names stand in `__init__.pyi`, where editors
find them; they are fetched when first used, so that `import essim` stays quick.

    settings       what a study can set             ssim           similarity maps at any kernel size
    noise          simplex and Gaussian noise       ensemble       the paper's anomaly map, and l1
    unet           the network                      calibration    ours: measured by healthy brains
    diffusion      noising, loss, reconstruction    postprocess    rim, median, specks
    models         a model folder and back          weights        files of any trained network
    reconstruct    a volume, slice by slice          tone           how bright a volume's tissues are
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
