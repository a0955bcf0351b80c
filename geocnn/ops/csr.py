"""Product of a constant sparse matrix in CSR form with a dense one; the transpose is stored, so backward is the same product.

The matrix travels as plain tensors through a custom operator: a CSR tensor kept as a buffer survives neither
torch.compile, torch.export nor deepcopy.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Csr(NamedTuple):
    """A sparse matrix and its transpose: row_ptr and column int32, value; n_rows × n_columns."""

    row_ptr: Tensor
    column: Tensor
    value: Tensor
    t_row_ptr: Tensor
    t_column: Tensor
    t_value: Tensor

    @property
    def n_rows(self) -> int:
        return self.row_ptr.shape[0] - 1

    @property
    def n_columns(self) -> int:
        return self.t_row_ptr.shape[0] - 1

    def __matmul__(self, x: Tensor) -> Tensor:  # type: ignore[override]
        return torch.ops.geocnn.csr_matmul(*self, x)


@torch.library.custom_op("geocnn::csr_matmul", mutates_args=())
def csr_matmul(
    row_ptr: Tensor,
    column: Tensor,
    value: Tensor,
    t_row_ptr: Tensor,
    t_column: Tensor,
    t_value: Tensor,
    x: Tensor,
) -> Tensor:
    """The product [n_rows, C] of the matrix with x [n_columns, C]; differentiable in x, to any order."""
    size = (row_ptr.shape[0] - 1, x.shape[0])
    matrix = torch.sparse_csr_tensor(row_ptr, column, value, size, check_invariants=False)
    return matrix @ x.contiguous()


@csr_matmul.register_fake
def _(row_ptr, column, value, t_row_ptr, t_column, t_value, x):
    return x.new_empty(row_ptr.shape[0] - 1, x.shape[1])


def _save_matrix(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs[:6])


def _transpose_product(ctx, grad: Tensor):
    row_ptr, column, value, t_row_ptr, t_column, t_value = ctx.saved_tensors
    back = csr_matmul(t_row_ptr, t_column, t_value, row_ptr, column, value, grad)
    return None, None, None, None, None, None, back


csr_matmul.register_autograd(_transpose_product, setup_context=_save_matrix)
for _device in ("cpu", "cuda"):
    # a sum over hundreds of entries loses a half-precision result's last digits
    csr_matmul.register_autocast(_device, torch.float32)
