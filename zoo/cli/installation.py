"""What this machine and this installation can do, found out without failing."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import zoo
from zoo.catalog.lookup import extras
from zoo.catalog.registry import CORE, install_command
from zoo.cli.output import print_json, print_table

FOR_WORK = ("train", "tensorboard")  # extras that users need; the others are for developers


def show_installation(as_json: bool) -> None:
    """Print what is known of this machine and this installation."""
    found = facts()
    if as_json:
        print_json(found)
        return
    print_table(["what", "found", "to do"], _rows(found))


def _rows(found: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    torch, runtime = found["torch"], found["onnxruntime"]
    train = install_command(CORE, extra="train")
    rows = [
        ("python", f"{found['python']['version']}, {found['python']['executable']}", ""),
        (
            "system",
            f"{found['system']['platform']}, {found['system']['processors']} processors",
            "",
        ),
        ("zoo", found["zoo"]["version"], ""),
        ("torch", *_library(torch, torch.get("devices"), f"{train}, to train, sample and export")),
        ("onnxruntime", *_library(runtime, runtime.get("providers"), "pip install onnxruntime")),
    ]
    for extra, missing in found["extras"].items():
        told = f"missing: {', '.join(missing)}" if missing else "complete"
        rows.append((f"extra {extra}", told, install_command(CORE, extra=extra) * bool(missing)))
    for plugin in found["plugins"]:
        name, models = f"plugin {plugin['distribution']}", ", ".join(plugin["models"])
        rows.append((name, f"{plugin['version']}: {models}", plugin["trouble"] or ""))
    if not found["plugins"]:
        rows.append(("plugins", "none", install_command("zoo-autoencoders")))
    rows.append(("cache", *_describe_place(found["cache"], "ZOO_HOME names another folder")))
    rows.append(
        ("working folder", *_describe_place(found["runs"], "runs/ needs a folder to write in"))
    )
    return rows


def _library(found: Mapping[str, Any], parts: Sequence[str] | None, remedy: str) -> tuple[str, str]:
    if found["trouble"]:
        return found["trouble"], remedy
    return f"{found['version']}: {', '.join(parts or ())}", ""


def _describe_place(found: Mapping[str, Any], remedy: str) -> tuple[str, str]:
    if found["trouble"]:
        return found["trouble"], remedy
    return f"{found['path']}, {found['free_bytes'] / 2**30:,.1f} GiB free", ""


def facts() -> dict[str, Any]:
    """Return everything that is known, as plain JSON values."""
    return {
        "python": {"version": platform.python_version(), "executable": sys.executable},
        "system": {
            "platform": platform.platform(),
            "processors": os.cpu_count(),
        },
        "zoo": {"version": zoo.__version__},
        "torch": torch_facts(),
        "onnxruntime": onnxruntime_facts(),
        "extras": {name: missing_for(name) for name in FOR_WORK},
        "plugins": plugin_facts(),
        "cache": cache_facts(),
        "runs": place(Path.cwd()),
    }


def torch_facts() -> dict[str, Any]:
    """Return torch's version and devices, or why it cannot be imported."""
    torch, trouble = _import("torch")
    if torch is None:
        return {"version": None, "trouble": trouble}
    devices = [
        f"cuda:{number} {torch.cuda.get_device_name(number)}"
        for number in range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    ]
    devices += ["mps"] if torch.backends.mps.is_available() else []
    threads = f"cpu ({torch.get_num_threads()} threads)"
    return {"version": torch.__version__, "devices": [*devices, threads], "trouble": None}


def onnxruntime_facts() -> dict[str, Any]:
    """Return onnxruntime's version and providers, or why it cannot be imported."""
    runtime, trouble = _import("onnxruntime")
    if runtime is None:
        return {"version": None, "trouble": trouble}
    providers = list(runtime.get_available_providers())
    return {"version": runtime.__version__, "providers": providers, "trouble": None}


def missing_for(extra: str) -> list[str]:
    """Return the distributions that an extra of zoo-core asks for and that are not installed."""
    return [name for name in extras().get(extra, []) if not _is_installed(name)]


def plugin_facts() -> list[dict[str, Any]]:
    """Return the plugins with the models they bring, and their trouble."""
    from zoo.catalog.plugins import installed_plugins

    return [
        {
            "distribution": plugin.distribution,
            "version": plugin.version,
            "models": [card.name for card in plugin.models],
            "trouble": plugin.trouble or None,
        }
        for plugin in installed_plugins()
    ]


def cache_facts() -> dict[str, Any]:
    """Return where downloads and decoded data lie, and whether there is room."""
    from zoo.catalog.dataset import cache_home
    from zoo.errors import UsageError

    try:
        return place(cache_home())
    except UsageError as problem:
        return {"path": None, "trouble": problem.message}


def place(folder: Path) -> dict[str, Any]:
    """Return whether a folder, or the nearest one above it, can be written, and its free room."""
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    trouble = None
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
        free = shutil.disk_usage(nearest).free
    except OSError as problem:
        trouble, free = f"{nearest}: {problem.strerror or problem}", None
    return {"path": str(folder), "exists": folder.exists(), "free_bytes": free, "trouble": trouble}


def _import(name: str) -> tuple[Any, str | None]:
    """Return a module, or None and why it cannot be imported."""
    try:
        return importlib.import_module(name), None
    except ModuleNotFoundError as problem:
        missing = problem.name == name
        return None, "not installed" if missing else f"broken: {problem}"
    except Exception as problem:  # a broken library is reported, not raised
        return None, f"broken: {' '.join(str(problem).split())[:200]}"


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
