"""Multiply all rows of one side by the Gram matrix of the other side: the share of the unknown pairs."""

from torch import Tensor

from cofi_dist.kernels.base import Side


def add_gram_product(
    sums: Side[Tensor], rows: Side[Tensor], gram: Tensor, *, constant: float, fixes_order: bool = False
) -> None:
    """Add gram (features, bias, constant) of each row to its sums, in place.

    On a CPU, the sums of a row never depend on the other rows, nor on the number of threads.

    Args:
        sums: (V, K) and (V,); are added to.
        rows: (V, K) and (V,).
        gram: a0 times the Gram matrix of the other side's rows (f, 1, f_b), (K + 2, K + 2), symmetric.
        constant: 1 for factors, 0 for directions.
        fixes_order: whether they must not do so on a CUDA device either.
    """
    K = rows.features.shape[1]
    if rows.features.device.type == "cpu":
        # imported here, because the compiled loops are slow to load and other devices need none
        from cofi_dist.kernels.cpu.backend import arrays_of, vectors_of_rows
        from cofi_dist.kernels.cpu.gram_rows import add_gram_products, gram_rows
        from cofi_dist.kernels.cpu.jit import match_torch_threads

        as_arrays = arrays_of(sums), arrays_of(rows), gram_rows(gram.numpy())
        one = as_arrays[1].features.dtype.type(constant)
        add_gram_products(match_torch_threads(), vectors_of_rows(rows), *as_arrays, one)
        return
    if fixes_order:
        from cofi_dist.kernels.cuda.rows import add_gram_products as add_in_order  # Triton is optional

        add_in_order(sums, rows, gram, constant=constant)
        return
    sums.features.addmm_(rows.features, gram[:K, :K])
    sums.features.addcmul_(rows.bias[:, None], gram[K, :K][None])
    sums.bias.addmv_(rows.features, gram[:K, K]).add_(rows.bias * gram[K, K])
    if constant:
        sums.features.add_(gram[K + 1, :K], alpha=constant)
        sums.bias.add_(gram[K + 1, K], alpha=constant)
