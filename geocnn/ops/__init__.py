"""The convolution over a stencil, the one hot loop, in its fast form.

| file | holds |
|---|---|
| `moments.py` | which moments of a field a kernel needs (`MomentBasis`) |
| `coefficients.py` | the numbers of an operator, per entry of a stencil |
| `tiles.py` | which sources and entries stand where in a stencil's operators (`Tiling`) |
| `operators.py` | how the operator of a stencil is made of the two, kept, or formed in ranges |
| `kept.py` | the bound on what is kept: `kept_bytes`, `forget` |
| `gather.py` | the product: `gather` and `transported_mean` apply an operator; the input is checked |
| `blocks.py` | the dense products inside, as custom operators of PyTorch with their derivatives |

`geocnn/nn/gauge_conv.py` has the formula and a readable reference of the same map.
"""
