"""Every kind of data file, written here in its official layout, and each way in which one can be broken."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import struct
import tarfile
import time

import h5py
import numpy as np
import pytest

from refsnn import files
from refsnn.ann import graph, project
from refsnn.data import Dataset, pickles, store
from refsnn.data.readers import read
from refsnn.errors import InputError

RANDOM = np.random.default_rng(0)


def images(count, shape=(28, 28)):
    return RANDOM.integers(0, 256, (count, *shape), dtype=np.uint8)


def labels(count, classes=10):
    return RANDOM.integers(0, classes, count)


def check(data, expected_images, expected_labels, *, in_file=False):
    assert data.images.dtype == np.uint8
    assert data.images.flags.c_contiguous
    assert data.images.flags.writeable != in_file
    np.testing.assert_array_equal(data.images, expected_images)
    if expected_labels is None:
        assert data.labels is None
    else:
        assert data.labels.dtype == np.int64
        np.testing.assert_array_equal(data.labels, expected_labels)


# IDX


def idx(array, kind=8):
    return bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.astype("u1").tobytes()


@pytest.fixture
def mnist(tmp_path):
    """A folder of the four files, the test ones gzipped."""
    folder = tmp_path / "mnist"
    folder.mkdir()
    arrays = {"train": (images(7), labels(7)), "t10k": (images(5), labels(5))}
    for split, (pictures, numbers) in arrays.items():
        for name, array in (("images-idx3", pictures), ("labels-idx1", numbers)):
            content = idx(array)
            if split == "t10k":
                (folder / f"{split}-{name}-ubyte.gz").write_bytes(gzip.compress(content))
            else:
                (folder / f"{split}-{name}-ubyte").write_bytes(content)
    return folder, arrays


def test_idx_folder(mnist):
    folder, arrays = mnist
    splits = read(folder, (1, 28, 28), 10)
    check(splits.test, arrays["t10k"][0][:, None], arrays["t10k"][1])
    check(splits.train, arrays["train"][0][:, None], arrays["train"][1])
    assert splits.test.name == "mnist"


def test_idx_file_finds_its_labels(mnist):
    folder, arrays = mnist
    splits = read(folder / "t10k-images-idx3-ubyte.gz")
    check(splits.test, arrays["t10k"][0][:, None], arrays["t10k"][1])
    assert splits.train is None
    (folder / "train-images-idx3-ubyte").rename(folder / "something")
    check(read(folder / "something").test, arrays["train"][0][:, None], None)


def test_idx_folder_with_both_forms_of_a_file(mnist):
    folder, arrays = mnist
    packed = folder / "t10k-images-idx3-ubyte.gz"
    packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
    check(read(folder).test, arrays["t10k"][0][:, None], arrays["t10k"][1])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("t10k-images-idx3-ubyte.gz", lambda content: content[:-20], "truncated or damaged gzip"),
        ("t10k-labels-idx1-ubyte.gz", lambda content: gzip.compress(b"\0\0\x08\x01\0"), "ends within its header"),
        ("train-images-idx3-ubyte", lambda content: content[:-1], r"header \(7, 28, 28\) says 5488"),
        ("train-images-idx3-ubyte", lambda content: b"\0\0\x0d" + content[3:], "starts with 00 00 0d"),
        ("train-labels-idx1-ubyte", lambda content: idx(labels(6)), "6 labels, but .* holds 7 images"),
        ("train-labels-idx1-ubyte", lambda content: None, "train-labels-idx1-ubyte.* is missing"),
        ("t10k-images-idx3-ubyte.gz", lambda content: None, "no test images"),
    ],
)
def test_idx_broken(mnist, name, change, message):
    path = mnist[0] / name
    content = change(path.read_bytes())
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read(mnist[0])


def test_idx_labels_are_no_images(mnist):
    with pytest.raises(InputError, match="name the images file"):
        read(mnist[0] / "train-labels-idx1-ubyte")


def test_idx_folder_of_several_sets(mnist):
    folder, _ = mnist
    (folder / "emnist-letters-test-images-idx3-ubyte").write_bytes(idx(images(2)))
    with pytest.raises(InputError, match="name one of the two files"):
        read(folder)


def test_shape_and_classes_are_checked(mnist):
    folder, arrays = mnist
    with pytest.raises(InputError, match=r"mnist: images of shape \(1, 28, 28\); the network expects \(3, 32, 32\)"):
        read(folder, (3, 32, 32))
    with pytest.raises(InputError, match="there are 3 classes"):
        read(folder, classes=3)
    check(read(folder, (784,)).test, arrays["t10k"][0].reshape(5, 784), arrays["t10k"][1])


# NumPy


@pytest.mark.parametrize(
    "names", [("images", "labels"), ("x", "y"), ("x_test", "y_test"), ("test_images", "test_labels")]
)
@pytest.mark.parametrize("train", [None, ("x_train", "y_train"), ("train_images", "train_labels")])
@pytest.mark.parametrize("channels_last", [False, True])
def test_npz(tmp_path, names, train, channels_last):
    pictures, numbers = images(6, (3, 5, 7)), labels(6)
    stored = np.moveaxis(pictures, 1, 3) if channels_last else pictures
    arrays = {names[0]: stored, names[1]: numbers[:, None].astype("u1"), "remark": np.array("not read")}
    if train:
        arrays |= {train[0]: stored[:4].astype(np.float32), train[1]: numbers[:4]}
    np.savez_compressed(tmp_path / "file", **arrays)
    splits = read(tmp_path / "file.npz")
    check(splits.test, pictures, numbers)
    if train:
        check(splits.train, pictures[:4], numbers[:4])
    else:
        assert splits.train is None


def test_npz_without_labels_and_npy(tmp_path):
    pictures = images(4)
    np.savez(tmp_path / "file.npz", images=pictures)
    np.save(tmp_path / "file.npy", pictures)
    for name in ("file.npz", "file.npy"):
        check(read(tmp_path / name).test, pictures[:, None], None, in_file=name == "file.npy")


def test_images_in_one_piece_stay_in_their_file(tmp_path):
    """So a data set may be larger than the memory."""
    pictures = images(6, (3, 8, 8))
    np.save(tmp_path / "file.npy", pictures)
    with files.create(tmp_path / "file.h5", store.SCHEMA, store.VERSION) as file:
        file["images"], file["labels"] = pictures, np.arange(6)
    for name, expected in (("file.npy", None), ("file.h5", np.arange(6))):
        check(read(tmp_path / name, (3, 8, 8)).test, pictures, expected, in_file=True)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": images(2)}, r"holds the arrays \['pictures'\]"),
        ({"x": images(2), "x_test": images(2)}, "keep one of them"),
        ({"x_train": images(2)}, "expected as one of"),
        ({"images": images(2) / 255}, "array 'images': float64 numbers from"),
        ({"images": images(3), "labels": labels(2)}, "3 images but labels of shape"),
        ({"images": images(3), "labels": np.eye(3)}, "array 'labels'"),
        ({"images": np.array([{}], object)}, "could run code"),
        ({"images": images(2, (5, 6, 7))}, "array 'images': .*neither"),
    ],
)
def test_npz_broken(tmp_path, arrays, message):
    np.savez(tmp_path / "file.npz", **arrays)
    with pytest.raises(InputError, match=f"file.npz.*{message}|{message}"):
        read(tmp_path / "file.npz")


@pytest.mark.parametrize("name", ["file.npz", "file.npy"])
def test_numpy_truncated(tmp_path, name):
    path = tmp_path / name
    if name == "file.npy":
        np.save(path, images(10))
    else:
        np.savez_compressed(path, images=images(10))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{name}: is truncated or damaged"):
        read(path)


# HDF5


def test_own_file(tmp_path):
    data = Dataset(images=images(5, (3, 4, 4)), labels=labels(5, 2), class_names=("cat", "dog"), name="pets")
    store.write(tmp_path / "first", data)
    time.sleep(0.01)
    store.write(tmp_path / "second", data)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "second").read_bytes()
    found = read(tmp_path / "first", (3, 4, 4), 2).test
    check(found, data.images, data.labels, in_file=True)
    assert (found.class_names, found.name) == (data.class_names, data.name)
    features = Dataset(images=images(5, (12,)))
    store.write(tmp_path / "features", features)
    check(read(tmp_path / "features", (12,)).test, features.images, None, in_file=True)


def test_label_beyond_the_class_names(tmp_path):
    store.write(tmp_path / "file", Dataset(images=images(1), labels=np.array([2]), class_names=("cat", "dog")))
    with pytest.raises(InputError, match="file: the label of image 0 is 2; there are 2 classes"):
        read(tmp_path / "file")


def test_images_inside_a_network(tmp_path):
    network = graph.Graph(operations=(graph.Input(name="x", shape=(1, 2, 2)), graph.Flatten(name="y", inputs=("x",))))
    test, calibration = Dataset(images=images(3, (1, 2, 2)), labels=labels(3)), Dataset(images=images(2, (1, 2, 2)))
    path = tmp_path / "weights.h5"
    project.write(path, network, writer="test", test=test, calibration=calibration)
    splits = read(path)
    check(splits.test, test.images, test.labels, in_file=True)
    check(splits.train, calibration.images, None, in_file=True)
    project.write(path, network, writer="test")
    with pytest.raises(InputError, match="carries no test images"):
        read(path)


def test_hdf5_broken(tmp_path):
    path = tmp_path / "file"
    with h5py.File(path, "w") as file:
        file["images"] = images(2)
    with pytest.raises(InputError, match="has the schema 'none'; 'refsnn-data' was expected"):
        read(path)
    store.write(path, Dataset(images=images(2)))
    with h5py.File(path, "a") as file:
        del file["images"]
    with pytest.raises(InputError, match="is damaged"):
        read(path)
    store.write(path, Dataset(images=images(2)))
    with h5py.File(path, "a") as file:
        file.attrs["schema_version"] = 2
    with pytest.raises(InputError, match="update refsnn"):
        read(path)


# CIFAR


def cifar_files(version):
    """Contents by name, and what the readers should make of them: test images, labels, training images, labels."""
    hundred, python = version.startswith("100"), version.endswith("python")
    names = [f"class{number}" for number in range(100 if hundred else 10)]
    parts = ["test"] + (["train"] if hundred else [f"data_batch_{number}" for number in range(1, 6)])
    parts[0] = "test" if hundred else "test_batch"
    files, found = {}, {}
    for part in parts:
        pictures, numbers = images(4, (3, 32, 32)), labels(4, len(names))
        found[part] = pictures, numbers
        if python:
            key = b"fine_labels" if hundred else b"labels"
            batch = {b"data": pictures.reshape(4, 3072), key: numbers.tolist(), b"batch_label": part.encode()}
            if hundred:
                batch[b"coarse_labels"] = [0] * 4
            files[part] = pickle.dumps(batch, protocol=2)
        else:
            front = [np.full((4, 1), 7, "u1")] if hundred else []
            records = np.concatenate([*front, numbers[:, None].astype("u1"), pictures.reshape(4, 3072)], axis=1)
            files[f"{part}.bin"] = records.tobytes()
    if python:
        key = b"fine_label_names" if hundred else b"label_names"
        files["meta" if hundred else "batches.meta"] = pickle.dumps({key: [n.encode() for n in names]}, protocol=2)
    else:
        files["fine_label_names.txt" if hundred else "batches.meta.txt"] = ("\n".join(names) + "\n").encode()
    train = [np.concatenate(arrays) for arrays in zip(*(found[part] for part in parts[1:]), strict=True)]
    return files, (*found[parts[0]], *train), tuple(names)


def store_tree(target, files, archive, top="top/"):
    if not archive:
        for name, content in files.items():
            path = target / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return target
    with tarfile.open(target, "w:gz") as file:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{top}{name}")
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
    return target


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("version", ["10-python", "10-binary", "100-python", "100-binary"])
def test_cifar(tmp_path, version, archive):
    files, expected, names = cifar_files(version)
    splits = read(store_tree(tmp_path / "cifar", files, archive), (3, 32, 32), len(names))
    check(splits.test, *expected[:2])
    check(splits.train, *expected[2:])
    assert splits.test.class_names == names
    assert splits.test.name == f"CIFAR-{version.partition('-')[0]}"


@pytest.mark.parametrize(
    ("version", "name", "content", "message"),
    [
        ("10-binary", "test_batch.bin", b"\0" * 3072, "test_batch.bin: has 3072 bytes, no multiple of 3073"),
        ("10-binary", "data_batch_3.bin", None, "lacks data_batch_3.bin"),
        ("10-binary", "test_batch.bin", b"\x0b" + b"\0" * 3072, "there are 10 classes"),
        ("10-python", "test_batch", pickle.dumps([1]), "test_batch: holds a list"),
        ("10-python", "test_batch", pickle.dumps({b"labels": [1]}), "but not 'data'"),
        ("10-python", "test_batch", b"\x80\x02}", "test_batch: is a damaged pickle"),
        ("10-python", "data_batch_1", pickle.dumps({"data": images(2, (3072,)), "labels": [1]}), "with 1 labels"),
    ],
)
def test_cifar_broken(tmp_path, version, name, content, message):
    files, _, _ = cifar_files(version)
    files[name] = content
    path = store_tree(tmp_path / "cifar", {key: value for key, value in files.items() if value is not None}, False)
    with pytest.raises(InputError, match=message):
        read(path)


class Bomb:
    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return os.system, (f"touch {self.target}",)


@pytest.mark.parametrize("archive", [False, True])
def test_pickle_that_would_run_code(tmp_path, archive):
    files, _, _ = cifar_files("10-python")
    target = tmp_path / "ran"
    files["data_batch_2"] = pickle.dumps({b"data": Bomb(target), b"labels": []}, protocol=2)
    with pytest.raises(
        InputError, match=r"data_batch_2: this pickle asks for '(posix|nt)\.system', which could run code"
    ):
        read(store_tree(tmp_path / "cifar", files, archive))
    assert not target.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickles_of_every_protocol(protocol):
    value = {"data": images(2), "labels": [1, 2], "name": "x", "raw": b"\x80\xff"}
    found = pickles.loads(pickle.dumps(value, protocol), "file")
    np.testing.assert_array_equal(found.pop("data"), value.pop("data"))
    assert found == value


def test_pickle_of_python_2():
    """As CIFAR's own files were written: protocol 2, NumPy 1, strings of bytes."""
    content = (
        b"\x80\x02}q\x01(U\x06labelsq\x02]q\x03(K\x06K\x09eU\x04dataq\x04cnumpy.core.multiarray\n_reconstruct\nq\x05"
        b"cnumpy\nndarray\nq\x06K\x00\x85U\x01b\x87Rq\x07(K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x08U\x02u1K\x00K\x01\x87R"
        b"q\x09(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x00\x01\xfe\xfftbu."
    )
    found = pickles.loads(content, "file")
    assert found[b"labels"] == [6, 9]
    np.testing.assert_array_equal(found[b"data"], np.array([[0, 1], [254, 255]], np.uint8))


