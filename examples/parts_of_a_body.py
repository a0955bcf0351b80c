"""Label the vertices of triangle meshes: geometry, batches of unlike meshes by PyG, training, in plain torch.

Three bodies to learn from and one to be tested on, in another pose; `geocnn train body-parts` does it in
earnest. Geometry is computed once and kept in the cache (GEOCNN_CACHE says where).

python examples/parts_of_a_body.py      prints the share of the area right (half a minute)
"""

import torch
from torch.nn.functional import cross_entropy
from torch_geometric.loader import DataLoader

from geocnn.data.bodies import PARTS, bodies
from geocnn.data.surface_data import prepare
from geocnn.geometry import mesh
from geocnn.nn import SurfaceUNet

people = bodies("val")[:4]
surfaces = prepare(
    [mesh(body.vertices, body.faces) for body in people],
    [body.labels for body in people],
    levels=3,
    radius=0.06,  # metres, about two and a half edges
    kind="log",
)
learnt, tested = surfaces[:3], surfaces[3]

torch.manual_seed(0)
model = SurfaceUNet(
    "11x0 + 5x1 + 1x2", ["8x0 + 4x1", "16x0 + 8x1", "32x0 + 16x1"], f"{len(PARTS)}x0", rings=2
)
optimiser = torch.optim.AdamW(model.parameters(), lr=0.02)


def right(surface):
    """The share of the area that is labelled right."""
    found = model.eval()(surface.x, surface.hierarchy).argmax(-1)
    return float(surface.areas @ (found == surface.y).float() / surface.areas.sum())


for epoch in range(4):
    model.train()
    for batch in DataLoader(learnt, batch_size=3, shuffle=True):
        for _ in range(5):  # on the same batch, whose operators are built once
            loss = cross_entropy(model(batch.x, batch.hierarchy), batch.y, reduction="none")
            loss = loss @ batch.areas / batch.areas.sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    print(f"epoch {epoch}: loss {loss.item():.3f}, test body {100 * right(tested):.1f} % of the area right")
