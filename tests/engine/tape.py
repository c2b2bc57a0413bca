"""A stand-in for CUDA graphs on a CPU: operations on a tape, replayed on the very tensors that they were recorded with."""

from __future__ import annotations

from unittest import mock


def _tensors(value):
    import torch
    from torch.utils import _pytree

    return [leaf for leaf in _pytree.tree_leaves(value) if isinstance(leaf, torch.Tensor)]


class Tape:
    """Records what a step does, tensor by tensor, as a CUDA graph does: every address and every number of the host is baked
    in, and to read a number from a tensor is an error. Counts what it was used for.
    """

    def __init__(self):
        self.captures = self.replays = 0

    def capture(self, step):
        import torch
        from torch.utils._python_dispatch import TorchDispatchMode

        done = []

        class Record(TorchDispatchMode):
            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                if func is torch.ops.aten._local_scalar_dense.default:
                    raise RuntimeError("operation not permitted when stream is capturing")
                kwargs = kwargs or {}
                out = func(*args, **kwargs)
                memory = {tensor.untyped_storage()._cdata for tensor in _tensors((args, kwargs))}
                fresh = [tensor.untyped_storage()._cdata not in memory for tensor in _tensors(out)]
                if any(fresh) or func._schema.is_mutable:  # else a view, which is where it is
                    done.append((func, args, kwargs, out, fresh))
                return out

        self.captures += 1
        with mock.patch("torch.cuda.is_current_stream_capturing", lambda: True), Record():
            result = step()

        def replay():
            self.replays += 1
            for func, args, kwargs, out, fresh in done:
                again = func(*args, **kwargs)
                for old, new, own in zip(_tensors(out), _tensors(again), fresh, strict=True):
                    if own:
                        old.copy_(new)
            return result

        return replay


class Broken:
    """Cannot record, for whatever reason ``error`` gives."""

    def __init__(self, error):
        self.error, self.captures = error, 0

    def capture(self, step):
        self.captures += 1
        step()
        raise self.error
