"""Functions for numba's functions to call that keep many values in vector registers.

In: a function that writes LLVM instructions. Out: one that numba calls. numba turns simple loops into vector
instructions by itself, but keeps long sums and sorted lists in memory; here they stay in registers, which is faster.
"""

import functools

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 8  # values in a register of AVX2; the compiler makes two of it where registers are shorter
WORD = ir.IntType(64)
CONTRACT = ("contract",)  # a product and a sum may become one instruction


def generated(write):
    """What `write(code, *arguments)` writes, as a function for numba's functions. Use it as a decorator.

    `code` is a `Code`. Of the arguments, arrays (one-dimensional, contiguous) become an `Array`, tuples a list, and
    numbers a value of LLVM's; places in arrays are integers of 64 bits.
    """

    def typed(typing, *kinds):
        def generate(context, build, signature, arguments):
            write(Code(build), *(_argument(context, build, *each) for each in zip(kinds, arguments, strict=True)))
            return context.get_dummy_value()

        return types.void(*kinds), generate

    return intrinsic(functools.wraps(write)(typed))  # it needs the arguments' names


def _argument(context, build, kind, value):
    if isinstance(kind, types.Array):
        if kind.ndim != 1 or kind.layout != "C":
            raise TypeError(f"{kind}: vectors are read from contiguous arrays of one dimension.")
        return Array(context, build, kind, value)
    return [build.extract_value(value, k) for k in range(len(kind))] if isinstance(kind, types.BaseTuple) else value


class Array:
    """A one-dimensional array, read and written from a place on: LANES values at a time, or one."""

    def __init__(self, context, build, kind, value):
        array = context.make_array(kind)(context, build, value)
        self.build, self.data, self.length = build, array.data, build.extract_value(array.shape, 0)
        self.vector = ir.VectorType(context.get_data_type(kind.dtype), LANES)
        self.align = kind.dtype.bitwidth // 8  # of one value: vectors begin anywhere

    def one(self, place):
        return self.build.load(self.build.gep(self.data, [place]))

    def load(self, place):
        return self.build.load(self._at(place), align=self.align)

    def store(self, vector, place):
        self.build.store(vector, self._at(place), align=self.align)

    def _at(self, place):
        return self.build.bitcast(self.build.gep(self.data, [place]), self.vector.as_pointer())

    def everywhere(self, place):
        """One value in all lanes."""
        nothing, numbers = ir.Constant(self.vector, ir.Undefined), ir.VectorType(ir.IntType(32), LANES)
        first = self.build.insert_element(nothing, self.one(place), ir.IntType(32)(0))
        return self.build.shuffle_vector(first, nothing, numbers([0] * LANES))


class Code:
    """Writes instructions and loops with llvmlite's builder, `build`."""

    def __init__(self, build):
        self.build = build

    def weighted(self, weights, vectors):
        """sum_k weights[k] vectors[k]."""
        total = None
        for weight, vector in zip(weights, vectors, strict=True):
            product = self.build.fmul(weight, vector, flags=CONTRACT)
            total = self.build.fadd(product, total, flags=CONTRACT) if total else product
        return total

    def lower_and_higher(self, x, y):
        less = self.build.fcmp_ordered("<", x, y)
        return self.build.select(less, x, y), self.build.select(less, y, x)

    def each(self, count, write):
        """A loop: write(place) for 0, LANES, ... below `count`, which is LANES or more; the last vector ends there."""
        build = self.build
        before, loop, after = build.block, build.append_basic_block("loop"), build.append_basic_block("after")
        last = build.sub(count, WORD(LANES))
        build.branch(loop)
        build.position_at_end(loop)
        place = build.phi(WORD)
        place.add_incoming(WORD(0), before)
        write(build.select(build.icmp_unsigned("<", place, last), place, last))
        following = build.add(place, WORD(LANES))
        place.add_incoming(following, build.block)
        build.cbranch(build.icmp_unsigned("<", following, count), loop, after)
        build.position_at_end(after)

    def which(self, value, choices, write):
        """write(choice) for each of some numbers, to be run where the value is that number; nothing for any other."""
        build = self.build
        after = build.append_basic_block("after")
        switch = build.switch(value, after)
        for choice in choices:
            block = build.append_basic_block(f"for_{choice}")
            switch.add_case(WORD(choice), block)
            build.position_at_end(block)
            write(choice)
            build.branch(after)
        build.position_at_end(after)
