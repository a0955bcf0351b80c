"""Human bodies in many poses, as uniform triangle meshes with a part label at each vertex.

`datasets/body_parts` describes their source and how they were made. No person and no family of poses
(running, kneeling, ...) of one split occurs in another; within a family every body has its own random angles.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from geocnn.data.store import dataset_file
from geocnn.errors import DatasetError

PARTS = ("head", "torso", "upper arm", "forearm", "hand", "thigh", "shin", "foot")
"""The names of the labels 0 to 7; left and right share a label, the neck belongs to the head."""

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Body:
    """One posed person: a closed surface of genus 0, nearly equal edges, counter-clockwise from outside.

    Attributes:
        vertices: positions in metres, mean zero; v is about 3,000. The person's left, up and front are +x, +y
            and +z, as far as the pose does not turn the hips.
        faces: vertex ids, f = 2 v - 4.
        labels: indices into PARTS.
        identity: the person's number, over all splits.
        pose: the family of poses that the body belongs to.
    """

    vertices: Float64[Tensor, "v 3"]
    faces: Int64[Tensor, "f 3"]
    labels: Int64[Tensor, " v"]
    identity: int
    pose: str


def bodies(split: str) -> list[Body]:
    """Return the bodies of a split: "train" (160), "val" (20) or "test" (40).

    Raises:
        DatasetError: unknown split, or a data file is missing or damaged.

    >>> body = bodies("val")[0]
    >>> len(body.faces) == 2 * len(body.vertices) - 4
    True
    >>> PARTS[body.labels[body.vertices[:, 1].argmin()]]
    'foot'
    """
    if split not in SPLITS:
        raise DatasetError(f"there is no split '{split}'; choose one of {', '.join(SPLITS)}")
    with np.load(dataset_file("body_parts", f"{split}.npz"), allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    vertex_counts, face_counts = arrays["vertex_counts"].tolist(), arrays["face_counts"].tolist()
    # the coordinates are whole multiples of `scale` metres
    vertices = torch.from_numpy(arrays["vertices"].astype(np.float64) * arrays["scale"]).split(vertex_counts)
    labels = torch.from_numpy(arrays["labels"].astype(np.int64)).split(vertex_counts)
    faces = torch.from_numpy(arrays["faces"].astype(np.int64)).split(face_counts)
    people, poses = arrays["identity"].tolist(), arrays["pose"].tolist()
    return [Body(*fields) for fields in zip(vertices, faces, labels, people, poses, strict=True)]
