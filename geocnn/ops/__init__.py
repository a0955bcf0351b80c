"""The convolution over a stencil, the one hot loop, in its fast form.

| file | holds |
|---|---|
| `moments.py` | which moments of a field a kernel needs (`MomentBasis`) |
| `coefficients.py` | the numbers of an operator, per entry of a stencil |
| `tiles.py` | which sources and entries stand where in a stencil's operators (`Tiling`) |
| `operators.py` | how the operator of a stencil is made of the two, kept, or formed in ranges |
| `kept.py` | the bound on what is kept: `kept_bytes`, `forget` |
| `mixing.py` | the matrices of a layer's weights |
| `plan.py` | what a layer multiplies by what, made once (`GatherPlan`) |
| `adjoint.py` | the derivatives by the transposed stencil, in fewer operations |
| `terms.py` | the product and its derivatives, over an operator or its ranges |
| `ledger.py` | counts the bytes of tensors that are alive, and operations |
| `sizes.py`, `work.py`, `making.py` | what tilings, products and operators take, before they are made |
| `product.py` | the product as an operator of PyTorch, for compilers, exporters and transforms of functions |
| `gather.py` | the product: `gather` and `transported_mean` apply an operator; the input is checked |
| `blocks.py` | the dense products inside, and their derivatives |

`geocnn/nn/gauge_conv.py` has the formula and a readable reference of the same map.
"""

# exported programs that are loaded after `import geocnn.ops` find the operators
from geocnn.ops import product as product
