"""What is computed most often, faster: the maps in one pass, the median, the order of voxels.

In: tensors or arrays and the settings of a map. Out: what the core's own functions in torch and numpy would give.
Without numba or Triton everything still runs, only more slowly.

    dispatch    which kernel can handle a call
    cpu         the SSIM ensemble in numba: volumes in, maps out
    layout      how its volumes lie in memory
    planes      its arithmetic
    cuda        the SSIM ensemble in Triton
    median      the 3-D median of post-processing, in numba
    ranking     voxels ranked by their score, for essim.evaluation.metrics, in numba
    sampling    values between the points of a grid, for essim.cohort, in numba
    vectors     functions for numba's that keep long sums and sorted lists in registers
    compiling   numba's compiler, with a cache where one can be written

Imports: the core only.
"""