@pytest.mark.parametrize(
    "name", ["builtins\neval", "numpy\nload", "numpy.core.multiarray\nfromfile", "_codecs\ndecode"]
)
def test_pickles_of_anything_else_are_refused_by_name(name):
    with pytest.raises(InputError, match=name.replace("\n", ".")):
        pickles.loads(f"c{name}\n.".encode(), "file")


# Pictures


def picture(pixels, kind="PNG", mode=None):
    image = pytest.importorskip("PIL.Image")
    buffer = io.BytesIO()
    picture = image.fromarray(pixels)
    (picture.convert(mode) if mode else picture).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("archive", [False, True])
@pytest.mark.parametrize("divided", [False, True])
def test_pictures(tmp_path, archive, divided):
    names = ("ant", "bee", "cat")
    files, expected = {"README.txt": b"not read", ".hidden/x.png": b"nor this"}, {}
    for split in ("test", "train") if divided else ("test",):
        by_class = [images(2 + label, (4, 6, 3)) for label in range(3)]
        for label, pictures in enumerate(by_class):
            for index, pixels in enumerate(pictures):
                folder = f"{split}/{names[label]}" if divided else names[label]
                files[f"{folder}/{index:03}.png"] = picture(pixels)
        order = [(label, index) for index in range(4) for label in range(3) if index < 2 + label]
        expected[split] = (
            np.moveaxis(np.stack([by_class[label][index] for label, index in order]), 3, 1),
            [label for label, _ in order],
        )
    splits = read(store_tree(tmp_path / "insects.tar.gz", files, archive), (3, 4, 6), 3)
    check(splits.test, *expected["test"])
    assert splits.test.class_names == names
    assert splits.test.name == "insects"
    assert (splits.train is not None) == divided
    if divided:
        check(splits.train, *expected["train"])


