"""Makes this example: `uv run train.py` (any machine, seconds)."""

# /// script
# requires-python = ">=3.11"
# dependencies = ["flax==0.12.8", "jax==0.10.2", "numpy==2.4.6", "optax==0.2.8", "scikit-learn==1.9.1"]
# ///

from pathlib import Path
from typing import Any

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
from net import Digits
from sklearn.datasets import load_digits

HERE = Path(__file__).parent
digits = load_digits()
images, labels = jnp.asarray(digits.images[..., None] / 16, jnp.float32), jnp.asarray(digits.target)
net, optimiser = Digits(), optax.adam(0.02)


def loss(params: Any) -> jax.Array:
    scores = net.apply(params, images)["scores"]
    return -jnp.log(scores[jnp.arange(len(labels)), labels] + 1e-9).mean()


@jax.jit
def step(params: Any, state: Any) -> tuple[Any, Any]:
    updates, state = optimiser.update(jax.grad(loss)(params), state)
    return optax.apply_updates(params, updates), state


params = net.init(jax.random.key(0), images[:1])
state = optimiser.init(params)
for _ in range(60):
    params, state = step(params, state)
(HERE / "params.msgpack").write_bytes(flax.serialization.msgpack_serialize(flax.serialization.to_state_dict(params)))
(HERE / "golden").mkdir(exist_ok=True)
np.savez(HERE / "golden" / "digits.npz", **{"input:image": np.asarray(images[:5])})
