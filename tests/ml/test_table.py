"""Tables: what is read, what is refused, how rows are split and committed to."""

import gzip
import io
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ml import merkle
from ml.errors import (
    AllMissingColumn,
    CategoryColumn,
    ColumnNotFound,
    ConstantColumn,
    DuplicateIds,
    IdTypeMismatch,
    LabelsMissing,
    LabelsNotBinary,
    MissingIds,
    SingleClass,
    UnreadableTable,
)
from ml.table import (
    Schema,
    Table,
    binary_labels,
    category_code,
    check_features,
    commit_rows,
    open_row,
    read_csv,
    row_bytes,
    split_by_id,
    verify_row,
)

CSV = "id,y,age,income,member\n007,1,30,1.5,true\nb,0,,2.5,false\nc,1,41,NA,true\n"
KEY = bytes(range(32))


def read(text: str, **options: object) -> Table:
    return read_csv(io.BytesIO(text.encode()), **options)


def table(rows: int, seed: int = 0, label: bool = True) -> Table:
    rng = np.random.default_rng(seed)
    schema = Schema(("a", "b"), ("number", "number"), label="y" if label else None)
    ids = tuple(f"row {i}" for i in range(rows))
    y = (rng.random(rows) < 0.5).astype(float) if label else None
    return Table(schema, ids, rng.normal(size=(rows, 2)), y)


# --- reading ---


def test_a_file_is_read_with_exact_ids_and_missing_values_as_nan():
    t = read(CSV, label="y")
    assert t.ids == ("007", "b", "c")
    assert t.schema.features == ("age", "income", "member")
    assert t.schema.types == ("integer", "number", "boolean")
    np.testing.assert_array_equal(t.X, [[30, 1.5, 1], [np.nan, 2.5, 0], [41, np.nan, 1]])
    np.testing.assert_array_equal(t.y, [1, 0, 1])


@pytest.mark.parametrize(
    ("suffix", "pack"), [("", bytes), (".gz", gzip.compress), (".xz", lzma.compress)]
)
def test_a_file_may_be_packed(suffix: str, pack, tmp_path: Path):
    path = tmp_path / f"table.csv{suffix}"
    path.write_bytes(pack(CSV.encode()))
    assert read_csv(path, label="y").ids == ("007", "b", "c")


@pytest.mark.parametrize(
    ("ids", "found"),
    [("1 2 30 -4 0", "integer"), ("1 02", "string"), ("1 a", "string"), ("1 2.0", "string")],
)
def test_ids_are_integers_if_all_are_written_as_one(ids: str, found: str):
    assert read("id,x\n" + "".join(f"{i},1\n" for i in ids.split())).schema.id_type == found


def test_a_declared_id_type_must_hold():
    assert read("id,x\n1,1\n2,2\n", id_type="string").schema.id_type == "string"
    with pytest.raises(IdTypeMismatch, match="integer"):
        read("id,x\n1,1\nb,2\n", id_type="integer")


def test_an_id_that_reads_like_a_missing_value_is_an_id():
    assert read("id,x\nNA,1\nnan,2\n").ids == ("NA", "nan")


@pytest.mark.parametrize("options", [{"id": "key"}, {"label": "target"}])
def test_a_column_that_is_not_there_is_named_with_those_that_are(options: dict):
    with pytest.raises(ColumnNotFound, match="age, income, member"):
        read(CSV, **options)


def test_rows_without_id_are_told_by_position():
    with pytest.raises(MissingIds) as error:
        read("id,x\na,1\n,2\nb,3\n,4\n")
    assert (error.value.count, error.value.positions) == (2, (1, 3))


def test_repeated_ids_are_told_by_position_and_never_by_name():
    with pytest.raises(DuplicateIds) as error:
        read("id,x\nsecret,1\nb,2\nsecret,3\nb,4\n")
    assert (error.value.count, error.value.positions) == (2, (2, 3))
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "id,x\na,1,2\n",
        "id,x,x\na,1,2\n",
        "id,x\na,1\nb,high\n",
        "id,x\na,inf\n",
        "id,x\na,2024-01-01\n",
        "id,x\na,9007199254740993\n",
    ],
)
def test_what_is_no_table_of_numbers_is_refused(text: str):
    with pytest.raises(UnreadableTable):
        read(text)


def test_text_is_a_category_and_stands_for_the_same_number_in_every_table():
    one = read("id,town\na,Ulm\nb,\nc,Bonn\nd,Ulm\n")
    other = read("id,town\nx,Bonn\ny,Ulm\n")
    assert one.schema.types == other.schema.types == ("category",)
    assert one.schema.categories == {"town"}
    assert one.X[[2, 0], 0].tolist() == other.X[:, 0].tolist()
    assert one.X[0, 0] == one.X[3, 0] == category_code("Ulm") != category_code("Bonn")
    assert np.isnan(one.X[1, 0])


