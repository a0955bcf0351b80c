"""Makes the data set `body_parts`: human bodies in many poses, remeshed uniformly, with eight part labels.

    pip install numpy scipy scikit-image gpytoolbox
    python make.py makehuman_cc0.npz .

The input is MakeHuman's CC0 assets packed into one file: base mesh, 163 bones with skin weights, sparse
shape targets; `dataset.toml` names the commit and the checksum. It takes about ten minutes on one core, a
split at a time. The bodies are a function of SEED and of the packages, whose versions `dataset.toml`
states.

The steps:

1. *Envelope.* The base mesh is closed morphologically by a ball of radius CLOSING and meshed anew with
   edges of 1 cm. What the data set's edges of 2.5 cm cannot show is gone: the cavities of mouth and eyes,
   the folds of the ears, the gaps between fingers and between toes. Nothing is left of the density of the
   base mesh.
2. *Identity and pose.* Shape targets and skin weights are carried over from the nearest points of the base
   mesh. An identity mixes shape targets; a pose turns the bones (linear blend skinning). A pose that drives
   more than the share BURIED of the vertices into another part of the body is drawn again.
3. *Remeshing* of each posed body by itself: Botsch & Kobbelt, A remeshing approach to multiresolution
   modeling, SGP 2004 (split, collapse, flip, smooth, project), to edges of one length.
4. *Labels* from the skin weights at the nearest vertex of the posed envelope: each bone belongs to one part.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import NamedTuple

import gpytoolbox
import numpy as np
from scipy.ndimage import distance_transform_edt, label
from scipy.sparse import coo_matrix, csr_matrix, diags, eye_array
from scipy.sparse.csgraph import connected_components, reverse_cuthill_mckee
from scipy.spatial import cKDTree
from skimage.measure import marching_cubes

SEED = 0
VERTICES = 3000  # of a body, nearly
CLOSING = 0.018  # m, radius of the ball that closes the base mesh
CELL = 0.004  # m, of the grid of distances
ENVELOPE_EDGE = 0.010  # m
BURIED = 0.03
SCALE = 5e-5  # m per step of the stored int16 coordinates
DECIMETRE = 0.1  # MakeHuman's unit

PARTS = ("head", "torso", "upper arm", "forearm", "hand", "thigh", "shin", "foot")
BONES_OF_PART = {
    0: (
        *("head", "neck", "jaw", "tongue", "eye", "orbi", "levator", "oculi"),
        *("temporalis", "risorius", "oris", "special"),
    ),
    2: ("upperarm",),
    3: ("lowerarm",),
    4: ("wrist", "finger", "metacarpal"),
    5: ("upperleg",),
    6: ("lowerleg",),
    7: ("foot", "toe"),
}  # by the beginning of the bone's name; all others are torso (1)

# Angles in degrees from MakeHuman's rest pose, where the arms hang 45 degrees below the horizontal.
# torso: bend forward, lean to the left, turn to the left.  arm: raise sideways, swing forward, roll about the
# upper arm, elbow.  leg: hip forward, spread sideways, knee.  One arm or leg stands for both sides.
REST, DOWN, LEG = (0, 0, 0, 0), (-30, 0, 0, 5), (0, 2, 3)
POSES: dict[str, dict[str, tuple[tuple[float, ...], ...]]] = {
    "train": {
        "rest": ((0, 0, 0), REST, LEG),
        "attention": ((0, 0, 0), DOWN, LEG),
        "arms sideways": ((0, 0, 0), (45, 0, 0, 5), LEG),
        "arms up": ((0, 0, 0), (110, 0, 0, 10), LEG),
        "arms forward": ((0, 0, 0), (-25, 80, 0, 10), LEG),
        "boxing": ((5, 0, 10), (-25, 45, 0, 95), (-20, 15, 0, 100), (10, 8, 15), (-5, 8, 15)),
        "one arm up": ((0, -5, 0), (115, 0, 0, 10), DOWN, LEG, LEG),
        "walk": ((0, 0, 5), (-28, -25, 0, 15), (-28, 30, 0, 25), (30, 2, 10), (-15, 2, 25)),
        "lunge": ((5, 0, 0), (-15, 10, 0, 30), (-15, -10, 0, 30), (65, 5, 70), (-20, 5, 30)),
        "knee up": ((0, 0, 0), (25, 0, 0, 20), (25, 0, 0, 20), (80, 5, 90), LEG),
        "sit": ((0, 0, 0), (-20, 30, 0, 40), (72, 12, 80)),
        "squat": ((25, 0, 0), (-20, 75, 0, 10), (78, 24, 95)),
        "bow": ((45, 0, 0), (-20, 45, 0, 10), (25, 4, 5)),
        "lean back": ((-30, 0, 0), (60, -10, 0, 15), (-5, 5, 15)),
        "twist": ((0, 0, 45), (40, 10, 0, 15), (0, 6, 5)),
        "lean aside": ((0, 28, 0), (-15, 0, 0, 10), (90, 0, 0, 20), (0, 8, 5), (0, 8, 5)),
        "star": ((0, 0, 0), (75, 0, 0, 5), (0, 28, 3)),
        "kick": ((-5, 0, 0), (0, 20, 0, 40), (20, -15, 0, 20), (70, 4, 10), (-3, 4, 8)),
        "sit on the floor": ((0, 0, 0), (-10, -25, 0, 10), (75, 12, 12)),
    },
    "val": {
        "wave": ((0, 5, 0), (35, 20, -60, 80), DOWN, LEG, LEG),
        "stairs": ((10, 0, 0), (-20, 45, 0, 60), (-20, -30, 0, 20), (55, 4, 65), (-10, 4, 5)),
        "look behind": ((15, -10, 40), (-5, 40, 0, 40), (20, -30, 0, 30), (10, 8, 20), (-10, 8, 10)),
    },
    "test": {
        "run": ((12, 0, 10), (-22, -45, 0, 75), (-22, 45, 0, 85), (55, 4, 70), (-25, 4, 65)),
        "kneel": ((5, 0, 0), (-20, 45, 0, 50), (-20, 15, 0, 20), (80, 8, 85), (0, 6, 95)),
        "throw": ((-10, -10, -30), (10, 60, 0, 20), (60, -25, 30, 70), (25, 10, 20), (-15, 12, 20)),
        "side lunge": ((15, 10, 0), (30, 30, 0, 15), (50, 0, 0, 15), (45, 30, 60), (5, 28, 3)),
        "climb": ((0, 10, 0), (120, 20, 0, 25), (40, 50, 0, 60), (70, 15, 80), (0, 5, 10)),
    },
}
PEOPLE = {"train": 20, "val": 5, "test": 10}
BODIES_PER_PERSON = {"train": 8, "val": 4, "test": 4}


class Character(NamedTuple):
    """A surface that can be shaped and posed; metres, x to its left, y up, z to its front."""

    vertices: np.ndarray  # [V, 3] in rest
    faces: np.ndarray  # [F, 3]
    skin: csr_matrix  # [V, bones], rows sum to 1
    from_base: csr_matrix  # [V, all base vertices]: carries displacements over
    base: np.ndarray  # [all base vertices, 3]
    bone_heads: csr_matrix  # [bones, all base vertices]
    bone_tails: csr_matrix
    bones: list[str]
    parents: np.ndarray  # [bones], -1 at the root
    targets: dict[str, tuple[np.ndarray, np.ndarray]]  # name: moved base vertices, displacements
    parts: csr_matrix  # [V, 8]: skin weight of each part


# ---- 1. the envelope ---------------------------------------------------------------------------------------


def read_character(file: Path) -> Character:
    packed = np.load(file)
    base = packed["v"].astype(np.float64) * DECIMETRE
    quads = packed["quads"][packed["quad_group"] == 0].astype(np.int64)
    faces = np.vstack([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    bones = [str(name) for name in packed["bones"]]
    skin = csr_matrix(
        (packed["w_val"].astype(np.float64), (packed["w_vert"], packed["w_bone"])), (len(base), len(bones))
    )
    pointers, scale = packed["target_ptr"], float(packed["target_scale"]) * DECIMETRE
    targets = {
        str(name): (packed["target_idx"][a:b].astype(np.int64), packed["target_delta"][a:b] * scale)
        for name, a, b in zip(packed["target_names"], pointers, pointers[1:], strict=False)
    }

    vertices, envelope_faces = envelope(base[: quads.max() + 1], faces)
    # Smoothed over a few centimetres, so that nothing jumps between two fingers that the envelope has joined.
    from_base = smoothing(envelope_faces, 10) @ nearest_point_weights(vertices, base, faces)
    skin = normalise_rows(from_base @ normalise_rows(skin))
    part_of_bone = [
        next((part for part, starts in BONES_OF_PART.items() if bone.startswith(starts)), 1) for bone in bones
    ]
    parts = csr_matrix((np.ones(len(bones)), (np.arange(len(bones)), part_of_bone)), (len(bones), len(PARTS)))
    return Character(
        vertices, envelope_faces, skin, from_base, base,
        mean_of(packed["head_idx"], packed["head_ptr"], len(base)),
        mean_of(packed["tail_idx"], packed["tail_ptr"], len(base)),
        bones, packed["parent"].astype(np.int64), targets, skin @ parts,
    )  # fmt: skip


def mean_of(index: np.ndarray, pointers: np.ndarray, n: int) -> csr_matrix:
    """Rows that average the listed vertices."""
    counts = np.diff(pointers)
    rows = np.repeat(np.arange(len(counts)), counts)
    return csr_matrix((1 / counts[rows], (rows, index)), (len(counts), n))


def normalise_rows(matrix: csr_matrix) -> csr_matrix:
    sums = np.asarray(matrix.sum(axis=1)).ravel()
    return (diags(1 / np.where(sums == 0, 1, sums)) @ matrix).tocsr()


def envelope(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The surface closed by a ball of radius CLOSING: outwards by the radius, then inwards again."""
    low = vertices.min(axis=0) - CLOSING - 8 * CELL
    shape = tuple(np.ceil((np.ptp(vertices, axis=0) + 2 * CLOSING + 16 * CELL) / CELL).astype(int))
    for offset in (CLOSING, -CLOSING):
        distances = signed_distances(vertices, faces, low, shape)
        vertices, faces = marching_cubes(distances, offset, spacing=(CELL,) * 3)[:2]
        vertices, faces = largest_component(vertices + low, faces)
    return remesh(vertices, faces, ENVELOPE_EDGE, iterations=10)


