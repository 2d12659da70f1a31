"""Compiles the Triton kernel for an H100, on any machine: a line of JSON a tile with what a block of it takes."""

import json
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from essim.kernels.cuda import CALIBRATED, CODES, TILES, tiles

TYPES = {"mask": "*i8", "wide": "*i64", "inverse_tau": "fp32", "C1": "fp32", "C2": "fp32"}
INTEGERS = ("size_a", "size_b", "size_c", "sigmas", "span")


def machine_code(strategy, tile, warps):
    """The compiled kernel, masked and in three dimensions."""
    constants = {"STRATEGY": strategy, "MASKED": True, "FLAT": False, "OUT": tile, "IN": 2 * tile}
    kinds = TYPES | dict.fromkeys(INTEGERS, "i32") | dict.fromkeys(constants, "constexpr")
    signature = {name: kinds.get(name, "*fp32") for name in tiles.arg_names}
    source = ASTSource(tiles, signature, {(tiles.arg_names.index(name),): value for name, value in constants.items()})
    return triton.compile(source, GPUTarget("cuda", 90, 32), {"num_warps": warps})


def resources(code):
    """{name: number} of what one block of compiled code takes, as CUDA's own tool reads it."""
    tool = Path(triton.__file__).parent / "backends/nvidia/bin/cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        Path(file.name).write_bytes(code)
        said = subprocess.run([tool, "-res-usage", file.name], capture_output=True, text=True, check=True).stdout
    return {name: int(re.search(rf"{name.upper()[:3]}\w*:(\d+)", said)[1]) for name in ("registers", "stack")}


for strategy in (CODES["adaptive"], CALIBRATED):
    for tile, warps in TILES.values():
        kernel = machine_code(strategy, tile, warps)
        facts = {"strategy": strategy, "tile": tile, "shared": kernel.metadata.shared}
        print(json.dumps(facts | resources(kernel.asm["cubin"])))
