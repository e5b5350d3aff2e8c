import pytest
import yaml

from pcbench.suite import SuiteError
from pcbench.suite.yaml.document import MAX_BYTES, MAX_DEPTH, MAX_VALUES, malformed, parse
from pcbench.suite.yaml.problems import Position
from tests.helpers.toy_suites import outline
from tests.suite.suite_fakes import unmark


def whole_file_problem(path):
    with pytest.raises(SuiteError) as caught:
        outline(path)
    (problem,) = caught.value.problems
    assert problem.at == Position(str(path))
    return problem.message


def test_a_missing_file_is_named(tmp_path):
    assert "no such file" in whole_file_problem(tmp_path / "none.yaml")


def test_a_directory_is_told_apart_from_a_file(tmp_path):
    assert "directory" in whole_file_problem(tmp_path)


def test_a_path_through_a_file_cannot_be_read(write):
    assert "cannot be read" in whole_file_problem(write("a: b") / "x.yaml")


def test_an_unreadable_file_says_why(write, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    path = write("suite: s")
    monkeypatch.setattr("pathlib.Path.open", refuse)
    assert "cannot be read: Permission denied" in whole_file_problem(path)


def test_a_path_with_a_null_character_is_refused(tmp_path):
    assert "path is not valid" in whole_file_problem(tmp_path / "a\0.yaml")


@pytest.mark.parametrize("text", ["", "\n \n", "# only a comment\n", "\ufeff"])
def test_an_empty_file_is_refused(write, text):
    assert "empty" in whole_file_problem(write(text))


def test_a_file_that_is_too_large_is_refused_and_one_at_the_limit_is_read(write):
    base = "suite: s\ncases: [{id: a, kind: toy}]\n#"
    fits = base + "x" * (MAX_BYTES - len(base))
    assert outline(write(fits)).name == "s"
    assert "larger than 1,000,000 bytes" in whole_file_problem(write(fits + "x"))


def test_a_binary_file_is_refused(write):
    assert "null bytes" in whole_file_problem(write(b"\x93NUMPY\x00\x01"))


def test_utf_16_is_refused(write):
    assert "UTF-8" in whole_file_problem(write("suite: s".encode("utf-16")))


def test_bytes_that_are_not_utf_8_are_placed(write):
    with pytest.raises(SuiteError, match=r"suite.yaml:2:5: byte 0xff is not UTF-8"):
        outline(write(b"suite: s\n# \xc3\xa9 \xff"))


def test_a_byte_order_mark_is_passed_over(write):
    assert outline(write("\ufeffsuite: s\ncases: [{id: a, kind: toy}]")).name == "s"


def test_a_control_character_is_placed(refuse):
    refuse("suite: s\nx: a¶\x07b", "'\\x07' cannot stand in YAML")


MALFORMED = pytest.mark.parametrize(
    ("text", "message"),
    [
        ("suite: [1, 2\ncases¶: 3", "closing ']' is missing here; the '[' is at 1:8"),
        ("suite: {a: 1¶", "closing '}' is missing here; the '{' is at 1:8"),
        ("suite: [1, 2¶", "closing ']' is missing here; the '[' is at 1:8"),
        ("suite: 'x\ncases: 2¶", "the quotation mark at 1:8 is never closed"),
        ("suite: a¶: b", "quote a text that contains ': '"),
        ("suite: ¶- a", "a list cannot begin here"),
        ("suite:\n¶\tname: x", "a tab cannot indent YAML; use spaces"),
        ("suite: ¶@x", "a value cannot start with '@'; put it in quotes"),
        ("suite: ¶`x`", "a value cannot start with '`'"),
        ("suite: s\ncases\n¶defaults: {}", "no 'key: value'"),
        ("suite: ¶*x", "an alias is used before its anchor"),
        ("suite: [¶}", "a value is missing here"),
        ("{suite: s}¶}", "nothing may follow the end of the suite"),
        ("suite:\n   a: 1\n  ¶b: 2", "does not fit the block at 1:1"),
        ("cases:\n  - 1\n  ¶b: 2", "does not fit the block at 2:3"),
        ("suite: 'a'¶b", "does not fit the block at 1:1"),
        ('suite: "a¶\\q"', "an unknown escape"),
        ("¶%YAML 2.0\n---\nsuite: s", "not valid YAML"),
    ],
)


@MALFORMED
def test_malformed_yaml_is_explained_where_it_breaks(refuse, text, message):
    refuse(text, message)


@MALFORMED
def test_the_parser_in_pure_python_is_explained_in_the_same_words(text, message):
    text, _ = unmark(text)
    with pytest.raises(yaml.YAMLError) as caught:
        yaml.compose(text, yaml.SafeLoader)
    assert message in malformed(caught.value, text, Position).message


def test_an_error_without_a_place_is_still_told():
    problem = malformed(yaml.YAMLError("odd"), "x", lambda *place: Position("s", *place))
    assert problem.message == "this is not valid YAML (odd)"


def test_a_second_document_is_refused(refuse):
    refuse("suite: s\n¶---\nsuite: t", "a suite file holds only one")


def test_deep_nesting_is_refused_at_any_depth(refuse):
    refuse("[" * MAX_DEPTH + "¶" + "[", "nested more than")


def test_nesting_beyond_all_reason_is_refused_wherever_it_is_noticed(write):
    """From PyYAML 6.0.4 on its scanner, which reads ahead, has a limit of its own."""
    with pytest.raises(SuiteError, match="deep here; flatten them"):
        outline(write("[" * 100_000))


def test_nesting_at_the_limit_is_read():
    depth = MAX_DEPTH
    root, _ = parse("[" * depth + "]" * depth, Position)
    assert str(root.plain()) == "[" * depth + "]" * depth


def test_aliases_cannot_nest_what_brackets_cannot(write):
    chain = "\n".join(f"a{i + 1}: &a{i + 1} [[[*a{i}]]]" for i in range(30))
    with pytest.raises(SuiteError, match="nested more than"):
        outline(write(f"a0: &a0 [1]\n{chain}"))


def test_an_alias_bomb_is_refused(write):
    bomb = "\n".join(f"a{i + 1}: &a{i + 1} [{', '.join([f'*a{i}'] * 10)}]" for i in range(12))
    with pytest.raises(SuiteError, match="aliases expanded"):
        outline(write(f"a0: &a0 [x]\n{bomb}"))


def test_masses_of_values_are_refused(write):
    with pytest.raises(SuiteError, match=f"over {MAX_VALUES:,} values"):
        outline(write("- 1\n" * (MAX_VALUES + 1)))


@pytest.mark.parametrize("text", ["suite: ¶&x [*x]", "suite: {a: ¶&x {b: [*x]}}"])
def test_a_value_that_contains_itself_is_refused(refuse, text):
    refuse(text, "contains itself")


def test_an_alias_repeats_a_value_with_the_position_of_the_original(load, refuse):
    text = """\
suite: s
cases:
  - {{id: a, kind: toy, data: &d {{name: gaussian, samples: {}}}}}
  - {{id: b, kind: toy, data: *d}}
"""
    first, second = load(text.format(3)).cases
    assert first.parameters == second.parameters
    refuse(text.format("¶0"), "must be greater than 0")


def test_a_doubled_key_names_both_positions_and_hides_nothing_else(refuse, tmp_path):
    refuse(
        "suite: s\ncases:\n  - id: a\n    kind: toy\n    ¶kind: ordered\n    data: ¶nope",
        f"the key 'kind' is already given at {tmp_path / 'suite.yaml'}:4:5",
        "no such dataset",
    )


@pytest.mark.parametrize(
    ("key", "shown"), [("1", "1"), ("true", "true"), ("~", "null"), ("[a]", "a list")]
)
def test_a_key_that_is_no_string_is_refused(refuse_case, key, shown):
    refuse_case(f"kind: ordered\n¶{key}: x", f"a key must be a string, not {shown}")


def test_quoted_keys_are_strings(load_case):
    assert load_case("kind: toy", "data: digits", "table: {'1': 1}").parameters.table == {"1": 1}


def test_a_merge_key_takes_what_a_mapping_does_not_say_itself(load_case):
    case = load_case(
        "kind: toy",
        "data: digits",
        "network: &base {hidden_layers: 2, width: 7}",
        "table: {<<: [{a: 1, b: 2}, {b: 3, c: 4}], a: 9}",
        "matrix: {network: [{<<: *base, width: 8}]}",
    )
    assert case.parameters.network.model_dump() == {"hidden_layers": 2, "width": 8}
    assert case.parameters.table == {"a": 9, "b": 2, "c": 4}


def test_a_merge_key_in_quotes_is_a_key(load_case):
    table = load_case("kind: toy", "data: digits", "table: {'<<': 1}").parameters.table
    assert table == {"<<": 1}


def test_what_is_no_mapping_cannot_be_merged(refuse_case):
    message = "'<<' merges a mapping, or a list of mappings, not 3"
    refuse_case("kind: ordered\n<<: ¶3\nlow: 0", message)
    refuse_case("kind: ordered\n<<: [{low: 0}, ¶3]", message)


def test_two_merge_keys_are_refused(refuse_case):
    refuse_case("kind: ordered\n<<: {low: 0}\n¶<<: {high: 1}", "the key '<<' is already given at")


def test_a_merge_that_contains_itself_is_refused(refuse_case):
    refuse_case("kind: toy\ntable: ¶&t\n  <<: *t", "contains itself through an alias")


@pytest.mark.parametrize(
    "value",
    [
        "!!python/object/apply:os.system [ls]",
        "!!python/name:os.system x",
        "!!set {a, b}",
        "!!binary aGk=",
        "!!timestamp 2024-01-01",
        "!mine x",
        "!!str [a]",
    ],
)
def test_tags_beyond_plain_data_are_refused(refuse, value):
    tag = value.split(" ")[0]
    refuse(f"suite: ¶{value}\ncases: ¶{value}", *[f"the tag '{tag}' is refused"] * 2)


@pytest.mark.parametrize("value", ["!!int x", "!!float x", "!!bool maybe", "!!null 3"])
def test_a_value_that_contradicts_its_tag_is_refused(refuse, value):
    refuse(f"suite: ¶{value}", "is not what its tag")


def test_a_tag_of_plain_data_converts(load):
    assert load("suite: !!str 1\ncases: [{id: a, kind: ordered}]").name == "1"


def test_monstrous_numbers_are_refused(refuse):
    refuse("suite: ¶" + "9" * 5000, "a number has at most 100 characters, not 5000")


def test_columns_count_characters_not_bytes(refuse_case):
    refuse_case("kind: ordered\n¶'é𝓛é': {é: '𝓛', ¶'é': 1}", "unknown key", "already given")


def test_an_anchor_stands_for_what_it_named_last():
    text = "first: &x {a: 1}\nsecond: *x\nthird: &x {b: 2}\nfourth: {<<: *x, c: *x}"
    root, problems = parse(text, lambda line, column: Position("f", line, column))
    assert not problems
    assert root.plain() == {
        "first": {"a": 1},
        "second": {"a": 1},
        "third": {"b": 2},
        "fourth": {"b": 2, "c": {"b": 2}},
    }
