"""What the tests ask about JAX: ``python make_jax_models.py DIRECTORY``, in the converter's environment."""

import sys
from pathlib import Path

import flax.serialization
import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

NET = """
import flax.linen as nn
import jax
import jax.numpy as jnp
from flax import nnx


class Net(nn.Module):
    width: int = 4

    @nn.compact
    def __call__(self, image):
        hidden = nn.relu(nn.Conv(self.width, (3, 3))(image))
        hidden = nn.max_pool(hidden, window_shape=(2, 2), strides=(2, 2))
        hidden = nn.BatchNorm(use_running_average=True)(hidden)
        return {"scores": nn.softmax(nn.Dense(10)(hidden.reshape((hidden.shape[0], -1))))}


class Layers(nnx.Module):
    def __init__(self, hidden, rngs):
        self.layers = nnx.List([nnx.Linear(4, hidden, rngs=rngs), nnx.Linear(hidden, 3, rngs=rngs)])
        self.drop = nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, rows):
        return self.layers[1](self.drop(jax.nn.gelu(self.layers[0](rows))))


def embed(params, ids, mask, scale=1.0):
    rows = jnp.take(params["words"]["table"], ids, axis=0) * mask[..., None]
    return rows.sum(axis=1) * scale, ids.sum(axis=1)
"""


def main(root: Path) -> None:
    code: dict[str, object] = {}
    exec(NET, code)
    linen = code["Net"]().init(jax.random.key(0), jnp.zeros((1, 8, 8, 1)))  # type: ignore[operator]
    state = flax.serialization.to_state_dict(linen)
    image = "image: {datatype: FP32, shape: [batch, 8, 8, 1]}"
    (place(root, "linen", "{class: Net, arguments: {width: 4}, file: net.py}", image) / "p.msgpack").write_bytes(
        flax.serialization.msgpack_serialize(state)
    )
    (place(root, "misfit", "{class: Net, arguments: {width: 5}, file: net.py}", image) / "p.msgpack").write_bytes(
        flax.serialization.msgpack_serialize(state)
    )
    layers = nnx.to_pure_dict(nnx.state(code["Layers"](8, nnx.Rngs(0)), nnx.Param))  # type: ignore[operator]
    flat = {".".join(map(str, path)): np.asarray(x) for path, x in flax.traverse_util.flatten_dict(layers).items()}
    rows = "rows: {datatype: FP32, shape: [batch, 4]}"
    directory = place(root, "nnx", "{class: Layers, arguments: {hidden: 8}, file: net.py}", rows)
    safetensors.numpy.save_file(flat, directory / "p.safetensors")
    words = "ids: {datatype: INT32, shape: [batch, words]}\n  mask: {datatype: FP32, shape: [batch, words]}"
    directory = place(root, "function", "{class: embed, arguments: {scale: 2.0}, file: net.py}", words)
    np.savez(directory / "p.npz", **{"words/table": np.random.default_rng(0).random((16, 4)).astype(np.float32)})
    program = jax.export.export(jax.jit(lambda x: x + 1))(jax.ShapeDtypeStruct((2,), jnp.float32))
    (root / "exported").mkdir()
    (root / "exported" / "model.bin").write_bytes(program.serialize())


def place(root: Path, name: str, module: str, inputs: str) -> Path:
    directory = root / name
    directory.mkdir()
    (directory / "net.py").write_text(NET)
    (directory / "model.yaml").write_text(f"format: jax\nmodule: {module}\ninputs:\n  {inputs}\n")
    return directory


if __name__ == "__main__":
    main(Path(sys.argv[1]))
