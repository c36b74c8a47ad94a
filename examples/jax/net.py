"""The network that computes with params.msgpack."""

import flax.linen as nn
import jax


class Digits(nn.Module):
    width: int = 8

    @nn.compact
    def __call__(self, image: jax.Array) -> dict[str, jax.Array]:
        hidden = nn.relu(nn.Conv(self.width, (3, 3))(image))
        hidden = nn.max_pool(hidden, window_shape=(2, 2), strides=(2, 2))
        return {"scores": nn.softmax(nn.Dense(10)(hidden.reshape((hidden.shape[0], -1))))}
