"""Objects in a user's own Python file, as FILE.py:OBJECT names them. What the file prints goes to standard error."""

from __future__ import annotations

import importlib.util
import inspect
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

from trainphase.cli.parse import shown
from trainphase.errors import RequestError, TrainphaseError


def loaded(reference: str, option: str, what: str) -> Any:
    """The object that FILE.py:OBJECT names; a function is called for it. The file is run as a program of the user's.

    option : what the sentence of a refusal begins with; what : an object's name for the example in it. Raises RequestError
    where nothing is named, TrainphaseError where the user's code fails.
    """
    name, colon, attribute = reference.rpartition(":")
    path = Path(name).expanduser()
    if not colon or not attribute or path.suffix != ".py":
        raise RequestError(f"{option} {shown(reference)} names no object; give FILE.py:OBJECT, such as net.py:{what}")
    if not path.is_file():
        raise RequestError(f"{option} {shown(reference)}: there is no file {shown(name)}; give the one with the {what}")
    module = _run(path, option)
    if not hasattr(module, attribute):
        raise RequestError(f"{option} {shown(reference)}: {shown(name)} has no {shown(attribute)}; name what it defines")
    found = getattr(module, attribute)
    if inspect.isfunction(found) or inspect.isclass(found):
        try:
            with redirect_stdout(sys.stderr):
                return found()
        except RequestError:
            raise
        except Exception as why:
            raise TrainphaseError(f"{option} {shown(reference)}: calling it failed ({_told(why)}); mend it") from why
    return found


def _run(path: Path, option: str) -> Any:
    """The module of a user's file, which may import what stands beside it."""
    spec = importlib.util.spec_from_file_location("trainphase_user_model", path.resolve())
    assert spec is not None and spec.loader is not None  # so it is for every name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    sys.path.insert(0, str(path.resolve().parent))
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except RequestError:
        raise  # a sentence of this package, which needs no other around it
    except Exception as why:
        raise TrainphaseError(f"{option} {shown(str(path))} could not be run ({_told(why)}); mend it") from why
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _told(why: Exception) -> str:
    return shown(f"{type(why).__name__}: {' '.join(str(why).split())}", 200)
