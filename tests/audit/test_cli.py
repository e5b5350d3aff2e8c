"""``pcbench audit`` in a process of its own."""

import json
import signal
import subprocess

import jsonschema
import pytest

from pcbench.audit import audit_schema
from pcbench.suite import suite_schema
from tests.helpers.command_line import PCBENCH, environment, pcbench
from tests.helpers.interruptions import interruptible
from tests.helpers.toy_suites import ENERGY, ORIGIN, UNFINISHED, write_suite


@pytest.fixture
def suite(tmp_path):
    return write_suite(tmp_path / "suite.yaml", ENERGY, ORIGIN)


def covering(path, covers):
    path.write_text(f"covers: {covers}\n{path.read_text(encoding='utf-8')}", encoding="utf-8")
    return path


def test_an_audit_prints_its_table_and_writes_its_document(suite, tmp_path):
    covering(suite, "[loss, energies]")
    file = tmp_path / "audit.json"
    done = pcbench("audit", suite, "--faults", "loss or energies", "--json", file)
    assert (done.returncode, done.stdout.splitlines()[-1][:11]) == (0, "None missed")
    assert "2 cases with the correct backend" in done.stderr
    assert "caught LossSummed" in done.stderr
    document = json.loads(file.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator(audit_schema()).validate(document)
    assert document["covers"] == ["loss", "energies"]
    assert {fault["outcome"] for fault in document["faults"] if fault["claimed"]} == {"caught"}


def test_a_fault_that_survives_is_exit_code_1(suite):
    done = pcbench("audit", suite, "--faults", "CountsOn or HalfTheStep", "-q")
    assert done.returncode == 0  # exact inference takes no steps: they are not met
    newton = "{engine: gauss_newton}"
    counting = ENERGY.replace("training:", f"inference: {newton}, training:")
    write_suite(suite, counting)
    done = pcbench("audit", suite, "--faults", "CountsOn", "-q")
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("Missed: ")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("covers", "message"),
    [
        ("[los]", "1:10: 'covers' must name parts of the contract; 'los' is none; did you mean"),
        ("[loss, 3]", "1:16: 'covers' must name parts of the contract; 3 is none"),
        ("[loss, loss]", "1:16: 'covers' names 'loss' twice; once is enough"),
        ("loss", "1:9: 'covers' must be a list of at least one part of the contract"),
        ("[]", "1:9: 'covers' must be a list of at least one part of the contract"),
    ],
)
def test_covers_that_are_not_valid_are_told_with_line_and_column(suite, covers, message):
    covering(suite, covers)
    for command in ("audit", "validate", "list"):
        done = pcbench(command, suite)
        assert (done.returncode, done.stdout) == (2, "")
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_an_editor_knows_what_a_suite_may_cover():
    validator = jsonschema.Draft202012Validator(suite_schema())
    document = {"suite": "a", "cases": [{"id": "a", "kind": "equilibrated_energy"}]}
    assert validator.is_valid({**document, "covers": ["loss", "purity"]})
    assert not validator.is_valid({**document, "covers": ["los"]})
    assert not validator.is_valid({**document, "covers": []})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--faults", "nonesuch"], "--faults nonesuch: no fault matches"),
        (["--faults", "(loss"], "a ')' is missing"),
        (["--backend", "torhc"], "did you mean 'torch'?"),
        (["-k", "nonesuch"], "no case matches"),
        (["--json", "nowhere/audit.json"], "does not exist; create it first"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(suite, options, message):
    done = pcbench("audit", suite, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_a_backend_that_does_not_pass_is_a_sentence_and_exit_code_2(tmp_path):
    suite = write_suite(tmp_path / "suite.yaml", UNFINISHED)
    done = pcbench("audit", suite)
    assert (done.returncode, done.stdout) == (2, "")
    assert "'torch' has failed the case unfinished as it is" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_schema_is_printed():
    assert json.loads(pcbench("schema", "audit").stdout) == audit_schema()


def test_an_interrupt_keeps_the_table_so_far(suite, tmp_path):
    file = tmp_path / "audit.json"
    slow = ENERGY.replace("steps: 2", "steps: 300").replace("id: energy", "id: slow")
    write_suite(suite, slow)
    options = ("--faults", "Loss or inference_account or purity", "--json", str(file))
    command = [*PCBENCH, "audit", str(suite), *options]
    with (
        interruptible(),
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env=environment(),
        ) as process,
    ):
        try:
            for line in process.stderr:
                if line.startswith("[1/"):
                    break
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted, the faults after these were not tried" in out
    document = json.loads(file.read_text(encoding="utf-8"))
    assert document["interrupted"]
    assert document["faults"][0]["outcome"] == "caught"
