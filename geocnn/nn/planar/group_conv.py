"""Group convolutions on pixel grids: rotations and flips next to the translations.

A regular field holds one image for each element of C_N or D_N: x [B, C, |G|, H, W], elements in the order of
`Group.elements()`. With x the column and y the row of a pixel, g moves a field by (g f)(v) = f(g⁻¹v), and the
images of a regular field by (g f)_h(v) = f_{g⁻¹h}(g⁻¹v).

    lifting     y_g(p) = Σ_v κ(g⁻¹v) x(p + v)               Cohen & Welling 2016, eq. 10
    group       y_g(p) = Σ_h Σ_v κ_{g⁻¹h}(g⁻¹v) x_h(p + v)  the same, eq. 11

Groups differ only in the kernels' basis, which is turned by every element: single taps where the group maps
pixels to pixels (rotations by multiples of 90°), and samples of functions of the plane elsewhere.
"""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float, Float64, Int64, Num
from torch import Tensor, nn

from geocnn.errors import GeometryError, GroupError
from geocnn.groups import TRIVIAL, Group, Irrep, compose, inverse, product_table, steerable_basis
from geocnn.groups import group as named_group
from geocnn.groups.radial import Cosine
from geocnn.nn.planar.full_conv import check_padding, padded_conv


def maps_pixels(group: Group) -> bool:
    """Return whether every element takes a pixel grid to itself."""
    return group.rotations in (1, 2, 4)


def moved(
    x: Num[Tensor, "*batch h w"], group: Group | str, element: int, fibre: bool = False
) -> Num[Tensor, "*batch h2 w2"]:
    """Move an image, or with `fibre` a regular field [..., |G|, H, W], by one element of a group.

    Raises GroupError for an element that does not map pixels to pixels.

    >>> moved(torch.tensor([[1, 2], [3, 4]]), "C4", 1).tolist()  # x, to the right, becomes y, downwards
    [[3, 1], [4, 2]]
    """
    g = _finite(group)
    angle, flip = g.elements()
    quarters = float(angle[element]) / (torch.pi / 2)
    if abs(quarters - round(quarters)) > 1e-9:
        raise GroupError(
            f"element {element} of {g} turns by {90 * quarters:g}°, which does not map pixels to pixels; "
            "quarter turns do"
        )
    if fibre:
        # the image of h comes from that of g⁻¹h
        table = product_table(g)
        x = x.index_select(-3, table[element].argsort().to(x.device))
    if flip is not None and bool(flip[element]):
        x = x.flip(-2)
    return x.rot90(round(quarters), (-1, -2))


def turned_basis(group: Group, kernel_size: int) -> Float64[Tensor, "g b {kernel_size}**2"]:
    """Return the basis kernels B_b(g⁻¹v) at the taps' places v, row by row, each of norm 1."""
    reach = (kernel_size - 1) / 2
    axis = torch.arange(kernel_size, dtype=torch.float64) - reach
    y, x = torch.meshgrid(axis, axis, indexing="ij")
    r, theta = torch.hypot(x, y).flatten(), torch.atan2(y, x).flatten()
    angle, flip = inverse(group.elements())
    back, _ = compose((angle[:, None], None if flip is None else flip[:, None]), (theta, None))
    if maps_pixels(group):
        column, row = ((r * t + reach).round().long() for t in (back.cos(), back.sin()))
        basis = nn.functional.one_hot(row * kernel_size + column, kernel_size**2).mT
    else:
        basis = _disc_functions(r, back, int(reach)).mT
        basis = basis / basis.square().sum(-1).mean(0).sqrt()[:, None]
    return basis.to(torch.float64)


def _disc_functions(
    r: Float64[Tensor, " p"], theta: Float64[Tensor, "g p"], reach: int
) -> Float64[Tensor, "g p b"]:
    """Return rings of integer radius times angular harmonics at p places.

    The harmonics end at frequency 2. Under its own quarter turns the grid confuses ℓ with ℓ − 4, so frequency
    3 would respond to a gradient and 4 to a constant: errors of lower order than those of 2 and −2.
    """
    t = r / (reach + 1)
    functions = [Cosine(reach + 1)(t, 0).expand(*theta.shape, -1)]
    harmonics = steerable_basis(Irrep(0), Irrep(0), TRIVIAL, 2)
    values = harmonics(theta)[..., 0, 0]
    for b, frequency in enumerate(harmonics.frequency.tolist()):
        # a kernel of one pixel has no direction
        if frequency and reach:
            functions.append(values[..., b, None] * Cosine(reach)(t, frequency))
    return torch.cat(functions, -1)