def signed_distances(
    vertices: np.ndarray, faces: np.ndarray, low: np.ndarray, shape: tuple[int, ...]
) -> np.ndarray:
    """On a grid, exact in a band of CLOSING + 2 CELL about the surface; beyond it only the sign counts."""
    band = CLOSING + 2 * CELL
    samples = gpytoolbox.random_points_on_mesh(vertices, faces, 400_000, rng=np.random.default_rng(SEED))
    empty = np.ones(shape, dtype=bool)
    empty[tuple(((samples - low) / CELL).astype(int).T)] = False
    near = distance_transform_edt(empty) * CELL < band + 2 * CELL
    regions = label(~near)[0]
    distances = np.where(regions == regions[0, 0, 0], band, -band)
    distances[near] = gpytoolbox.signed_distance(np.argwhere(near) * CELL + low, vertices, faces)[0]
    return distances


def largest_component(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    component = connected_components(adjacency(faces, len(vertices)), directed=False)[1]
    kept = component == np.bincount(component).argmax()
    return vertices[kept], (np.cumsum(kept) - 1)[faces[kept[faces[:, 0]]]]


def adjacency(faces: np.ndarray, n: int) -> csr_matrix:
    """Of a closed oriented surface: each half-edge gives one entry."""
    source, target = faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel()
    return coo_matrix((np.ones(len(source)), (source, target)), (n, n)).tocsr()


def smoothing(faces: np.ndarray, steps: int) -> csr_matrix:
    n = int(faces.max()) + 1
    once = (eye_array(n) + normalise_rows(adjacency(faces, n))).tocsr() / 2
    result = eye_array(n, format="csr")
    for _ in range(steps):
        result = once @ result
    return result


def nearest_point_weights(points: np.ndarray, vertices: np.ndarray, faces: np.ndarray) -> csr_matrix:
    """Rows interpolate at the surface's nearest point to each point: its barycentric coordinates."""
    _, face, nearest = gpytoolbox.signed_distance(points, vertices, faces)
    a, b, c = (vertices[faces[face, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    area = (normal**2).sum(axis=1)
    weights = np.stack(
        [(np.cross(q - p, nearest - p) * normal).sum(axis=1) / area for p, q in ((b, c), (c, a), (a, b))], 1
    )
    rows = np.repeat(np.arange(len(points)), 3)
    return normalise_rows(
        csr_matrix((weights.clip(min=0).ravel(), (rows, faces[face].ravel())), (len(points), len(vertices)))
    )


# ---- 2. identity and pose ----------------------------------------------------------------------------------


def draw_identity(rng: np.random.Generator) -> dict[str, float]:
    """Weights of shape targets: sex, age, ancestry, muscle, weight, height, and proportions of the limbs."""
    male = rng.choice([rng.uniform(0, 0.15), rng.uniform(0.85, 1)])
    old = rng.beta(1.5, 3)
    ancestry = dict(zip(("caucasian", "african", "asian"), rng.dirichlet([0.6, 0.6, 0.6]), strict=True))
    muscle, weight = triangle(rng.uniform(0.1, 0.9)), triangle(rng.uniform(0.1, 0.9))
    height = rng.uniform(-0.7, 0.7)
    extreme = "maxheight" if height > 0 else "minheight"
    weights: dict[str, float] = {}
    for sex, of_sex in (("female", 1 - male), ("male", male)):
        for age, of_age in (("young", 1 - old), ("old", old)):
            for name, share in ancestry.items():
                weights[f"macrodetails/{name}-{sex}-{age}"] = of_sex * of_age * share
            for m, of_m in muscle.items():
                for w, of_w in weight.items():
                    share, kind = of_sex * of_age * of_m * of_w, f"{sex}-{age}-{m}muscle-{w}weight"
                    weights[f"macrodetails/universal-{kind}"] = share
                    weights[f"macrodetails/height/{kind}-{extreme}"] = share * abs(height)
    for region in ("torso/torso", "hip/hip", "head/head"):
        for axis in ("depth", "horiz", "vert"):
            weights |= signed_target(f"{region}-scale-{axis}", rng.normal(0, 0.2))
    for limb in ("upperarm", "lowerarm", "upperleg", "lowerleg", "foot"):
        for axis in ("depth", "horiz", "vert"):
            amount = rng.normal(0, 0.2)
            weights |= signed_target(f"armslegs/l-{limb}-scale-{axis}", amount)
            weights |= signed_target(f"armslegs/r-{limb}-scale-{axis}", amount)
    return weights


def triangle(x: float) -> dict[str, float]:
    """Linear interpolation between the three steps of a scale from 0 to 1."""
    return {"min": max(0, 1 - 2 * x), "average": 1 - abs(2 * x - 1), "max": max(0, 2 * x - 1)}


def signed_target(name: str, amount: float) -> dict[str, float]:
    return {f"{name}-{'incr' if amount > 0 else 'decr'}": min(abs(amount), 0.6)}


def shaped(character: Character, weights: dict[str, float]) -> Character:
    displacement = np.zeros_like(character.base)
    for name, weight in weights.items():
        if weight > 0 and name in character.targets:
            moved, by = character.targets[name]
            displacement[moved] += weight * by
    return character._replace(
        vertices=character.vertices + character.from_base @ displacement, base=character.base + displacement
    )


def draw_angles(spec: tuple[tuple[float, ...], ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The angles of a pose with noise of 8 degrees, left and right exchanged in half of the draws."""
    torso, *limbs = spec
    if len(limbs) == 2:
        limbs = [limbs[0], limbs[0], limbs[1], limbs[1]]
    names = ("torso", "arm.L", "arm.R", "leg.L", "leg.R")
    angles = {
        name: np.asarray(values) + rng.normal(0, 8, len(values))
        for name, values in zip(names, (torso, *limbs), strict=True)
    }
    for limb in ("arm.L", "arm.R", "leg.L", "leg.R"):
        angles[limb][-1] = angles[limb][-1].clip(0, 130)  # elbows and knees bend one way
    for leg in ("leg.L", "leg.R"):
        angles[leg][1] = max(angles[leg][1], 0)  # legs do not cross
    angles["head"], angles["hands"], angles["feet"] = (rng.normal(0, s, 6) for s in (10, 8, 8))
    if rng.random() < 0.5:
        angles["torso"] *= (1, -1, -1)
        for limb in ("arm", "leg"):
            angles[f"{limb}.L"], angles[f"{limb}.R"] = angles[f"{limb}.R"], angles[f"{limb}.L"]
    return angles


def turn(axis: np.ndarray | str, degrees: float) -> np.ndarray:
    """Rotation matrix about x, y, z or a vector (Rodrigues)."""
    x, y, z = np.eye(3)["xyz".index(axis)] if isinstance(axis, str) else axis / np.linalg.norm(axis)
    k = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    t = np.radians(degrees)
    return np.eye(3) + np.sin(t) * k + (1 - np.cos(t)) * k @ k


def bone_turns(character: Character, angles: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """For each turned bone a rotation in rest axes about the bone's head, on top of its parent's motion."""
    along = character.bone_tails @ character.base - character.bone_heads @ character.base
    upper, lower = (along[character.bones.index(name)] for name in ("upperarm01.L", "lowerarm01.L"))
    mirror = np.diag([-1.0, 1.0, 1.0])
    turns: dict[str, np.ndarray] = {}
    for k, side in enumerate("LR"):
        # Said of the left side; the right side is its mirror image.
        raised, swing, roll, elbow = angles[f"arm.{side}"]
        hip, spread, knee = angles[f"leg.{side}"]
        shoulder = max(0.0, raised - 30) / 3  # a raised arm lifts the shoulder too
        hand, foot = angles["hands"][3 * k : 3 * k + 3], angles["feet"][k]
        left = {
            "clavicle": turn("z", shoulder),
            "upperarm01": turn("x", -swing) @ turn("z", raised - shoulder) @ turn(upper, roll),
            "lowerarm01": turn(np.cross(lower, [0, 0, 1]), elbow),
            "wrist": turn("x", hand[0]) @ turn("y", hand[1]) @ turn("z", hand[2]),
            "upperleg01": turn("x", -hip) @ turn("z", spread),
            "lowerleg01": turn("x", knee),
            "foot": turn("x", foot),
        }
        turns |= {f"{bone}.{side}": r if side == "L" else mirror @ r @ mirror for bone, r in left.items()}
    spine = ("spine05", "spine04", "spine03", "spine02", "spine01")
    for bones, (bend, lean, twist) in (
        (spine, angles["torso"] / len(spine)),
        (("neck02", "head"), angles["head"][:3]),
    ):
        turns |= dict.fromkeys(bones, turn("x", bend) @ turn("z", -lean) @ turn("y", twist))
    return turns


def posed(character: Character, turns: dict[str, np.ndarray]) -> np.ndarray:
    """Linear blend skinning."""
    heads = character.bone_heads @ character.base
    n = len(character.bones)
    rotations, shifts = np.tile(np.eye(3), (n, 1, 1)), np.zeros((n, 3))
    for k in parents_first(character.parents):
        own, parent = turns.get(character.bones[k], np.eye(3)), character.parents[k]
        if parent < 0:
            rotations[k], shifts[k] = own, heads[k] - own @ heads[k]
        else:
            rotations[k] = rotations[parent] @ own
            shifts[k] = rotations[parent] @ (heads[k] - own @ heads[k]) + shifts[parent]
    blended = (character.skin @ rotations.reshape(n, 9)).reshape(-1, 3, 3)
    return np.einsum("vij,vj->vi", blended, character.vertices) + character.skin @ shifts


def parents_first(parents: np.ndarray) -> np.ndarray:
    depth = np.zeros(len(parents), dtype=int)
    up = parents.copy()
    while (up >= 0).any():
        depth += up >= 0
        up = np.where(up >= 0, parents[up], -1)
    return np.argsort(depth, kind="stable")


def buried(vertices: np.ndarray, faces: np.ndarray) -> float:
    """The share of vertices which, moved 2 mm outwards, lie inside the body (generalised winding number)."""
    normals = gpytoolbox.per_vertex_normals(vertices, faces)
    probes = (vertices + 0.002 * normals)[:: max(1, len(vertices) // 3000)]
    return float((gpytoolbox.fast_winding_number(probes, vertices, faces) > 0.5).mean())


# ---- 3. and 4. remeshing and labels ------------------------------------------------------------------------


def remesh(
    vertices: np.ndarray, faces: np.ndarray, edge: float, iterations: int
) -> tuple[np.ndarray, np.ndarray]:
    v, f = gpytoolbox.remesh_botsch(
        vertices.astype(np.float64), faces.astype(np.int32), i=iterations, h=edge, project=True
    )
    return v, f.astype(np.int64)


def area(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def uniform(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # N vertices have 2N equilateral triangles of area sqrt(3)/4 edge^2. The remesher's edges come out 3 %
    # longer.
    edge = 0.97 * np.sqrt(area(vertices, faces) / VERTICES * 2 / np.sqrt(3))
    return in_neighbour_order(*remesh(vertices, faces, edge, iterations=20))


def in_neighbour_order(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Neighbours get near numbers: compresses better, and forgets the order of the remesher."""
    order = reverse_cuthill_mckee(adjacency(faces, len(vertices)), symmetric_mode=True)
    faces = np.argsort(order)[faces]
    first = faces.argmin(axis=1)[:, None]
    faces = np.take_along_axis(faces, (first + np.arange(3)) % 3, axis=1)
    return vertices[order], faces[np.lexsort(faces.T[::-1])]


def make_body(character: Character, pose: tuple[tuple[float, ...], ...], rng: np.random.Generator):
    """Vertices [N, 3], faces [F, 3] and labels [N]."""
    for _ in range(20):
        vertices = posed(character, bone_turns(character, draw_angles(pose, rng)))
        if buried(vertices, character.faces) <= BURIED:
            break
    else:
        raise RuntimeError("no draw of this pose is free enough of self-intersection; moderate its angles")
    new_vertices, new_faces = uniform(vertices, character.faces)
    return (
        new_vertices - new_vertices.mean(axis=0),
        new_faces,
        part_labels(character, vertices, new_vertices, new_faces),
    )


def part_labels(
    character: Character, posed_envelope: np.ndarray, vertices: np.ndarray, faces: np.ndarray
) -> np.ndarray:
    """The part at the nearest vertex of the posed envelope; normals at right angles count as 4 cm apart.

    So a thigh keeps its label under a hand that touches it. Islands, where surfaces run through each other,
    take their neighbours' label: head and torso are one region each, the other parts two.
    """

    def points(v: np.ndarray, f: np.ndarray) -> np.ndarray:
        return np.hstack([v, 0.028 * gpytoolbox.per_vertex_normals(v, f)])

    nearest = cKDTree(points(posed_envelope, character.faces)).query(points(vertices, faces))[1]
    part = character.parts.toarray().argmax(axis=1)[nearest]
    neighbours = adjacency(faces, len(vertices))
    known = np.zeros(len(vertices), dtype=bool)
    for p in range(len(PARTS)):
        members = np.flatnonzero(part == p)
        region = connected_components(neighbours[members][:, members], directed=False)[1]
        largest = np.argsort(-np.bincount(region))[: 1 if p < 2 else 2]
        known[members[np.isin(region, largest)]] = True
    while not known.all():
        votes = neighbours @ (np.eye(len(PARTS))[part] * known[:, None])
        reached = ~known & (votes.sum(axis=1) > 0)
        part[reached] = votes[reached].argmax(axis=1)
        known |= reached
    return part


def make_split(character: Character, split: str, file: Path) -> None:
    poses = list(POSES[split])
    first_person = sum(PEOPLE[name] for name in list(PEOPLE)[: list(PEOPLE).index(split)])
    vertices, faces, labels, people, families = [], [], [], [], []
    for person in range(first_person, first_person + PEOPLE[split]):
        shape = shaped(character, draw_identity(np.random.default_rng([SEED, person])))
        for _ in range(BODIES_PER_PERSON[split]):
            k = len(people)
            start = time.perf_counter()
            pose = poses[k % len(poses)]
            v, f, part = make_body(shape, POSES[split][pose], np.random.default_rng([SEED, person, k]))
            stored = np.round(v / SCALE)
            if abs(stored).max() > np.iinfo(np.int16).max:
                raise RuntimeError("a body is larger than int16 times SCALE")
            vertices.append(stored.astype(np.int16))
            faces.append(f.astype(np.uint16))
            labels.append(part.astype(np.uint8))
            people.append(person)
            families.append(pose)
            print(f"{split} {k}: person {person}, {pose}, {len(v)} vertices, "
                  f"{time.perf_counter() - start:.1f} s", flush=True)  # fmt: skip
        np.savez_compressed(
            file,
            vertices=np.concatenate(vertices),
            faces=np.concatenate(faces),
            labels=np.concatenate(labels),
            vertex_counts=np.array([len(v) for v in vertices], dtype=np.int32),
            face_counts=np.array([len(f) for f in faces], dtype=np.int32),
            identity=np.array(people, dtype=np.int32),
            pose=np.array(families),
            scale=np.array(SCALE),
        )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python make.py makehuman_cc0.npz OUTPUT_FOLDER [train] [val] [test]")
    body = read_character(Path(sys.argv[1]))
    for name in sys.argv[3:] or ("test", "val", "train"):
        make_split(body, name, Path(sys.argv[2]) / f"{name}.npz")
