"""Fused kernels: the maps of `essim.ssim` and `essim.ensemble` in one pass, on CPU (numba) and GPU (Triton)."""
