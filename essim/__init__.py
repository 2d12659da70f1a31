"""essim: unsupervised anomaly detection in brain MRI with diffusion models and ensembled SSIM maps.

The files of this folder are the method, each folder in it is a room of the study around it. The public names are listed
in `__init__.pyi`, where editors find them; they are fetched when first used, so that `import essim` stays quick.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
