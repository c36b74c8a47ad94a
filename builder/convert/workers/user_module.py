"""The code that ``module`` of model.yaml names. Stands beside the workers and is imported by them: the user's file is
imported in a worker's process and nowhere else."""

import importlib.util
import sys
from pathlib import Path
from typing import Any

from worker_io import Failure


def member(spec: dict[str, Any], directory: str, libraries: str) -> Any:
    """The class or function, not called yet; ``libraries`` are what the file may import, for messages."""
    path = Path(directory) / spec["file"]
    sys.path.append(str(path.parent))
    found = importlib.util.spec_from_file_location("mbuild_user_module", path)
    assert found is not None and found.loader is not None
    code = importlib.util.module_from_spec(found)
    sys.modules[found.name] = code
    try:
        found.loader.exec_module(code)
        return getattr(code, spec["class"])
    except ModuleNotFoundError as error:
        told = f"{spec['file']} imports {error.name}, which the converter does not have; it has {libraries}"
        raise Failure("wrong-module", told) from error
    except Exception as error:
        told = f"{spec['file']}: {type(error).__name__}: {str(error)[:600]}"
        raise Failure("wrong-module", told) from error
