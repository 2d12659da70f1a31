"""Which kernel can handle a call: the fused one for the tensors' device, or none, in which case torch does it.

In: the tensors and settings of a map, and the caller's `backend`. Out: a kernel's module, `essim.kernels.cpu` (numba)
or `essim.kernels.cuda` (Triton), or None for the reference in torch.
"""

import functools

import torch

BACKENDS = ("auto", "torch", "cpu", "cuda")
LIBRARIES = {"cpu": "numba", "cuda": "triton"}  # what each kernel needs


@functools.cache
def load_kernel(name):
    """The module essim.kernels.<name> (cpu, cuda, median or ranking), or None where its library is missing."""
    try:
        if name == "cpu":
            from essim.kernels import cpu as kernel
        elif name == "cuda":
            from essim.kernels import cuda as kernel
        elif name == "ranking":
            from essim.kernels import ranking as kernel
        else:
            from essim.kernels import median as kernel
    except ImportError:
        return None
    return kernel


def obstacle(name, x, y, sigmas, temperature=1.0):
    """Why the kernel `name` cannot compute this, as the end of a sentence; "" if it can."""
    if x.device.type != name:
        return f"works on {name} tensors, x is on {x.device.type}"
    if load_kernel(name) is None:
        return f"needs {LIBRARIES[name]}, which is not installed"
    if x.ndim not in (4, 5):
        return f"works in two or three dimensions, x has {x.ndim - 2}"
    if torch.is_grad_enabled() and (x.requires_grad or y.requires_grad):
        return "has no gradient"
    return load_kernel(name).obstacle(sigmas, temperature)


def pick_kernel(backend, x, y, sigmas, temperature=1.0):
    """The kernel's module for float tensors x and y; None for the reference in torch.

    Raises:
        ValueError: an unknown backend, or one that cannot compute this.
    """
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}.")
    if backend in LIBRARIES:
        if reason := obstacle(backend, x, y, sigmas, temperature):
            raise ValueError(f"backend={backend!r} {reason}; use backend='torch'.")
        return load_kernel(backend)
    device = x.device.type
    if backend == "torch" or device not in LIBRARIES or torch.float64 in (x.dtype, y.dtype):
        return None  # float64 input asks for float64 precision
    return None if obstacle(device, x, y, sigmas, temperature) else load_kernel(device)