class _TurnedConv(nn.Module):
    """A convolution whose kernels are weighted sums of a basis [..., k²] around their central pixel."""

    basis: Tensor

    def __init__(self, kernel_size: int, padding: str, padding_mode: str):
        super().__init__()
        if kernel_size < 1 or kernel_size % 2 == 0:
            raise GeometryError(
                f"kernels turn about their central pixel: kernel_size must be odd, got {kernel_size}"
            )
        if not isinstance(padding, str):
            raise GeometryError(f"padding must be 'full', 'same' or 'valid', got {padding!r}")
        check_padding(padding, padding_mode)
        self.kernel_size, self.padding, self.padding_mode = kernel_size, padding, padding_mode

    def _learn(self, basis: Tensor, channels: tuple[int, ...], bias: bool) -> None:
        """Make weights [out, in, …, b] that keep the variance of input that is independent per pixel.

        Basis kernels have norm 1.
        """
        # float64 until the module is cast as a whole
        self.register_buffer("basis", basis, persistent=False)
        self.weight = nn.Parameter(torch.empty(*channels, basis.shape[-2]))
        self.bias = nn.Parameter(torch.zeros(channels[0])) if bias else None
        nn.init.normal_(self.weight, std=self.weight[0].numel() ** -0.5)

    @abstractmethod
    def taps(self) -> Float[Tensor, "c_out c_in k k"]:
        """Return the kernels in the layout of `torch.nn.Conv2d`."""

    def extra_repr(self) -> str:
        group = getattr(self, "group", "isotropic")
        size = f"{self.weight.shape[1]} -> {self.weight.shape[0]}, kernel_size={self.kernel_size}"
        return f"{group}, {size}, padding={self.padding!r}, padding_mode={self.padding_mode!r}"


class _ToRegular(_TurnedConv):
    """A convolution to regular fields; every element turns its basis, [|G|, b, k²]."""

    def __init__(
        self,
        group: Group | str,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: str = "same",
        padding_mode: str = "zeros",
        bias: bool = True,
    ):
        super().__init__(kernel_size, padding, padding_mode)
        self.group = _finite(group)
        self._learn(turned_basis(self.group, kernel_size), (out_channels, in_channels), bias)

    def _regular(self, x: Tensor) -> Tensor:
        """Convolve images [B, C, H, W] to regular fields."""
        order = len(self.basis)
        shared = None if self.bias is None else self.bias.repeat_interleave(order)
        y = padded_conv(x, self.taps(), shared, self.padding, self.padding_mode)
        return y.unflatten(1, (-1, order))


class LiftingConv(_ToRegular):
    """Convolve images to regular fields of C_N or D_N.

        x [B, C, H, W]  ->  [B, C', |G|, H', W']

    padding is "same", "valid" or "full", and padding_mode "zeros", "circular" or "reflect", as in
    `FullConv2d`. The layer is exactly equivariant for C1, C2, C4, D1, D2 and D4 at every image size, and for
    other groups as far as the grid resolves the image.

    Raises:
        GroupError: the group is not finite.
        GeometryError: kernel_size is even (it has no central pixel), the padding is unknown, or the input has
            another shape.

    >>> LiftingConv("C8", 1, 4, kernel_size=5)(torch.randn(2, 1, 16, 16)).shape
    torch.Size([2, 4, 8, 16, 16])
    """

    def taps(self) -> Float[Tensor, "c_out c_in k k"]:
        """Return the kernels turned by every element, c_out = C' · |G|."""
        k = self.kernel_size
        basis = self.basis.to(self.weight.dtype)
        return torch.einsum("oib,gbp->ogip", self.weight, basis).flatten(0, 1).unflatten(-1, (k, k))

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x, self.weight.shape[1:2])
        return self._regular(x)