def test_text_is_no_label_and_nothing_to_calculate_with():
    with pytest.raises(UnreadableTable, match="labels numbers"):
        read("id,x,y\na,1,yes\nb,2,no\n", label="y")
    with pytest.raises(CategoryColumn, match="'town' holds text"):
        check_features(read("id,town\na,Ulm\nb,Bonn\n"))


def test_bytes_that_are_not_utf8_are_refused():
    with pytest.raises(UnreadableTable):
        read_csv(io.BytesIO(b"id,x\n\xff\xfe,1\n"))


def test_a_refused_row_is_not_quoted():
    with pytest.raises(UnreadableTable) as error:
        read("id,x\nsecret,1,2\n")
    assert "secret" not in str(error.value)


def test_a_file_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(UnreadableTable, match="No such file"):
        read_csv(tmp_path / "nothing.csv")


def test_a_column_may_change_its_mind_late_in_a_long_file():
    rows = "".join(f"{i},1\n" for i in range(300_000))
    t = read("id,x\n" + rows + "last,0.5\n")
    assert t.schema.types == ("number",)
    assert t.X[-1, 0] == 0.5


def test_a_broken_archive_is_refused(tmp_path: Path):
    for name in ("t.csv.gz", "t.csv.xz"):
        (tmp_path / name).write_bytes(b"no archive")
        with pytest.raises(UnreadableTable):
            read_csv(tmp_path / name)


# --- table and schema ---


def test_taking_rows_keeps_ids_features_and_labels_together():
    t = table(5)
    part = t.take([3, 1])
    assert part.ids == ("row 3", "row 1")
    np.testing.assert_array_equal(part.X, t.X[[3, 1]])
    np.testing.assert_array_equal(part.y, t.y[[3, 1]])


def test_taking_a_row_twice_is_refused():
    with pytest.raises(DuplicateIds):
        table(5).take([1, 1])


def test_the_arrays_of_a_table_cannot_be_changed():
    mine = np.ones((1, 1))
    t = Table(Schema(("a",), ("number",)), ("x",), mine)
    with pytest.raises(ValueError, match="read-only"):
        t.X[0, 0] = 2
    mine[0, 0] = 2  # the caller's own array stays its own


def test_a_table_agrees_with_its_schema():
    schema = Schema(("a",), ("number",))
    with pytest.raises(ValueError, match="needed is float64"):
        Table(schema, ("x",), np.ones((1, 2)))
    with pytest.raises(ValueError, match="label column"):
        Table(schema, ("x",), np.ones((1, 1)), np.ones(1))


def test_the_schema_digest_is_of_canonical_json_and_survives_it():
    schema = read(CSV, label="y").schema
    assert Schema.from_json(schema.to_json()) == schema
    assert schema.digest.startswith("0x")
    assert len(schema.digest) == 66
    assert replace(schema, label="z").digest != schema.digest


def test_column_names_are_distinct():
    with pytest.raises(ValueError, match="distinct"):
        Schema(("id",), ("number",))


# --- checks ---


def labelled(*labels: float) -> Table:
    schema = Schema((), (), label="y")
    ids = tuple(map(str, range(len(labels))))
    return Table(schema, ids, np.empty((len(labels), 0)), np.array(labels))


def test_binary_labels_are_zero_and_one():
    np.testing.assert_array_equal(binary_labels(labelled(0, 1, 1)), [0, 1, 1])
    with pytest.raises(LabelsNotBinary):
        binary_labels(labelled(0, 1, 2))
    with pytest.raises(LabelsNotBinary):
        binary_labels(labelled(-1, 1))
    with pytest.raises(LabelsMissing):
        binary_labels(labelled(0, np.nan))
    with pytest.raises(LabelsMissing):
        binary_labels(table(3, label=False))
    with pytest.raises(SingleClass):
        binary_labels(labelled(1, 1))


def test_a_feature_that_tells_nothing_is_named():
    with pytest.raises(ConstantColumn, match="'x'"):
        check_features(read("id,x,z\na,1,1\nb,1,2\n"))
    with pytest.raises(AllMissingColumn, match="'x'"):
        check_features(read("id,x,z\na,,1\nb,,2\n"))
    check_features(read("id,x,z\na,1,1\nb,,2\n"))


# --- split ---


@given(st.sets(st.text(min_size=1, max_size=5), max_size=30), st.floats(0, 1), st.randoms())
def test_a_row_is_held_out_whatever_rows_and_order_are_around_it(names, fraction, random):
    ids = sorted(names)
    other = [*ids, "one more, for an empty set"]
    random.shuffle(other)
    train, held_out = split_by_id(ids, fraction, b"salt")
    assert sorted([*train, *held_out]) == list(range(len(ids)))
    _, other_held_out = split_by_id(other, fraction, b"salt")
    assert {ids[i] for i in held_out} == {other[i] for i in other_held_out} & set(ids)


