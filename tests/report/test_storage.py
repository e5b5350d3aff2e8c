import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pcbench.report import (
    SCHEMA_VERSION,
    UnreadableReportError,
    UnwritableOutputError,
    read_report,
    report_schema,
    write_report,
)
from tests.report.report_strategies import reports


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("reports") / "report.json"


@pytest.fixture
def content(make_case, make_report, tmp_path):
    """Return the JSON of a good report, for a test to spoil."""
    write_report(make_report(make_case()), tmp_path / "good.json")
    return json.loads((tmp_path / "good.json").read_text())


def refusal(path, text):
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UnreadableReportError) as caught:
        read_report(path)
    message = str(caught.value)
    assert message.startswith(f"{path} ")
    assert message.endswith(".")
    return message


@given(report=reports())
@settings(max_examples=40, deadline=None)
def test_any_report_survives_writing_and_reading(path, report):
    write_report(report, path)
    assert read_report(path) == report


@given(report=reports(numbers=st.floats()))
@settings(max_examples=40, deadline=None)
def test_any_report_is_strict_json_that_satisfies_the_published_schema(path, report):
    write_report(report, path)

    def refuse(constant):
        raise AssertionError(constant)

    content = json.loads(path.read_text(encoding="utf-8"), parse_constant=refuse)
    Draft202012Validator(report_schema()).validate(content)
    assert read_report(path).model_dump(mode="json") == content


def test_a_report_from_before_there_were_sizes_figures_and_claims_is_read(path, content):
    del content["size"], content["summary"]["undecided"]
    for case in content["cases"]:
        del case["figure"], case["claims"]
    path.write_text(json.dumps(content))
    report = read_report(path)
    assert report.size == "quick"
    assert report.summary.undecided == 0
    assert [(case.figure, case.claims) for case in report.cases] == [("", [])]


def test_numbers_that_are_not_finite_become_null(make_case, make_report, path):
    numbers = [float("nan"), float("inf"), float("-inf"), 1.5]
    case = make_case(series={"energy": {"value": numbers}}, parameters={"scale": float("nan")})
    write_report(make_report(case), path)
    [read] = read_report(path).cases
    assert read.series["energy"]["value"] == [None, None, None, 1.5]
    assert read.parameters["scale"] is None


def test_the_file_is_readable_by_people(make_case, make_report, path):
    write_report(make_report(make_case(identifier="énergie[φ=tanh]")), path)
    lines = path.read_text(encoding="utf-8").splitlines()
    assert '      "id": "énergie[φ=tanh]",' in lines
    assert '          "samples_s": [0.001, 0.002, 0.004],' in lines


def test_an_unwritable_place_is_reported_as_such(make_report, tmp_path):
    with pytest.raises(UnwritableOutputError, match="does not exist"):
        write_report(make_report(), tmp_path / "absent" / "report.json")


def test_the_schema_is_itself_valid_and_refuses_what_the_reader_refuses(content):
    schema = report_schema()
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(content)
    content["cases"][0]["checks"][0]["observed"] = "0.5"
    assert not validator.is_valid(content)


def test_a_missing_file_is_named_with_the_remedy(tmp_path):
    with pytest.raises(UnreadableReportError, match=r"absent\.json does not exist; `pcbench run"):
        read_report(tmp_path / "absent.json")


def test_a_directory_is_refused(tmp_path):
    with pytest.raises(UnreadableReportError, match="is a directory"):
        read_report(tmp_path)


def test_a_binary_file_is_refused_with_the_offending_byte(path):
    assert "is not a text file (byte 0x89 at offset 0)" in refusal(path, b"\x89PNG\r\n\x1a\n")


def test_malformed_json_is_refused_with_line_and_column(path):
    assert "not valid JSON: line 2, column 8" in refusal(path, '{\n  "a": ,\n}')


@pytest.mark.parametrize("text", ["", " \n"])
def test_an_empty_file_is_refused(path, text):
    assert "is empty" in refusal(path, text)


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_a_literal_that_is_not_json_is_refused_with_line_and_column(path, constant):
    text = f'{{"a \\" NaN": 1,\n "b": {constant}}}'
    assert f"line 2, column 7: {constant};" in refusal(path, text)


def test_a_number_too_large_for_a_double_is_refused(path):
    assert "holds the number 1e999" in refusal(path, '{"a": 1e999}')


def test_an_integer_of_thousands_of_digits_is_refused(path):
    assert "holds a number that cannot be read" in refusal(path, "9" * 5000)


def test_a_key_that_is_there_twice_is_refused(path):
    assert "has the key 'a' more than once" in refusal(path, '{"b": {"a": 1, "c": 2, "a": 1}}')


def test_endless_nesting_is_refused(path):
    assert "nested too deeply" in refusal(path, "[" * 100_000)


@pytest.mark.parametrize("text", ["[]", "3", '"report"', '{"suite": "theory"}'])
def test_other_json_is_refused(path, text):
    assert "not a pcbench report: it has no schema_version" in refusal(path, text)


@pytest.mark.parametrize("version", [0, 2, "1", True, 1.0, None])
def test_another_schema_version_is_refused_and_says_which_is_read(path, content, version):
    message = refusal(path, json.dumps({**content, "schema_version": version}))
    assert f"has schema_version {json.dumps(version)}, and this pcbench reads {SCHEMA_VERSION}" in (
        message
    )


def test_a_lone_surrogate_is_refused(path, content):
    content["suite"] = "\ud800"
    assert "is not valid JSON" in refusal(path, json.dumps(content))


def test_a_file_of_a_gigabyte_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "huge.json"
    with path.open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(UnreadableReportError, match=r"takes 1024 MiB, and no .* larger than 256"):
        read_report(path)


def test_a_byte_order_mark_is_no_obstacle(make_case, make_report, path):
    report = make_report(make_case(series={}))
    write_report(report, path)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_report(path) == report


def spoil(content, pointer, value):
    *parents, last = pointer.strip("/").split("/")
    for part in parents:
        content = content[int(part) if isinstance(content, list) else part]
    content[last] = value


@pytest.mark.parametrize(
    ("pointer", "value"),
    [
        ("/cases/0/checks/0/observed", "0.5"),  # a number in quotes
        ("/cases/0/checks/0/expected", [1.0]),  # within a union: no place of its own
        ("/cases/0/checks/1/tolerance", 0),
        ("/cases/0/status", "pass"),
        ("/cases/0/seed", 1.5),
        ("/cases/0/timings/0/median_s", -1.0),
        ("/cases/0/series/energy/value", 3),
        ("/environment/cores", None),
        ("/summary/unheard_of", 1),
    ],
)
def test_a_wrong_field_is_refused_with_its_pointer(path, content, pointer, value):
    spoil(content, pointer, value)
    assert f"has a wrong field at {pointer}: " in refusal(path, json.dumps(content))


def test_a_missing_field_is_refused_with_its_pointer(path, content):
    del content["cases"][0]["device"]
    assert "at /cases/0/device: Field required" in refusal(path, json.dumps(content))


def test_a_pointer_escapes_slashes_and_tildes(path, content):
    content["cases"][0]["series"] = {"a/b~c": 1}
    assert "at /cases/0/series/a~1b~0c: " in refusal(path, json.dumps(content))


def test_further_wrong_fields_are_counted(path, content):
    content["suite"] = content["created"] = content["interrupted"] = None
    assert "at /suite: Input should be a valid string (and 2 more)" in (
        refusal(path, json.dumps(content))
    )
