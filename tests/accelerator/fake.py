"""A device "cuda" or "mps" that computes on the CPU and enforces the rules of the real one.

A `DeviceTensor` says that it is on the device, and holds a CPU tensor. While a `FakeAccelerator`
is entered, what is made on the device or copied there is such a tensor. Every operation of torch's
dispatcher on one, those of backward passes as well, comes by here, and is a fault where CUDA
refuses it:

- a CPU tensor that has axes together with one of the device;
- a CPU tensor without axes, in an operation that is not pointwise;
- a CPU tensor indexed by one of the device (the other way round is a copy), and masks and values
  on different devices;
- the result of an operation on the device written into a CPU tensor;
- ``numpy()`` of a tensor on the device;
- a random generator of the CPU for numbers on the device.

On "mps", float64 and operations that have no MPS kernel are faults, too.

What is counted::

    from accelerator.fake import FakeAccelerator  # before torch is imported
    with FakeAccelerator(strict=False) as device:  # strict: raise at a fault
        flow(device="cuda")
    device.faults, device.waits, device.launches, device.moved  # Counters of (file:line, what)

``launches`` are operations, most of them one kernel; ``waits`` are what the host waits for the
device at: copies from ordinary memory, and whatever tells the host a number or a shape; ``moved``
are the bytes of the copies. With ``memory``, in bytes, it runs out as that of a real device does;
``peak`` is the most that was held at once.

Random numbers of the device are those of the CPU with the same seed; it has no `torch.Generator`
of its own. It can't tell: kernels that lack a dtype, speed, TF32, streams. The mode is of one
thread: in another one, tensors of the device work, but none can be made.
"""

import ctypes
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

from .build import libraries, torch_folder

# torch asks for its hooks of CUDA once, while it is imported.
assert "torch" not in sys.modules, "import accelerator.fake before torch"
_first, _guard = libraries()
for _library in (_first, torch_folder() / "lib" / "libtorch_cpu.so"):
    ctypes.CDLL(str(_library), ctypes.RTLD_GLOBAL)
assert ctypes.CDLL(str(_guard)).is_there(), "torch did not take the hooks of the fake device"

import torch  # noqa: E402
from torch.optim import optimizer  # noqa: E402
from torch.utils import _foreach_utils  # noqa: E402
from torch.utils._python_dispatch import (  # noqa: E402
    TorchDispatchMode,
    return_and_correct_aliasing,
)

PACKAGE = "napari_equipose/"
"""Lines of files of this package are reported."""
_COPIES = {"_to_copy", "copy_", "copy"}
_INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}
_WAITING = {
    *("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "bincount"),
    *("_unique2", "unique_dim", "unique_consecutive", "histc", "_linalg_check_errors"),
    *("_linalg_svd", "_linalg_eigh", "linalg_eig", "linalg_lstsq", "linalg_matrix_exp"),
}
_NOT_ON_MPS = {"linalg_matrix_exp", "linalg_eig", "_linalg_eigh", "linalg_lstsq", "geqrf"}
_WIDE = (torch.float64, torch.complex128)


class DeviceTensor(torch.Tensor):
    """Says that it is on the device; ``inner`` holds what it holds."""

    inner: torch.Tensor
    share: "_Share"

    @staticmethod
    def __new__(cls, inner: torch.Tensor, device: torch.device) -> "DeviceTensor":
        made = torch.Tensor._make_wrapper_subclass(
            cls, inner.shape, strides=inner.stride(), storage_offset=inner.storage_offset(),
            dtype=inner.dtype, layout=inner.layout, device=device,
        )  # fmt: skip
        made.inner = inner
        return made

    __torch_function__ = torch._C._disabled_torch_function_impl

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None) -> Any:
        return FakeAccelerator.current.work(func, args, kwargs or {})

    def __deepcopy__(self, memo: dict[int, Any]) -> torch.Tensor:
        made: torch.Tensor = self.detach().clone().requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            made = torch.nn.Parameter(made, self.requires_grad)
        return memo.setdefault(id(self), made)

    def __repr__(self) -> str:
        return f"on {self.device}: {self.inner!r}"

    def tolist(self) -> Any:  # torch has none for what is not its own class
        return self.detach().cpu().tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        FakeAccelerator.current.fault("numpy() of a tensor on the device")
        return self.detach().inner.numpy()

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy().astype(dtype or self.inner.numpy().dtype)