def test_grey_palette_and_jpeg_pictures(tmp_path):
    grey, colour = images(1, (8, 8))[0], images(1, (8, 8, 3))[0]
    folder = store_tree(tmp_path / "grey", {"a/1.png": picture(grey), "b/1.png": picture(grey > 127)}, False)
    check(read(folder).test, np.stack([grey, (grey > 127) * np.uint8(255)])[:, None], [0, 1])
    files = {"a/1.png": picture(grey), "b/1.PNG": picture(colour), "c/1.png": picture(colour, mode="P")}
    files["d/1.JPG"] = picture(np.full((8, 8), 77, np.uint8), "JPEG")
    found = read(store_tree(tmp_path / "mixed", files, False)).test.images
    np.testing.assert_array_equal(found[0], np.stack([grey] * 3))
    np.testing.assert_array_equal(found[1], np.moveaxis(colour, 2, 0))
    assert found[2].shape == (3, 8, 8)
    np.testing.assert_array_equal(found[3], 77)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"b/2.png": b"\x89PNG\r\n\x1a\nxx"}, "b/2.png: is no readable PNG"),
        ({"b/2.png": (5, 4)}, "b/2.png: 5x4 pixels, others have 4x4"),
        ({"b/2.png": "RGBA"}, "b/2.png: has the mode RGBA"),
        ({"b/notes.txt": b"hello"}, "'b/notes.txt'"),
        ({"b/c/1.png": (4, 4)}, "'b/c/1.png'"),
        ({"test/a/1.png": (4, 4), "test/b/1.png": (4, 4), "train/a/1.png": (4, 4)}, "other classes: b"),
    ],
)
def test_pictures_broken(tmp_path, change, message):
    files = (
        {}
        if "test/a/1.png" in change
        else {"a/1.png": picture(images(1, (4, 4))[0]), "b/1.png": picture(images(1, (4, 4))[0])}
    )
    for name, content in change.items():
        if isinstance(content, tuple):
            content = picture(images(1, content)[0])
        elif content == "RGBA":
            content = picture(images(1, (4, 4, 4))[0])
        files[name] = content
    with pytest.raises(InputError, match=message):
        read(store_tree(tmp_path / "folder", files, False))


