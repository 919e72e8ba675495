"""Objects in a user's own Python file, as FILE.py:OBJECT names them. What the file prints goes to standard error."""

from __future__ import annotations

import difflib
import functools
import hashlib
import importlib.util
import inspect
import sys
from contextlib import redirect_stdout
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from trainphase.catalog import Param, SystemInfo
from trainphase.cli import environment
from trainphase.cli.parse import shown
from trainphase.errors import RequestError, TrainphaseError

# What a user's file is called as a module.
MODULE = "trainphase_user_model"


def loaded(reference: str, option: str, what: str) -> Any:
    """The object that FILE.py:OBJECT names; a function is called for it. The file is run as a program of the user's.

    option : what the sentence of a refusal begins with; what : an object's name for the example in it. Raises RequestError
    where nothing is named, TrainphaseError where the user's code fails.
    """
    found = _named(reference, option, what)
    if inspect.isfunction(found) or inspect.isclass(found):
        try:
            with redirect_stdout(sys.stderr):
                return found()
        except RequestError:
            raise
        except (Exception, SystemExit) as why:
            raise TrainphaseError(f"{option} {shown(reference)}: calling it failed ({_told(why)}); mend it") from why
    return found


@dataclass(frozen=True)
class FromFile:
    """A factory of systems out of a user's file, which a worker process makes anew by running the file itself.

    So the file must be where it is on every machine that computes; ``sha256`` says that it is the same.
    """

    path: str
    attribute: str
    sha256: str

    @property
    def __name__(self) -> str:  # how results call the system: no path of a machine
        return f"{Path(self.path).name}:{self.attribute}"

    def found(self) -> Any:
        """The object itself; TrainphaseError where the file is not the one that was meant."""
        return _loaded_once(self.path, self.attribute, self.sha256)

    def __call__(self, **params: Any) -> Any:
        """The system with these parameters."""
        made = self.found()
        if inspect.isfunction(made) or inspect.isclass(made):
            return made(**params)
        from trainphase.request import replaced

        return replaced(made, **params)


@functools.lru_cache(maxsize=4)
def _loaded_once(path: str, attribute: str, sha256: str) -> Any:
    try:
        same = hashlib.sha256(Path(path).read_bytes()).hexdigest() == sha256
    except OSError as why:
        raise TrainphaseError(f"a worker cannot read {shown(path)} ({why.strerror}); put it on a disk that all share") from why
    if not same:
        raise TrainphaseError(f"{shown(path)} has changed since the run began; give the command again")
    return _named(f"{path}:{attribute}", "the system", "Model")


@dataclass(frozen=True)
class FileSystem(SystemInfo):
    """A user's own system as commands see it."""

    made: FromFile | None = None

    @property
    def reference(self) -> Any:
        """The factory, in place of a name."""
        return self.made


def system(reference: str) -> SystemInfo:
    """The system that FILE.py:NAME names: a subclass of Map or Flow, one of their instances, or a function that makes one.

    Its parameters are its fields, or the arguments of the function. RequestError where it is no system.
    """
    environment.prepare_jax()  # the file brings JAX in, and flags are read once
    path, attribute = _split(reference, "the system", "Model")
    full = path.resolve()
    made = FromFile(str(full), attribute, hashlib.sha256(full.read_bytes()).hexdigest())
    found = made.found()
    given = _defaults(found).items()  # which refuses what is no system
    whole = _whole_numbers(found)
    params = tuple(_param(key, default, key in whole) for key, default in given if not isinstance(default, bool))
    if not params:
        raise RequestError(f"the system {shown(reference)} has no parameters; give its class fields, such as rate: float")
    words = getattr(found, "vocabularies", None) or ("training", "edge")
    return FileSystem(made.__name__, inspect.getdoc(found) or "a system of your own", "", params, (), tuple(words), made=made)


