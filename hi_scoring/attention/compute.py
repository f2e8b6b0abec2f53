"""Attention with readers and editors. Owns that readers change nothing, and that only edited rows cost extra."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from datasetkit.core.errors import ModelError
from datasetkit.hi_scoring.attention.call import AttentionCall
from datasetkit.hi_scoring.attention.parts import Editor, Reader

# Scores held at once, 16 MiB in float32: more rows are computed in several parts.
_CHUNK_SCORES = 2**22
# An editor, and whether it edits each row of a call, shape (B, Q), bool.
_Edit = tuple[Editor, Tensor]


def attend(
    call: AttentionCall, readers: Sequence[Reader], editors: Sequence[Editor], sdpa: Callable[[], Tensor]
) -> Tensor:
    """Compute a layer's output and pass the requested rows to the readers.

    Args:
        call: the call of the layer.
        readers: each receives its rows as they are after all editors.
        editors: applied in their order.
        sdpa: computes all rows unedited, shape (B, Q, H, D); not called where scores are capped, which SDPA cannot do.

    Returns:
        shape (B, Q, H, D).

    Raises:
        ModelError: a reader or editor returned rows that do not exist, or an edit leaves a row without a key.

    """
    edits = list(_edits(call, editors))
    if call.softcap is not None:
        every = torch.arange(call.query.shape[2], device=call.query.device)
        output = _recomputed(call, edits, None, every.expand(call.query.shape[0], -1))
    else:
        output = sdpa()
        if edits:
            output = _recomputed(call, edits, output, _indices(torch.stack([edited for _, edited in edits]).any(0)))
    for editor in editors:
        output = editor.edit_output(call, output)
    with torch.no_grad():
        for reader in readers:
            rows = _checked(call, reader, reader.rows(call))
            if rows is None:
                continue
            for part in _parts(call, rows):
                reader.read(call, part, call.probabilities(part, _visible(call, edits, part)))
            reader.finish(call)
    return output


def _edits(call: AttentionCall, editors: Sequence[Editor]) -> Iterator[_Edit]:
    for editor in editors:
        rows = _checked(call, editor, editor.rows(call))
        if rows is not None:
            length = call.query.shape[2]
            # One extra column takes the entries that are -1 (none).
            edited = torch.zeros(len(rows), length + 1, dtype=torch.bool, device=rows.device)
            edited.scatter_(1, rows.where(rows >= 0, length), value=True)
            yield editor, edited[:, :length]


def _recomputed(call: AttentionCall, edits: Sequence[_Edit], output: Tensor | None, rows: Tensor) -> Tensor:
    """Return the output with these rows as they are after all edits; without an output, rows must be all rows."""
    parts = [call.output(call.probabilities(part, _visible(call, edits, part))) for part in _parts(call, rows)]
    if output is None:
        return torch.cat(parts, 1)
    sample, place = (rows >= 0).nonzero(as_tuple=True)
    return output.index_put((sample, rows[sample, place]), torch.cat(parts, 1)[sample, place]) if parts else output


def _visible(call: AttentionCall, edits: Sequence[_Edit], rows: Tensor) -> Tensor:
    """Return which keys rows see after all edits, shape (B, 1 or H, R, K)."""
    visible = call.visible(rows)
    for editor, of_call in edits:
        edited = of_call.gather(1, rows.clamp(min=0)) & (rows >= 0)
        if not edited.any():
            continue
        before = visible.expand(-1, call.query.shape[1], -1, -1)
        after = editor.edit(call, rows.where(edited, -1), before)
        if after.shape != before.shape or after.dtype != torch.bool:
            raise ModelError(
                f"{type(editor).__name__}.edit returned {after.dtype} of shape {tuple(after.shape)}; "
                f"return torch.bool of shape {tuple(before.shape)}"
            )
        visible = after.where(edited[:, None, :, None], before)
        emptied = before.any(-1) & ~visible.any(-1)
        if emptied.any():
            sample, head, place = emptied.nonzero()[0].tolist()
            slot = int(call.query_positions[rows[sample, place]])
            raise ModelError(
                f"{type(editor).__name__} blocks every key of the row at slot {slot} of sample {sample} in layer "
                f"{call.layer}, head {head}; leave at least one"
            )
    return visible


def _checked(call: AttentionCall, asker: Reader | Editor, rows: Tensor | None) -> Tensor | None:
    """Refuse rows that do not exist; return None if no row is requested."""
    if rows is None:
        return None
    batch, _, length, _ = call.query.shape
    if rows.ndim != 2 or len(rows) != batch or rows.dtype != torch.int64:
        raise ModelError(
            f"{type(asker).__name__} asks for rows of shape {tuple(rows.shape)}, {rows.dtype}, for a batch of {batch}; "
            f"return int64 of shape ({batch}, R)"
        )
    if not rows.numel() or rows.max() < 0:
        return None
    if rows.min() < -1 or rows.max() >= length:
        raise ModelError(
            f"{type(asker).__name__} asks for rows {int(rows.min())} to {int(rows.max())} of {length}; "
            f"return 0 to {length - 1}, or -1 for none"
        )
    return rows.to(call.query.device)


def _indices(chosen: Tensor) -> Tensor:
    """Convert (B, Q) bool into indices (B, R), padded with -1 for samples with fewer rows."""
    order = (~chosen).to(torch.uint8).argsort(dim=1, stable=True)[:, : int(chosen.sum(1).max())]
    return order.where(chosen.gather(1, order), -1)


def _parts(call: AttentionCall, rows: Tensor) -> tuple[Tensor, ...]:
    batch, heads, _, _ = call.query.shape
    return rows.split(max(1, _CHUNK_SCORES // (batch * heads * call.key.shape[2])), dim=1)
