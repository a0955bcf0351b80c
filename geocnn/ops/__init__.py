"""The convolution over a stencil, the one hot loop, in its fast form.

| file | holds |
|---|---|
| `moments.py` | which moments of a field a kernel needs (`MomentBasis`) |
| `operators.py` | how the operator of a stencil is made: coefficients, tiles, size limits |
| `gather.py` | the product: `gather` and `transported_mean` apply an operator; the input is checked |
| `blocks.py` | the dense products inside, as custom operators of PyTorch with their derivatives |

`geocnn/nn/gauge_conv.py` has the formula and a readable reference of the same map.
"""
