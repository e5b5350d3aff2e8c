import subprocess
import sys

import pytest

HEAVY = ["torch", "scipy", "mnist1d", "matplotlib", "requests"]


@pytest.mark.parametrize("module", ["pcbench.data", "pcbench.data.mnist1d", "pcbench.data.cifar10"])
def test_importing_the_room_imports_nothing_heavy(module):
    code = f"import sys, {module}; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