class GroupConv(_ToRegular):
    """Convolve regular fields of C_N or D_N to regular fields, with arguments and errors of `LiftingConv`.

        x [B, C, |G|, H, W]  ->  [B, C', |G|, H', W']

    >>> GroupConv("D4", 4, 8, kernel_size=3, padding="full")(torch.randn(2, 4, 8, 9, 9)).shape
    torch.Size([2, 8, 8, 11, 11])
    """

    pair: Tensor

    def _learn(self, basis: Tensor, channels: tuple[int, ...], bias: bool) -> None:
        super()._learn(basis, (*channels, len(basis)), bias)
        self.register_buffer("pair", _relative(self.group), persistent=False)

    def taps(self) -> Float[Tensor, "c_out c_in k k"]:
        """Return the kernels turned by every element, c_out = C' · |G| and c_in = C · |G|."""
        out_channels, in_channels, order, _ = self.weight.shape
        k = self.kernel_size
        basis = self.basis.to(self.weight.dtype)
        every = torch.einsum("oinb,gbp->oingp", self.weight, basis).flatten(2, 3)
        # among the κ_n turned by g, the pair (g, h) takes n = g⁻¹h
        taps = every.index_select(2, self.pair).unflatten(2, (order, order))
        return taps.movedim(2, 1).reshape(out_channels * order, in_channels * order, k, k)

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x, self.weight.shape[1:3])
        return self._regular(x.flatten(1, 2))


class GroupPool(nn.Module):
    """Take the largest value over the group: regular fields [B, C, |G|, H, W] to images [B, C, H, W].

    The images turn with the input. If pixels are pooled too, the result is invariant.

    >>> GroupPool()(torch.randn(2, 3, 4, 9, 9)).shape
    torch.Size([2, 3, 9, 9])
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(-3)


class IsotropicConv2d(_TurnedConv):
    """Correlate images with kernels a(r), which have (kernel_size + 1) / 2 rings.

        x [B, C, H, W]  ->  [B, C', H', W']

    These are the kernels that commute with all rotations and flips (`geocnn.groups.schur`). The layer is
    exactly equivariant under D4. Arguments and errors are those of `LiftingConv`.

    >>> IsotropicConv2d(1, 4, kernel_size=5)(torch.randn(2, 1, 16, 16)).shape
    torch.Size([2, 4, 16, 16])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        padding: str = "same",
        padding_mode: str = "zeros",
        bias: bool = True,
    ):
        super().__init__(kernel_size, padding, padding_mode)
        self._learn(isotropic_basis(kernel_size), (out_channels, in_channels), bias)

    def taps(self) -> Float[Tensor, "c_out c_in k k"]:
        """Return the kernels."""
        k = self.kernel_size
        basis = self.basis.to(self.weight.dtype)
        return torch.einsum("oib,bp->oip", self.weight, basis).unflatten(-1, (k, k))

    def forward(self, x: Tensor) -> Tensor:
        _check_images(x, self.weight.shape[1:2])
        return padded_conv(x, self.taps(), self.bias, self.padding, self.padding_mode)


def isotropic_basis(kernel_size: int) -> Float64[Tensor, "rings {kernel_size}**2"]:
    """Return the rings of radius 0 … k // 2 at the taps' places, each of norm 1."""
    reach = kernel_size // 2
    axis = torch.arange(-reach, reach + 1, dtype=torch.float64)
    r = torch.hypot(axis[:, None], axis).flatten()
    rings = Cosine(reach + 1)(r / (reach + 1), 0).mT
    return rings / rings.norm(dim=1, keepdim=True)


def _relative(group: Group) -> Int64[Tensor, " pairs"]:
    """Return for each pair (g, h) the number of the pair (n = g⁻¹h, g)."""
    table = product_table(group)
    return (table.argsort(1) * len(table) + torch.arange(len(table))[:, None]).flatten()


def _finite(group: Group | str) -> Group:
    g = named_group(group)
    if not g.is_finite:
        raise GroupError(f"a regular field of {g} needs infinitely many images; use a finite group, as C8")
    return g


def _check_images(x: Tensor, channels: torch.Size) -> None:
    if x.ndim != 3 + len(channels) or x.shape[1:-2] != channels:
        shape = ", ".join(map(str, channels))
        raise GeometryError(f"the layer takes [B, {shape}, rows, columns], got {list(x.shape)}")