def test_archive_reaches_nothing_outside(tmp_path):
    """Paths upwards are no pictures, links lead nowhere, and nothing is written."""
    inner = tmp_path / "inner"
    inner.mkdir()
    pictures = images(2, (4, 4))
    (tmp_path / "secret.png").write_bytes(picture(pictures[0]))
    with tarfile.open(inner / "file.tar", "w") as file:
        for name, pixels in (("a/1.png", pictures[0]), ("../../up/1.png", pictures[0]), ("b/1.png", pictures[1])):
            content = picture(pixels)
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("a/2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "../../secret.png"
        file.addfile(link)
    check(read(inner / "file.tar").test, pictures[:, None], [0, 1])
    assert sorted(each.name for each in tmp_path.rglob("*")) == ["file.tar", "inner", "secret.png"]


@pytest.mark.parametrize("kept", [0.3, 0.9])
def test_archive_truncated(tmp_path, kept):
    files, _, _ = cifar_files("10-binary")
    path = store_tree(tmp_path / "file.tar.gz", files, True)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(InputError, match="truncated or damaged archive"):
        read(path)


# Nothing of all that


def test_unknown(tmp_path):
    with pytest.raises(InputError, match="there is no such file or folder"):
        read(tmp_path / "absent")
    with pytest.raises(InputError, match="no data set is recognised in this folder"):
        read(tmp_path)
    for content, message in (
        (b"", "starts with nothing"),
        (b"hello", "starts with 68 65 6c 6c 6f"),
        (b"PK\3\4", "damaged"),
    ):
        (tmp_path / "file").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read(tmp_path / "file")
    (tmp_path / "file").unlink()
    store_tree(tmp_path / "file", {"hello.txt": b"hello"}, True)
    with pytest.raises(InputError, match="recognised in this archive"):
        read(tmp_path / "file")