def test_the_split_has_about_the_fraction_and_depends_on_the_salt():
    ids = [f"id {i}" for i in range(10_000)]
    _, held_out = split_by_id(ids, 0.2, b"one")
    assert 1800 < len(held_out) < 2200
    assert set(held_out) != set(split_by_id(ids, 0.2, b"two")[1])
    assert len(split_by_id(ids, 0.0, b"one")[1]) == 0
    assert len(split_by_id(ids, 1.0, b"one")[0]) == 0
    with pytest.raises(ValueError, match="allowed is 0 to 1"):
        split_by_id(ids, 1.5, b"one")


# --- commitments ---


@pytest.mark.parametrize("rows", [1, 2, 3, 7, 8, 13])
def test_every_row_can_be_shown_to_be_committed(rows: int):
    t = table(rows)
    commitment = commit_rows(t, KEY)
    assert commitment.row_count == rows
    assert commitment.schema_digest == t.schema.digest
    for i, name in enumerate(t.ids):
        opened = open_row(t, KEY, name)
        assert opened.row == row_bytes(t, i)
        assert verify_row(commitment, opened)


def test_an_opened_row_that_was_changed_is_not_committed():
    t = table(7)
    commitment, opened = commit_rows(t, KEY), open_row(t, KEY, "row 3")
    other = row_bytes(t, 4)
    assert not verify_row(commitment, replace(opened, row=other))
    assert not verify_row(commitment, replace(opened, salt=bytes(16)))
    # A salt that took a byte of the row would make another row of the same leaf.
    shifted = replace(opened, salt=opened.salt + opened.row[:1], row=opened.row[1:])
    assert not verify_row(commitment, shifted)
    assert not verify_row(commitment, replace(opened, index=(opened.index + 1) % 7))
    assert not verify_row(commitment, replace(opened, siblings=opened.siblings[:-1]))
    assert not verify_row(replace(commitment, row_count=5), opened)


def test_the_commitment_does_not_depend_on_the_order_of_the_file():
    t = table(20)
    order = np.random.default_rng(1).permutation(20)
    assert commit_rows(t.take(order), KEY) == commit_rows(t, KEY)


def test_the_commitment_depends_on_key_and_every_cell():
    t = table(5)
    X = t.X.copy()
    X[3, 1] += 1e-9
    roots = {
        commit_rows(t, KEY).root,
        commit_rows(t, bytes(32)).root,
        commit_rows(Table(t.schema, t.ids, X, t.y), KEY).root,
        commit_rows(Table(t.schema, t.ids, t.X, 1 - t.y), KEY).root,
        commit_rows(Table(t.schema, ("other", *t.ids[1:]), t.X, t.y), KEY).root,
    }
    assert len(roots) == 5


def test_all_nans_and_zeros_are_one():
    strange_nan = np.frombuffer(bytes.fromhex("7ff8000000000001"), ">f8")[0]
    plain, strange = table(1), table(1)
    plain = Table(plain.schema, plain.ids, np.array([[np.nan, 0.0]]), plain.y)
    strange = Table(strange.schema, strange.ids, np.array([[strange_nan, -0.0]]), strange.y)
    assert row_bytes(plain, 0) == row_bytes(strange, 0)


def test_a_short_key_is_refused():
    with pytest.raises(ValueError, match="32 random ones"):
        commit_rows(table(1), b"short")


def test_a_row_that_is_not_there_cannot_be_opened():
    with pytest.raises(KeyError):
        open_row(table(1), KEY, "nobody")


# --- the tree, with the vectors of the RFC's authors (certificate-transparency test data) ---

LEAVES = [
    bytes.fromhex(text)
    for text in [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


@pytest.mark.parametrize("size", range(1, 9))
def test_the_tree_is_that_of_rfc_6962(size: int):
    assert merkle.root([merkle.leaf_hash(leaf) for leaf in LEAVES[:size]]).hex() == ROOTS[size - 1]


def test_the_empty_tree_is_the_hash_of_nothing():
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.root([]).hex() == empty


@given(st.integers(1, 40).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n - 1))))
def test_every_path_leads_to_the_root_and_no_other_place_does(size_and_index):
    size, index = size_and_index
    leaves = [merkle.leaf_hash(bytes([i])) for i in range(size)]
    siblings, root = merkle.path(leaves, index), merkle.root(leaves)
    assert merkle.root_of_path(leaves[index], index, size, siblings) == root
    assert merkle.root_of_path(leaves[index], index, size, [*siblings, root]) != root
    for other in range(size):
        if other != index:
            assert merkle.root_of_path(leaves[index], other, size, siblings) != root


def test_a_path_outside_of_the_tree_is_none():
    assert merkle.root_of_path(bytes(32), 3, 3, []) is None
    with pytest.raises(IndexError):
        merkle.path([bytes(32)], 1)
