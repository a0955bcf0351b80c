"""Small meshes with planted defects, and a slow doctor: the same definitions face by face in plain Python."""

from __future__ import annotations

import math
import random
from collections import Counter, defaultdict
from fractions import Fraction

from tests.shapes import beside, cube, ring, sheet, tetrahedron

Points = list[list[float]]
Faces = list[list[int]]


def moebius(n: int) -> tuple[Points, Faces]:
    """A band of n quads with half a turn."""
    points = []
    for side in (-0.3, 0.3):
        for k in range(n):
            u = 2 * math.pi * k / n
            rho = 1 + side * math.cos(u / 2)
            points.append([rho * math.cos(u), rho * math.sin(u), side * math.sin(u / 2)])
    faces = []
    for k in range(n):
        a, b, c, d = (k, k + n, k + 1, k + n + 1) if k < n - 1 else (k, k + n, n, 0)
        faces += [[a, c, b], [c, d, b]]
    return points, faces


def sound(r: random.Random) -> tuple[Points, Faces]:
    shapes = [tetrahedron, cube, lambda: ring(5, 4), lambda: sheet(3, 2), lambda: beside(cube(), sheet(1, 1))]
    k = r.randrange(len(shapes) + 1)
    if k == len(shapes):
        return moebius(r.randrange(4, 8))
    v, f = shapes[k]()
    return v.tolist(), f.tolist()


# ----------------------------------------------------------------------- planting: changes v and f in place


def nan(r: random.Random, v: Points, f: Faces) -> None:
    r.choice(v)[r.randrange(3)] = r.choice([math.nan, math.inf, -math.inf])


def out_of_range(r: random.Random, v: Points, f: Faces) -> None:
    r.choice(f)[r.randrange(3)] = r.choice([-1, len(v), len(v) + 5, -(2**40), 2**40])


def repeated_corner(r: random.Random, v: Points, f: Faces) -> None:
    a, b = r.randrange(len(v)), r.randrange(len(v))
    f.append(r.choice([[a, a, b], [a, b, a], [b, a, a]]))


def duplicate_face(r: random.Random, v: Points, f: Faces) -> None:
    f.append(r.sample(r.choice(f), 3))


def zero_area(r: random.Random, v: Points, f: Faces) -> None:
    a, b = r.randrange(len(v)), r.randrange(len(v) - 1)
    b += b >= a
    v.append([(x + y) / 2 for x, y in zip(v[a], v[b], strict=True)])
    f.append([a, b, len(v) - 1])


def fin(r: random.Random, v: Points, f: Faces) -> None:
    a, b, _ = r.sample(r.choice(f), 3)
    v.append([r.uniform(2, 3), r.uniform(2, 3), r.uniform(2, 3)])
    f.append([a, b, len(v) - 1])


def touching(r: random.Random, v: Points, f: Faces) -> None:
    n, a = len(v), r.randrange(len(v))
    v += [[r.uniform(-3, -2) for _ in range(3)] for _ in range(2)]
    f.append([a, n, n + 1])