def _defaults(found: Any) -> dict[str, Any]:
    """Parameter -> default, None where there is none."""
    if is_dataclass(found) and inspect.isclass(found):
        return {f.name: None if f.default is MISSING else f.default for f in fields(found) if f.init}
    if is_dataclass(found):
        from trainphase.system import System

        if not isinstance(found, System):
            kind, remedy = type(found).__name__, "name a Map or Flow; of a Problem p, what trainphase.descent(p) makes"
            raise RequestError(f"a {kind} is no system; {remedy}")
        values = {f.name: getattr(found, f.name) for f in fields(found)}
        return {k: float(v) for k, v in values.items() if getattr(v, "shape", None) == () or isinstance(v, int | float)}
    if not callable(found):
        raise RequestError(f"{shown(repr(found))} is no system; name a subclass of trainphase.Map or Flow, or a function")
    plain = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    known = [p for p in inspect.signature(found).parameters.values() if p.kind in plain]
    return {p.name: None if p.default is inspect.Parameter.empty else p.default for p in known}


def _whole_numbers(found: Any) -> set[str]:
    """The parameters that are annotated as int."""
    if is_dataclass(found):
        types = {f.name: f.type for f in fields(found)}
    else:
        types = {p.name: p.annotation for p in inspect.signature(found).parameters.values()}
    return {name for name, kind in types.items() if kind in (int, "int")}


def _param(name: str, default: Any, whole: bool = False) -> Param:
    kind = "text" if isinstance(default, str) else "int" if whole else "float"
    return Param(name, kind, default, "of your own system")


def _split(reference: str, option: str, what: str) -> tuple[Path, str]:
    """File and name of FILE.py:OBJECT; RequestError when there is no such file."""
    name, colon, attribute = reference.rpartition(":")
    path = Path(name).expanduser()
    if not colon or not attribute or path.suffix != ".py":
        raise RequestError(f"{option} {shown(reference)} names no object; give FILE.py:OBJECT, such as net.py:{what}")
    if not path.is_file():
        raise RequestError(f"{option} {shown(reference)}: there is no file {shown(name)}; give the one with the {what}")
    return path, attribute


def _named(reference: str, option: str, what: str) -> Any:
    """The object that FILE.py:OBJECT names, as it is."""
    path, attribute = _split(reference, option, what)
    module = _run(path, option)
    if not hasattr(module, attribute):
        own = [name for name in vars(module) if not name.startswith("_")]
        near = difflib.get_close_matches(attribute, own, 1, 0.5)
        guarded = ", outside of if __name__ == '__main__'" if "__main__" in path.read_text("utf-8", "replace") else ""
        hint = f"the nearest is {near[0]}" if near else f"name what it defines{guarded}"
        raise RequestError(f"{option} {shown(reference)}: {shown(str(path))} has no {shown(attribute)}; {hint}")
    return getattr(module, attribute)


def _run(path: Path, option: str) -> Any:
    """The module of a user's file, which may import what stands beside it."""
    spec = importlib.util.spec_from_file_location(MODULE, path.resolve())
    assert spec is not None and spec.loader is not None  # so it is for every name that ends in .py
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up there
    sys.path.insert(0, str(path.resolve().parent))
    arguments, sys.argv = sys.argv, [str(path)]  # the command's own are nothing for a script that reads arguments
    try:
        with redirect_stdout(sys.stderr):
            spec.loader.exec_module(module)
    except RequestError:
        raise  # a sentence of this package, which needs no other around it
    except (Exception, SystemExit) as why:
        if not (isinstance(why, SystemExit) and why.code in (None, 0)):  # sys.exit(0) ends a script that has done its work
            raise TrainphaseError(f"{option} {shown(str(path))} could not be run ({_told(why)}); mend it") from why
    finally:
        sys.argv = arguments
        sys.path.remove(str(path.resolve().parent))
    return module


def _told(why: BaseException) -> str:
    return shown(f"{type(why).__name__}: {' '.join(str(why).split())}", 200)
