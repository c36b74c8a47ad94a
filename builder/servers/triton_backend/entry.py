"""``/models/NAME/1/model.py``: where Triton's python backend looks for a model. The class itself lies with the server,
which has bytecode."""

from mbuild_triton.model import TritonPythonModel

__all__ = ["TritonPythonModel"]
