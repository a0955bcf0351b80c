"""The operator of stencils side by side is put together from theirs, without forming a number again.

Their classes of tiles stand side by side as well. A large class stays the array that it is; small ones become
one array, padded to one width, since each class costs some twenty calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from geocnn.ops.tiles import Index, Tiling

LARGE = {"cpu": 2**13, "cuda": 2**20}
"""Copying a class of so many cells takes as long as the calls that it saves; padding takes twice as long."""


class Joint(NamedTuple):
    """The index of stencils side by side, and for each of its classes which (part, class) it is made of."""

    index: Index
    made_of: list[list[tuple[int, int]]]


def joint(tilings: Sequence[Tiling], n_source: Sequence[int]) -> Joint:
    """Join the tiles of stencils; the sources of each come after those of the one before."""
    made_of = _grouped(tilings)
    before = [sum(n_source[:p]) for p in range(len(tilings))]
    target: list[list[int]] = [[0] * len(t.index.member) for t in tilings]
    slot: list[list[Tensor]] = [list(t.index.member) for t in tilings]
    member, first, n_slots = [], 0, 0
    for group in made_of:
        u, wide = max(tilings[p].index.member[c].shape[1] for p, c in group), []
        for p, c in group:
            own, k = tilings[p].index.member[c], tilings[p].index.k[c]
            wide.append(_wider(own, u) + before[p])
            number = torch.arange(n_slots, n_slots + len(own) * u, device=own.device)
            slot[p][c] = number.view(len(own), u)[:, : own.shape[1]]
            target[p][c] = first
            n_slots, first = n_slots + len(own) * u, first + k * len(own)
        member.append(torch.cat(wide))
    ks = [tilings[group[0][0]].index.k[group[0][1]] for group in made_of]
    return Joint(Index(member, *_slots(tilings, slot), _places(tilings, target), ks), made_of)


def joint_blocks(whole: Joint, blocks: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Return the blocks of the joint operator, from those of each part's operator."""
    fields = sum(len(own) for own in blocks) // sum(len(group) for group in whole.made_of)
    result = []
    for group, member in zip(whole.made_of, whole.index.member, strict=True):
        for s in range(fields):
            own = [blocks[p][c * fields + s] for p, c in group]
            result.append(own[0] if len(own) == 1 else _side_by_side(own, member.shape[0]))
    return result


def _side_by_side(own: Sequence[Tensor], tiles: int) -> Tensor:
    """Return blocks [tiles, k · rows, U · components] as one, padded with zeros to the widest."""
    wide = own[0].new_zeros(tiles, own[0].shape[1], max(b.shape[2] for b in own))
    first = 0
    for b in own:
        wide[first : first + len(b), :, : b.shape[2]] = b
        first += len(b)
    return wide


def _grouped(tilings: Sequence[Tiling]) -> list[list[tuple[int, int]]]:
    """Return which classes become one; large ones, and those whose blocks serve several tiles, stay alone."""
    alone, small = [], []
    for p, t in enumerate(tilings):
        for c, (own, k) in enumerate(zip(t.index.member, t.index.k, strict=True)):
            stays = t.copies > 1 or own.numel() * k >= _large(own)
            (alone if stays else small).append((k, own.shape[1], p, c))
    groups, padded = [[(p, c)] for _, _, p, c in alone], 0
    before = 0, 0
    # widths ascend: each class widens those before it in its group
    for k, u, p, c in sorted(small):
        member = tilings[p].index.member[c]
        tiles = sum(len(tilings[i].index.member[j]) for i, j in groups[-1]) if before[0] == k else 0
        padded += tiles * k * (u - before[1])
        if before[0] == k and padded < _large(member) // 2:
            groups[-1].append((p, c))
        else:
            groups.append([(p, c)])
            padded = 0
        before = k, u
    return groups


def _large(member: Tensor) -> int:
    return LARGE.get(member.device.type, LARGE["cuda"])


def _wider(member: Int64[Tensor, "tiles u"], u: int) -> Int64[Tensor, "tiles {u}"]:
    """Pad with each tile's first source."""
    return torch.cat([member, member[:, :1].expand(-1, u - member.shape[1])], 1)


def _places(tilings: Sequence[Tiling], target: list[list[int]]) -> Int64[Tensor, " n"]:
    """Return where each target lies, given where the first target of each part's classes lies."""
    places = []
    for t, start in zip(tilings, target, strict=True):
        index, before = t.index, 0
        place = index.place
        if place is None:
            n = index.k[0] * len(index.member[0])
            place = torch.arange(n, device=index.slot.device)
        moved = torch.empty_like(place)
        for own, k, first in zip(index.member, index.k, start, strict=True):
            mine = (place >= before) & (place < before + k * len(own))
            moved[mine] = place[mine] + (first - before)
            before += k * len(own)
        places.append(moved)
    return torch.cat(places)


def _slots(
    tilings: Sequence[Tiling], slot: list[list[Tensor]]
) -> tuple[Int32[Tensor, " n_1"], Int32[Tensor, " slots"]]:
    """Return the slots of all sources, given the number that each part's slots have now."""
    ptr, slots, n = [tilings[0].index.slot_ptr[:1]], [], 0
    for t, numbers in zip(tilings, slot, strict=True):
        moved = torch.cat([own.flatten() for own in numbers]).to(torch.int32)
        ptr.append(t.index.slot_ptr[1:] + n)
        slots.append(moved[t.index.slot])
        n += len(t.index.slot)
    return torch.cat(ptr), torch.cat(slots)
