"""As much of torch as llama.cpp's converter asks of it when it is eager, on numpy: for where torch itself
(some gigabytes) is not installed. A folder to put on Python's path; what is missing fails by its name.

Numbers of bfloat16 and of 8 bits are kept as their bits, which can be moved but not reckoned with; `to` and
`float` decode them.
"""
import contextlib

import numpy as np


class dtype:
    """A type of numbers: numpy's, or for those that it does not have that of their bits."""

    def __init__(self, name, numpy, bits_of=None):
        self.name, self.numpy, self.decode = name, np.dtype(numpy), bits_of

    def __repr__(self):
        return f"torch.{self.name}"

    @property
    def itemsize(self):
        return self.numpy.itemsize


def _from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _from_e4m3(bits):
    """Sign, 4 bits of exponent with bias 7, 3 bits of fraction; no infinities, and all ones are none."""
    bits = bits.astype(np.int32)
    exponent, fraction = bits >> 3 & 15, bits & 7
    value = np.where(exponent, np.ldexp(1 + fraction / 8, exponent - 7), np.ldexp(fraction / 8, -6))
    value = np.where((exponent == 15) & (fraction == 7), np.nan, value)
    return np.where(bits & 128, -value, value).astype(np.float32)


def _from_e5m2(bits):
    return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)


bfloat16 = dtype("bfloat16", np.uint16, _from_bf16)
float8_e4m3fn = dtype("float8_e4m3fn", np.uint8, _from_e4m3)
float8_e5m2 = dtype("float8_e5m2", np.uint8, _from_e5m2)
float16, float32, float64 = (dtype(f"float{n}", f"f{n // 8}") for n in (16, 32, 64))
uint8, int8, int16, int32, int64 = (dtype(n, n) for n in ("uint8", "int8", "int16", "int32", "int64"))
bool = dtype("bool", np.bool_)
half, long = float16, int64
Size = tuple
_OF_NUMPY = {t.numpy: t for t in (float16, float32, float64, uint8, int8, int16, int32, int64, bool)}


def _numbers(x):
    return x.array if isinstance(x, Tensor) else x


