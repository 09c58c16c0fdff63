"""Operators that compute nothing: views, fills and copies, the latter two with their traffic."""

from __future__ import annotations

# Without traffic: they describe memory that is there, or set memory aside.
VIEWS = frozenset(
    """_unsafe_view _reshape_alias unsafe_split unsafe_split_with_sizes unsafe_chunk lift_fresh lift alias
    detach detach_ squeeze_ unsqueeze_ t_ transpose_ swapaxes_ swapdims_ as_strided_ set_ resize_ empty
    empty_like empty_strided new_empty new_empty_strided is_same_size _has_same_storage_numel
    _linalg_check_errors _assert_async is_pinned requires_grad_ _fw_primal _make_dual _unpack_dual
    sym_size sym_numel sym_stride sym_storage_offset is_contiguous _nested_tensor_size
    _efficientzerotensor _coalesced_ _indices _values indices values""".split()
)
# Fills: written and not read.
FILLS = frozenset(
    """zeros ones full eye arange linspace scalar_tensor zeros_like ones_like full_like new_zeros new_ones
    new_full zero zero_ fill_ fill tril_indices triu_indices""".split()
)
# Copies: of as much as comes out.
COPIES = frozenset(
    """clone _to_copy copy copy_ cat stack repeat repeat_interleave flip roll tril triu constant_pad_nd
    reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d im2col unfold_copy expand_copy
    index _unsafe_index index_select gather embedding take masked_select slice_scatter
    select_scatter diagonal_scatter
    as_strided_scatter slice_backward select_backward diag_embed pixel_shuffle pixel_unshuffle
    channel_shuffle index_fill upsample_nearest2d _to_sparse _to_dense contiguous positive scatter
    index_copy _local_scalar_dense item convert_element_type
    value_selecting_reduction_backward""".split()
)
# Of which only as much is read from the first argument as comes out.
GATHERS = frozenset(
    ["index", "_unsafe_index", "index_select", "gather", "embedding", "take", "masked_select"]
)
# In which only as much of the first argument is touched as is brought there (the argument named).
SCATTERS = {
    "scatter_": "src", "scatter_add_": "src", "index_add_": "source", "index_put_": "values",
    "index_copy_": "source",
}  # fmt: skip
# Written over without being looked at.
OVERWRITES = frozenset(
    """copy_ fill_ zero_ normal_ uniform_ random_ exponential_ geometric_ log_normal_ cauchy_ set_ resize_
    _foreach_copy_ _foreach_zero_""".split()
)
# Whose first argument gives a shape and no values.
SHAPES_ONLY = frozenset("rand_like randn_like randint_like bernoulli_".split())
