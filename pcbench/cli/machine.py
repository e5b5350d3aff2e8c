"""What ``pcbench doctor`` and ``pcbench backends`` print."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Iterator, Sequence

from rich.console import Console
from rich.text import Text
from threadpoolctl import threadpool_info

from pcbench._version import __version__
from pcbench.contract import ENGINES, engine_settings
from pcbench.contract.inference import capabilities
from pcbench.data import DataDirectoryError, Places, dataset_class
from pcbench.networks import ACTIVATIONS, activation
from pcbench.registry import BACKENDS, CASES, DATASETS, FAULTS, BrokenPluginError
from pcbench.report.text import ABSENT, Column, plain, print_items, print_line, print_table
from pcbench.runner.environment import (
    PACKAGES,
    BackendSummary,
    backend_class,
    cores,
    package_version,
    processor,
)
from pcbench.suite.grammar.settings import load_kind


def examine() -> Iterator[str]:
    """Yield the lines of the report, each section as soon as it is known."""
    yield from _machine()
    yield from _devices()
    yield from _libraries()
    yield from _datasets()
    yield from _plugins()


def _machine() -> Iterator[str]:
    yield f"pcbench    {__version__}"
    yield f"python     {platform.python_version()} ({sys.executable})"
    yield f"platform   {platform.platform()}"
    yield f"processor  {processor()}, {cores()} cores"
    for name in PACKAGES:
        yield f"{name:<10} {package_version(name) or 'not installed'}"


def _devices() -> Iterator[str]:
    yield "\ndevices"
    try:
        import torch
    except Exception as error:  # a broken installation is what doctor is run for
        yield f"  torch cannot be imported: {error}"
        return
    yield f"  cpu   {torch.get_num_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"
    if not torch.cuda.is_available():
        cuda = torch.version.cuda
        built = f"torch is built for CUDA {cuda}" if cuda else "this build of torch is for CPU only"
        yield f"  cuda  none ({built})"
    for index in range(torch.cuda.device_count()):
        memory = torch.cuda.get_device_properties(index).total_memory / 2**30
        yield f"  cuda:{index}  {torch.cuda.get_device_name(index)}, {memory:.0f} GiB"
    yield f"  mps   {'available' if torch.backends.mps.is_available() else 'none'}"


def _libraries() -> Iterator[str]:
    """Yield BLAS and OpenMP libraries; torch is loaded by now and shows its own."""
    import numpy as np

    np.ones((2, 2)) @ np.ones((2, 2))
    yield "\nBLAS and threads"
    for library in threadpool_info():
        version = library["version"] or "unknown version"
        kernel = f", kernel {library['architecture']}" if "architecture" in library else ""
        yield (f"  {library['internal_api']} {version}, {library['num_threads']} threads{kernel}")


def _datasets() -> Iterator[str]:
    try:
        places = Places.default()
    except DataDirectoryError as error:
        yield f"\ndatasets\n  {error}"
        return
    yield f"\ndatasets (looked for in {places})"
    for name in DATASETS.names():
        try:
            found = dataset_class(name).locate(places)
        except Exception as error:  # a plug-in is foreign code
            yield f"  {name}: {error}"
            continue
        if not found:
            yield f"  {name}: needs no files"
        for split, path in found.items():
            yield f"  {name} {split}: {path or 'not found'}"


def _plugins() -> Iterator[str]:
    yield "\nplug-ins"
    for registry, load in (
        (CASES, load_kind),
        (DATASETS, dataset_class),
        (BACKENDS, backend_class),
        (FAULTS, FAULTS.load),
        (ENGINES, engine_settings),
        (ACTIVATIONS, activation),
    ):
        for name in registry.names():
            try:
                load(name)
            except BrokenPluginError as error:
                yield f"  {error}"
        yield f"  {registry.noun}s: {', '.join(registry.names())}"


def render_backends(found: Sequence[BackendSummary], console: Console) -> None:
    """Print a row a backend, a table of capabilities, and why others cannot be had."""
    available = [backend for backend in found if not backend.unavailable]
    facts: list[tuple[Column, Callable[[BackendSummary], str | Text]]] = [
        (Column("backend"), lambda backend: plain(backend.name, "bold")),
        (Column("package"), lambda backend: backend.package or "this process"),
        (Column("libraries"), lambda backend: ", ".join(backend.libraries) or ABSENT),
        (Column("devices"), lambda backend: ", ".join(backend.devices)),
        (Column("dtypes"), lambda backend: ", ".join(backend.dtypes)),
    ]
    print_items(console, facts, [(backend,) for backend in available])
    print_line(console)
    yes, no = plain("yes", "green"), plain(ABSENT)
    rows = [
        [plain(each), *(yes if each in backend.capabilities else no for backend in available)]
        for each in capabilities()
    ]
    print_table(console, [Column("capability"), *(Column(each.name) for each in available)], rows)
    for backend in found:
        if backend.unavailable:
            print_line(console)
            print_line(console, plain(f"{backend.name} is not available: {backend.unavailable}"))