def turned(r: random.Random, v: Points, f: Faces) -> None:
    for k in r.sample(range(len(f)), r.randrange(1, 1 + len(f) // 2)):
        f[k] = f[k][::-1]


def isolated(r: random.Random, v: Points, f: Faces) -> None:
    v.append([r.random() for _ in range(3)])


def torn(r: random.Random, v: Points, f: Faces) -> None:
    face = r.choice(f)
    k = r.randrange(3)
    if 0 <= face[k] < len(v):
        v.append(list(v[face[k]]))
        face[k] = len(v) - 1


def soup(r: random.Random, v: Points, f: Faces) -> None:
    if all(0 <= i < len(v) for face in f for i in face):
        points = [list(v[i]) for face in f for i in face]
        v[:] = points
        f[:] = [[3 * k, 3 * k + 1, 3 * k + 2] for k in range(len(f))]


def shrunk(r: random.Random, v: Points, f: Faces) -> None:
    scale = r.choice([1e-90, 1e90])
    v[:] = [[scale * x for x in p] for p in v]


# Planted in closed surfaces, these leave them closed.


def cap(r: random.Random, v: Points, f: Faces) -> None:
    """A vertex on the edge of one of its two faces only: a face without area between."""
    k = r.randrange(len(f))
    a, b, c = f[k]
    t, m = r.choice([0.5, 1e-3, 1e-9]), len(v)
    v.append([x + t * (y - x) for x, y in zip(v[a], v[b], strict=True)])
    f[k] = [a, b, m]
    f += [[a, m, c], [m, b, c]]


def needles(r: random.Random, v: Points, f: Faces) -> None:
    """A vertex that becomes two in one place, with an edge and two faces between."""
    a, new = r.choice(r.choice(f)), len(v)
    after = {
        face[(i + 1) % 3]: (k, face[i - 1]) for k, face in enumerate(f) for i in (0, 1, 2) if face[i] == a
    }
    start = end = r.choice(list(after))
    for _ in range(r.randrange(1, len(after))):
        k, end = after[end]
        f[k][f[k].index(a)] = new
    v.append(list(v[a]))
    f += [[a, start, new], [new, end, a]]


PLANTS = (
    nan,
    out_of_range,
    repeated_corner,
    duplicate_face,
    zero_area,
    fin,
    touching,
    turned,
    isolated,
    torn,
)


def broken(seed: int) -> tuple[Points, Faces]:
    """A small mesh with up to five planted defects, numbered at random."""
    r = random.Random(seed)
    v, f = sound(r)
    for plant in r.choices(PLANTS, k=r.randrange(6)):
        plant(r, v, f)
    for plant, odds in ((soup, 0.08), (shrunk, 0.04)):
        if r.random() < odds:
            plant(r, v, f)
    order = r.sample(range(len(v)), len(v))
    new = {old: k for k, old in enumerate(order)}
    r.shuffle(f)
    return [v[i] for i in order], [[new.get(i, i) for i in face] for face in f]


# -------------------------------------------------------------------------------------------- the slow doctor


def slow_defects(v: Points, f: Faces) -> dict[str, set]:
    """Ids of each kind of defect there is; edges as pairs, the lower end first."""
    n, every = len(v), range(len(f))
    present = [k for k in every if all(0 <= i < n for i in f[k])]
    proper = [k for k in present if len(set(f[k])) == 3]
    alike = Counter(frozenset(f[k]) for k in proper)
    kept = [k for i, k in enumerate(proper) if set(f[k]) not in [set(f[j]) for j in proper[:i]]]
    finite = {i for i in range(n) if all(map(math.isfinite, v[i]))}
    measured = [k for k in proper if set(f[k]) <= finite]
    flat = {k for k in measured if is_flat([v[i] for i in f[k]])}
    places = Counter(tuple(x + 0.0 for x in v[i]) for i in finite)
    flips, one_sided = slow_unwind(f, kept)
    found = {
        "nan": set(range(n)) - finite,
        "range": set(every) - set(present),
        "repeated_corner": set(present) - set(proper),
        "duplicate_face": {k for k in proper if alike[frozenset(f[k])] > 1},
        "zero_area": flat,
        "scale": {k for k in measured if k not in flat and not 1e-70 < largest(v, f[k]) < 1e70},
        "soup": (soup := slow_soup(v, f, kept, finite)),
        "apart": slow_apart(f, kept) - soup,
        "duplicate_position": {i for i in finite if places[tuple(x + 0.0 for x in v[i])] > 1},
        "nonmanifold_edge": {tuple(sorted(e)) for e, faces in edges(f, kept).items() if len(faces) > 2},
        "nonmanifold_vertex": {i for i in range(n) if len(fans(f, kept, i)) > 1},
        "winding": flips,
        "inside_out": slow_inside_out(v, f, kept, flips, finite),
        "one_sided": one_sided,
        "unreferenced": set(range(n)) - {i for face in f for i in face},
    }
    return {kind: ids for kind, ids in found.items() if ids}


def edges(f: Faces, kept: list[int]) -> dict[frozenset, list[int]]:
    found = defaultdict(list)
    for k in kept:
        for i in range(3):
            found[frozenset((f[k][i], f[k][(i + 1) % 3]))].append(k)
    return found


def largest(v: Points, face: list[int]) -> float:
    return max(abs(x - y) for i in face for j in face for x, y in zip(v[i], v[j], strict=True))


def is_flat(corners: Points) -> bool:
    """Height at most 1e-10 of the longest edge, in exact arithmetic."""
    a, b, c = ([Fraction(x) for x in p] for p in corners)
    u, w = ([y - x for x, y in zip(a, end, strict=True)] for end in (b, c))
    cross = [u[i - 2] * w[i - 1] - u[i - 1] * w[i - 2] for i in range(3)]
    longest = max(sum((x - y) ** 2 for x, y in zip(p, q, strict=True)) for p, q in ((a, b), (b, c), (c, a)))
    return sum(x * x for x in cross) <= Fraction(1, 10**20) * longest**2


def groups(nodes: list[int], joined) -> list[list[int]]:
    """Connected components by search."""
    left, found = list(nodes), []
    while left:
        group = [left.pop(0)]
        for node in group:
            near = [other for other in left if joined(node, other)]
            group += near
            left = [other for other in left if other not in near]
        found.append(group)
    return found


def fans(f: Faces, kept: list[int], i: int) -> list[list[int]]:
    around = [k for k in kept if i in f[k]]
    return groups(around, lambda a, b: len(set(f[a]) & set(f[b])) >= 2)


def slow_unwind(f: Faces, kept: list[int]) -> tuple[set, set]:
    """Faces to flip, the fewer of each component (of equally many, not the first face); faces on one side."""
    near = defaultdict(list)
    for edge, faces in edges(f, kept).items():
        if len(faces) == 2:
            a, b = faces
            p, q = edge
            same = [(f[k].index(q) - f[k].index(p)) % 3 for k in faces]
            near[a].append((b, same[0] == same[1]))
            near[b].append((a, same[0] == same[1]))
    flips, one_sided, turn = set(), set(), {}
    for first in kept:
        if first in turn:
            continue
        turn[first], group, clash = False, [first], False
        for a in group:
            for b, same in near[a]:
                if b not in turn:
                    turn[b] = turn[a] ^ same
                    group.append(b)
                clash |= turn[b] != turn[a] ^ same
        turned = {k for k in group if turn[k]}
        if clash:
            one_sided |= set(group)
        else:
            flips |= turned if 2 * len(turned) <= len(group) else set(group) - turned
    return flips, one_sided


def slow_apart(f: Faces, kept: list[int]) -> set:
    shared = {k for faces in edges(f, kept).values() if len(faces) > 1 for k in faces}
    return set(kept) - shared if len(kept) > 1 else set()


def slow_soup(v: Points, f: Faces, kept: list[int], finite: set[int]) -> set:
    def place(i):
        return tuple(x + 0.0 for x in v[i]) if i in finite else i

    own, welded = edges(f, kept), defaultdict(set)
    for k in kept:
        corners = frozenset(map(place, f[k]))
        if len(corners) == 3:
            for i in range(3):
                welded[frozenset((place(f[k][i]), place(f[k][(i + 1) % 3])))].add(corners)
    lone = set()
    for k in kept:
        sides = [(f[k][i], f[k][(i + 1) % 3]) for i in range(3)]
        if all(len(own[frozenset(s)]) == 1 for s in sides) and len(set(map(place, f[k]))) == 3:
            if any(len(welded[frozenset(map(place, s))]) == 2 for s in sides):
                lone.add(k)
    return lone if 2 * len(lone) > len(kept) else set()


def slow_inside_out(v: Points, f: Faces, kept: list[int], flips: set, finite: set[int]) -> set:
    """Faces of closed pieces of negative volume whose boxes are in no other closed piece's box."""
    faces = {k: f[k][::-1] if k in flips else f[k] for k in kept}
    near, found = edges(f, kept), []
    pairs = {frozenset(around) for around in near.values()}
    pieces = groups(kept, lambda a, b: frozenset((a, b)) in pairs)
    for piece in pieces:
        own = [edge for edge, around in near.items() if set(around) & set(piece)]
        runs = Counter((faces[k][i], faces[k][(i + 1) % 3]) for k in piece for i in range(3))
        if all(len(near[edge]) == 2 for edge in own) and max(runs.values()) == 1:
            if all(i in finite for k in piece for i in f[k]):
                points = [[Fraction(x) for x in v[i]] for k in piece for i in f[k]]
                box = [(min(axis), max(axis)) for axis in zip(*points, strict=True)]
                found.append((piece, box, sum(sixfold([v[i] for i in faces[k]]) for k in piece)))
    return {
        k
        for piece, box, volume in found
        if volume < -1e-11 * float(max(high - low for low, high in box)) ** 3
        and not any(
            other is not piece and all(a <= c and d <= b for (a, b), (c, d) in zip(big, box, strict=True))
            for other, big, _ in found
        )
        for k in piece
    }


def sixfold(corners: Points) -> Fraction:
    """Six times the volume of the tetrahedron over the origin."""
    a, b, c = ([Fraction(x) for x in p] for p in corners)
    return sum(a[i] * (b[i - 2] * c[i - 1] - b[i - 1] * c[i - 2]) for i in range(3))
