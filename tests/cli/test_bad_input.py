"""Whatever is wrong with a suite or an option: a sentence on standard error, and exit code 2."""

import pytest

from tests.helpers.command_line import pcbench
from tests.helpers.toy_suites import ENERGY, ON_MNIST, write_suite

HEAD = "suite: s\ncases:\n"
CASE = (
    "  - id: a\n    kind: origin_hessian\n    data: {name: toy_gaussian}\n"
    "    network: {widths: [2, 2]}\n"
)
SADDLE = CASE.replace("origin_hessian", "zero_rank_saddle")
BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10)
)

# What the file holds, where the trouble is (":line:column", or nothing), and words of the sentence.
FILES = {
    "malformed YAML": (
        f"{HEAD}  - {{id: a, kind: origin_hessian\n",
        ":3:33",
        "closing '}' is missing",
    ),
    "unknown key": (
        f"{HEAD}{CASE}".replace("network:", "netwrok:"),
        ":6:5",
        "unknown key 'netwrok'; did you mean 'network'?",
    ),
    "unknown kind": (
        f"{HEAD}{CASE}".replace("origin_hessian", "orign_hessian"),
        ":4:11",
        "unknown case kind 'orign_hessian'; did you mean 'origin_hessian'?",
    ),
    "unknown dataset": (
        f"{HEAD}{CASE}".replace("toy_gaussian", "toy_gausian"),
        ":5:18",
        "unknown dataset 'toy_gausian'; did you mean 'toy_gaussian'?",
    ),
    "unknown backend": (
        f"{HEAD}{CASE}    backend: troch\n",
        ":7:14",
        "unknown backend 'troch'; did you mean 'torch'?",
    ),
    "wrong type": (
        f"{HEAD}{CASE}".replace("[2, 2]", "[2, two]"),
        ":6:27",
        "must be an integer, not 'two'",
    ),
    "wrong range": (
        f"{HEAD}{CASE}".replace("toy_gaussian}", "toy_gaussian, samples: 0}"),
        ":5:41",
        "must be greater than 0, not 0",
    ),
    "more samples than anybody has": (
        f"{HEAD}{CASE}".replace("toy_gaussian}", "toy_gaussian, samples: 1000000000}"),
        ":5:41",
        "must be at most 1000000, not 1000000000",
    ),
    "a width of a billion": (
        f"{HEAD}{CASE}".replace("[2, 2]", "[2, 1000000000]"),
        ":6:27",
        "must be at most 100000, not 1000000000",
    ),
    "more samples than there are": (
        f"{HEAD}{CASE}".replace("toy_gaussian}", "mnist, samples: 60001}"),
        ":5:34",
        "'data.samples': mnist's train split has 60000; ask for at most that many",
    ),
    "impossible network": (
        f"{HEAD}{SADDLE}".replace("[2, 2]", "[2]"),
        ":6:14",
        "needs at least 2 hidden layers",
    ),
    "empty": ("", "", "the file is empty"),
    "binary": (bytes(range(256)) * 4, "", "not UTF-8 text"),
    "10 MB": (f"{HEAD}{CASE}" + "# more\n" * 1_500_000, "", "larger than 1,000,000 bytes"),
    "alias bomb": (BOMB + HEAD + CASE, ":1:19", "over 50,000 values, aliases expanded"),
}


def assert_refused(done, *words):
    assert done.code == 2, done
    assert done.out == ""
    assert "Traceback" not in done.err
    for word in words:
        assert word in done.err


@pytest.mark.parametrize("content", FILES)
def test_a_suite_that_is_not_valid_is_refused_with_its_place(invoke, tmp_path, content):
    text, place, words = FILES[content]
    path = tmp_path / "suite.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    done = invoke("run", path)
    assert_refused(done, words)
    [sentence] = done.err.splitlines()
    assert sentence.startswith(f"{path}{place}")


def test_all_problems_of_all_suites_are_told_in_one_go(invoke, tmp_path):
    wrong = f"{HEAD}{CASE}".replace("network:", "netwrok:").replace("toy_gaussian", "mnits")
    paths = [tmp_path / "first.yaml", tmp_path / "second.yaml"]
    for path in paths:
        path.write_text(wrong)
    done = invoke("validate", *paths)
    assert_refused(done)
    sentences = done.err.splitlines()
    for path in paths:
        for place in (":5:18: ", ":6:5: "):
            assert any(sentence.startswith(f"{path}{place}") for sentence in sentences)


def test_a_path_that_is_no_suite_is_refused(invoke, tmp_path):
    assert_refused(invoke("run", tmp_path), str(tmp_path), "this is a directory")
    absent = tmp_path / "absent.yaml"
    assert_refused(invoke("run", absent), str(absent), "there is no such file")
    assert_refused(invoke("run", "theroy"), "did you mean 'theory'?")


# Options beside a valid suite, and words of the sentence.
OPTIONS = {
    "backend": (
        ("--backend", "troch"),
        "--backend troch: unknown backend 'troch'; did you mean",
    ),
    "device": (("--device", "gpu"), "'gpu' is not a device; use cpu, cuda, cuda:1 or mps"),
    "foreign device": (("--device", "meta"), "runs on cpu, cuda and mps, not on 'meta'"),
    "dtype": (("--dtype", "float16"), "--dtype float16: 'dtype' must be 'float32' or"),
    "seed": (("--seed", "-1"), "--seed -1: 'seed' must be an integer of at least 0"),
    "seed that is no number": (("--seed", "one"), "'--seed'"),
    "setting without a value": (("--set", "training.steps"), "write it as PATH=VALUE"),
    "setting of nothing": (("--set", "training.step=1"), "did you mean 'training.steps'?"),
    "setting of a wrong type": (
        ("--set", "training.steps=few"),
        "--set training.steps=few: 'training.",
    ),
    "selection of nothing": (("-k", "nothing"), "no case matches"),
    "selection that is malformed": (("-k", "energy and"), "a name is missing"),
    "option": (("--jsn", "report.json"), "No such option: --jsn"),
}


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_that_is_not_valid_is_refused(invoke, suite, option):
    arguments, words = OPTIONS[option]
    assert_refused(invoke("run", suite, *arguments), words)


def test_cuda_is_refused_where_there_is_none(invoke, suite):
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    assert_refused(invoke("run", suite, "--device", "cuda"), "no CUDA device; use --device cpu")


def test_a_missing_suite_is_refused(invoke):
    assert_refused(invoke("run"), "Missing argument 'SUITE...'")


def test_a_data_directory_that_is_not_there_is_refused_before_the_run(invoke, suite, monkeypatch):
    monkeypatch.setenv("PCBENCH_DATA", "/nowhere")
    assert_refused(invoke("run", suite), "PCBENCH_DATA is '/nowhere'", "unset it")


@pytest.mark.parametrize(
    ("place", "words"), [("absent/report.json", "create it first"), ("", "it is a directory")]
)
def test_a_report_that_cannot_be_written_is_found_before_the_run(
    invoke, suite, tmp_path, place, words
):
    done = invoke("run", suite, "--json", tmp_path / place)
    assert_refused(done, str(tmp_path / place), words)
    assert "[1/1]" not in done.err


def test_a_whole_process_refuses_in_the_same_way(tmp_path):
    """The rest of this module calls ``main`` directly; here is what a shell sees of it."""
    path = write_suite(tmp_path / "suite.yaml", ENERGY, ON_MNIST.replace("widths", "width"))
    done = pcbench("run", path)
    assert done.returncode == 2
    assert done.stdout == ""
    [sentence] = done.stderr.splitlines()
    assert sentence.startswith(f"{path}:4:")