class Tensor:
    def __init__(self, array, of=None):
        self.array = np.asarray(array)
        self.dtype = of or _OF_NUMPY[self.array.dtype]

    def _like(self, array):
        return Tensor(array, self.dtype)

    # ---- what it is ----

    shape = property(lambda self: tuple(self.array.shape))
    ndim = property(lambda self: self.array.ndim)
    T = property(lambda self: self._like(self.array.T))
    device = "cpu"

    def size(self, dim=None):
        return self.shape if dim is None else self.shape[dim]

    def dim(self):
        return self.ndim

    def numel(self):
        return self.array.size

    def item(self):
        return self.array.item()

    def tolist(self):
        return self.array.tolist()

    def __float__(self):
        return float(self.array)

    def __bool__(self):
        return self.array.__bool__()

    def __len__(self):
        return len(self.array)

    def __iter__(self):
        return (self._like(a) for a in self.array)

    def numpy(self):
        if self.dtype.decode:
            raise TypeError(f"numpy has no {self.dtype}")
        return np.ascontiguousarray(self.array)

    # ---- other types ----

    def to(self, *args, dtype=None, device=None):
        for a in args:
            dtype = a if isinstance(a, globals()["dtype"]) else dtype
        if dtype is None or dtype is self.dtype:
            return self
        numbers = self.dtype.decode(self.array) if self.dtype.decode else self.array
        if dtype.decode:
            raise TypeError(f"{self.dtype} to {dtype} is not implemented")
        return Tensor(numbers.astype(dtype.numpy), dtype)

    def float(self):
        return self.to(float32)

    def cpu(self):
        return self

    contiguous = detach = clone = cpu

    def type(self, of):
        return self.to(of)

    # ---- other shapes ----

    def view(self, *shape):
        if isinstance(shape[0], dtype):
            return Tensor(np.ascontiguousarray(self.array).view(shape[0].numpy), shape[0])
        return self.reshape(*shape)

    def reshape(self, *shape):
        return self._like(self.array.reshape(shape[0] if isinstance(shape[0], (tuple, list)) else shape))

    def permute(self, *order):
        return self._like(self.array.transpose(order[0] if isinstance(order[0], (tuple, list)) else order))

    def transpose(self, a, b):
        return self._like(self.array.swapaxes(a, b))

    swapaxes = transpose

    def t(self):
        return self.transpose(0, 1)

    def flatten(self):
        return self._like(self.array.reshape(-1))

    def squeeze(self, dim=None):
        return self._like(self.array.squeeze(dim))

    def unsqueeze(self, dim):
        return self._like(np.expand_dims(self.array, dim))

    def repeat_interleave(self, count, dim=None):
        return self._like(np.repeat(self.array, count, dim))

    def expand(self, *shape):
        return self._like(np.broadcast_to(self.array, [o if n == -1 else n
                                                       for n, o in zip(shape, self.shape)]))

    def split(self, sizes, dim=0):
        n = self.shape[dim]
        ends = range(sizes, n, sizes) if isinstance(sizes, int) else np.cumsum(sizes)[:-1]
        return tuple(self._like(a) for a in np.split(self.array, list(ends), dim))

    def chunk(self, count, dim=0):
        return self.split(-(-self.shape[dim] // count), dim)

    def __getitem__(self, at):
        at = tuple(_numbers(i) for i in at) if isinstance(at, tuple) else _numbers(at)
        return self._like(self.array[at])

    def index_select(self, dim, index):
        return self._like(np.take(self.array, _numbers(index), dim))

    # ---- reckoning ----

    def _reckon(self, other, what, swapped=False):
        if self.dtype.decode or (isinstance(other, Tensor) and other.dtype.decode):
            raise TypeError(f"{what.__name__} of {self.dtype} is not implemented")
        b = _numbers(other)
        if not isinstance(b, np.ndarray): # a number takes the tensor's type
            b = np.asarray(b, self.array.dtype if self.array.dtype.kind == "f" or isinstance(b, int)
                           else np.float32)
        return Tensor(what(b, self.array) if swapped else what(self.array, b))

    def sum(self, dim=None):
        return Tensor(self.array.sum(dim))

    def __neg__(self):
        return Tensor(-self.array)


for _name, _function in {"add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide,
                         "floordiv": np.floor_divide, "mod": np.mod, "pow": np.power, "and": np.bitwise_and,
                         "or": np.bitwise_or, "lshift": np.left_shift, "rshift": np.right_shift,
                         "lt": np.less, "gt": np.greater, "le": np.less_equal, "ge": np.greater_equal}.items():
    setattr(Tensor, f"__{_name}__", lambda self, other, f=_function: self._reckon(other, f))
    setattr(Tensor, f"__r{_name}__", lambda self, other, f=_function: self._reckon(other, f, True))


def from_numpy(array):
    return Tensor(array)


def tensor(values, dtype=None):
    return Tensor(np.asarray([_numbers(v) for v in values] if isinstance(values, list) else values,
                             (dtype or float32).numpy))


def arange(*args, dtype=None):
    return Tensor(np.arange(*args, dtype=(dtype or int64).numpy))


def empty(*shape, size=None, dtype=float32, device=None):
    return Tensor(np.zeros(size if size is not None else shape, dtype.numpy), dtype)


zeros = empty


def cat(tensors, dim=0):
    return tensors[0]._like(np.concatenate([t.array for t in tensors], dim))


concat = cat


def stack(tensors, dim=0):
    return tensors[0]._like(np.stack([t.array for t in tensors], dim))


def split(t, sizes, dim=0):
    return t.split(sizes, dim)


def exp(t):
    return Tensor(np.exp(t.array))


def bitwise_and(a, b):
    return a & b


def bitwise_right_shift(a, b):
    return a >> b


def bitwise_left_shift(a, b):
    return a << b


inference_mode = no_grad = contextlib.nullcontext