class _Share:
    """Memory of the device, held as long as a tensor refers to it."""

    def __init__(self, device: "FakeAccelerator", size: int) -> None:
        self.device, self.size = device, 0
        if device.memory is not None and device.held + size > device.memory:
            raise torch.OutOfMemoryError(
                f"{device.device.type.upper()} out of memory. Tried to allocate {size} bytes."
            )
        self.size = size
        device.held += size
        device.peak = max(device.peak, device.held)

    def __del__(self) -> None:
        self.device.held -= self.size


def place() -> str:
    """Innermost line of the package on the stack; for a backward pass, the line that calls it."""
    frame = sys._getframe(1)
    while frame is not None:
        if PACKAGE in frame.f_code.co_filename:
            return f"{frame.f_code.co_filename.split(PACKAGE)[-1]}:{frame.f_lineno}"
        frame = frame.f_back
    return "outside"


def _on_device(value: Any) -> bool:
    return isinstance(value, DeviceTensor)


def _on_cpu(value: Any) -> bool:
    return isinstance(value, torch.Tensor) and not _on_device(value)


def _unwrapped(value: Any) -> Any:
    return value.inner if _on_device(value) else value


def _leaves(values: Iterable[Any]) -> Iterator[Any]:
    """Values that are no lists or tuples; torch's own does more, and takes ten times as long."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _leaves(value)
        else:
            yield value


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)([_mapped(change, each) for each in value])
    return change(value)


class FakeAccelerator(TorchDispatchMode):
    """Have the device for as long as the context lasts.

    Parameters
    ----------
    strict : bool
        Raise at a fault, as a real device does; else count it and go on.
    kind : {"cuda", "mps"}
    memory : int, optional
        Bytes that the device holds.
    """

    current: "FakeAccelerator"

    def __init__(self, strict: bool = True, kind: str = "cuda", memory: int | None = None) -> None:
        super().__init__()
        self.strict, self.device, self.memory = strict, torch.device(kind, 0), memory
        self.faults, self.waits = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self.launches, self.moved = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
        self.held, self.peak = 0, 0
        self._shares = weakref.WeakValueDictionary[int, _Share]()

    def fault(self, words: str) -> None:
        """Note what the real device refuses."""
        self.faults[place(), words] += 1
        if self.strict:
            raise RuntimeError(f"Expected all tensors to be on the same device: {words}, {place()}")

    def __torch_dispatch__(self, func, types, args=(), kwargs=None) -> Any:
        return self.work(func, args, kwargs or {})

    def work(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Do one operation of the dispatcher."""
        name, asked = func._schema.name.removeprefix("aten::"), kwargs.get("device")
        leaves = [*_leaves(args), *_leaves(kwargs.values())]
        on, off = [v for v in leaves if _on_device(v)], [v for v in leaves if _on_cpu(v)]
        if not on and not self._is_meant(asked):
            return func(*args, **kwargs)
        if kwargs.get("generator") is not None:  # there are none of the device
            self.fault(f"{name}: CPU generator for a tensor on the device")
        own = args[0] if args and func._schema.is_mutable else None
        to_device = self._is_meant(asked) if asked is not None else True
        if name in _COPIES and own is not None:
            to_device = _on_device(own)
        self._check(name, func, args, on, off)
        self._count(name, func, args, to_device)
        inner_args = _mapped(_unwrapped, args)
        inner_kwargs = {key: _mapped(_unwrapped, value) for key, value in kwargs.items()}
        if asked is not None:
            inner_kwargs["device"] = "cpu"
        made = func(*inner_args, **inner_kwargs)
        if self.device.type == "mps" and to_device:
            self._check_mps(name, made)
        if isinstance(own, torch.Tensor) and made is _unwrapped(own):
            return own
        if not to_device:
            return made
        made = _mapped(self._wrapped, made)
        if _on_device(made) and len(on) == 1 and not func._schema.is_mutable:
            if any(out.alias_info for out in func._schema.returns):
                return return_and_correct_aliasing(func, args, kwargs, made)
        return made

    def _is_meant(self, where: Any) -> bool:
        return where is not None and torch.device(where).type == self.device.type

    def _wrapped(self, value: Any) -> Any:
        if not _on_cpu(value):
            return value
        made = DeviceTensor(value, self.device)
        made.share = self._share(value.untyped_storage())
        return made

    def _share(self, storage: torch.UntypedStorage) -> "_Share":
        """Take memory, unless this one is held already."""
        key = storage._cdata
        share = self._shares.get(key)
        if share is None:
            share = self._shares[key] = _Share(self, storage.nbytes())
        return share

    def _check(
        self, name: str, func: Any, args: tuple[Any, ...], on: list[Any], off: list[Any]
    ) -> None:
        """Refuse what CUDA refuses."""
        if name in _INDEXING:
            own, indices = args[0], args[1]
            if not _on_device(own) and any(map(_on_device, indices)):
                self.fault(f"{name}: CPU tensor indexed by one of the device")
            if "put" in name and args[2].ndim and _on_device(args[2]) != _on_device(own):
                self.fault(f"{name}: tensor and values on different devices")
            return
        if name in _COPIES or not on:
            return
        takes_numbers = torch.Tag.pointwise in func.tags or name in ("where", "masked_fill")
        for other in off:
            if other.ndim or not (takes_numbers or "_foreach" in name):
                self.fault(f"{name}: CPU tensor of shape {tuple(other.shape)} beside the device's")
        if func._schema.is_mutable and _on_cpu(args[0]):
            self.fault(f"{name}: result of the device written into a CPU tensor")

    def _check_mps(self, name: str, made: Any) -> None:
        if name in _NOT_ON_MPS:
            self.fault(f"MPS has no {name}")
        for one in _leaves((made,)):
            if isinstance(one, torch.Tensor) and one.dtype in _WIDE:
                self.fault(f"MPS has no {one.dtype} ({name})")

    def _count(self, name: str, func: Any, args: tuple[Any, ...], to_device: bool) -> None:
        """Count operations, and what makes the host wait."""
        where = place()
        if name in _COPIES:
            source = args[0] if name == "_to_copy" else args[1]
            if _on_device(source) != to_device:
                way = "copy to the device" if to_device else "copy to the host"
                self.waits[where, way] += 1
                self.moved[where, way] += source.numel() * source.element_size()
                return
        if any(out.alias_info and not out.alias_info.is_write for out in func._schema.returns):
            return  # a view
        self.launches[where, name] += 1
        if name in _INDEXING:
            if any(i is not None and i.dtype == torch.bool and _on_device(i) for i in args[1]):
                self.waits[where, f"{name} by a mask"] += 1
            if any(map(_on_cpu, args[1])):
                self.waits[where, f"{name} by CPU indices"] += 1
        elif name in _WAITING or (name == "repeat_interleave" and "Tensor" in func._overloadname):
            self.waits[where, name] += 1

    def __enter__(self) -> "FakeAccelerator":
        FakeAccelerator.current = self
        self._around = around = ExitStack()
        # Backward passes in this thread: the mode is of no other.
        around.enter_context(torch.autograd.set_multithreading_enabled(False))
        for switch in (
            torch._C._set_only_lift_cpu_tensors,  # so that `torch.tensor(device=)` comes by here
            torch.__future__.set_swap_module_params_on_conversion,  # parameters stay themselves
        ):
            switch(True)
            around.callback(switch, False)
        for types in (optimizer._foreach_supported_types, _foreach_utils._foreach_supported_types):
            types.append(DeviceTensor)
            around.callback(types.remove, DeviceTensor)
        for owner, answers in _answers(self.device.type, self.memory).items():
            for name, answer in answers.items():
                always = lambda *args, _answer=answer, **kwargs: _answer  # noqa: E731
                around.enter_context(patch.object(owner, name, always))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._around.close()


def _answers(kind: str, memory: int | None) -> dict[Any, dict[str, Any]]:
    """What torch says of the devices that are there."""
    state = torch.zeros(16, dtype=torch.uint8)
    size = memory or 2**40
    if kind == "mps":
        there = {"is_available": True, "is_built": True}
        calls = {"empty_cache": None, "synchronize": None, "manual_seed": None}
        calls |= {"recommended_max_memory": size, "driver_allocated_memory": 0}
        return {torch.backends.mps: there, torch.mps: calls | {"get_rng_state": state}}
    cuda = {
        "_lazy_init": None, "is_available": True, "device_count": 1, "current_device": 0,
        "is_bf16_supported": True, "empty_cache": None, "synchronize": None,
        "get_device_name": "a fake accelerator", "get_device_capability": (9, 0),
        "manual_seed_all": None, "manual_seed": None, "set_rng_state": None,
        "get_rng_state": state, "is_current_stream_capturing": False,
        "mem_get_info": (size, size),
    }  # fmt: skip
    return {torch.cuda: cuda}
