"""Makes the Keras files beside it, with the Keras that is installed: ``python make.py [theano|tensorflow|torch]``.

Each is a small network with random weights, and an ``.npz`` with images ``x`` and Keras's own predictions ``y``: what
the reader is held to. The committed ones come from Keras 1.2.2 and 2.2.4 on Theano 1.0.5 (Python 3.7), tf-keras 2.21 on
TensorFlow 2.21 and Keras 3.15 on PyTorch 2.15. It runs on all of them, so it is plain old Python.
"""

import os
import sys

import numpy as np

backend = sys.argv[1]
os.environ["KERAS_BACKEND"] = backend
os.environ.setdefault("THEANO_FLAGS", "device=cpu,floatX=float32,optimizer=fast_compile,blas.ldflags=")
if backend == "theano":
    import theano.ifelse  # noqa: F401  (Keras 1 forgets to)
if backend == "tensorflow":
    import tf_keras as keras
else:
    import keras
L = keras.layers
version = keras.__version__
old = version.startswith("1.")


def network_1(order, shape, axis):
    """The layers of Keras 1, and its way of calling them."""
    image = L.Input(shape)
    a = L.Convolution2D(4, 3, 2, subsample=(2, 2), border_mode="same", activation="relu", dim_ordering=order)(image)
    b = L.Convolution2D(4, 1, 1, subsample=(2, 2), bias=False, dim_ordering=order)(image)
    a = L.BatchNormalization(axis=axis)(a)
    c = L.merge([a, b], mode="sum")
    d = L.MaxPooling2D((2, 2), strides=(1, 1), border_mode="same", dim_ordering=order)(c)
    c = L.merge([L.Activation("relu")(c), d], mode="concat", concat_axis=axis)
    c = L.ZeroPadding2D((1, 2), dim_ordering=order)(c)
    c = L.AtrousConvolution2D(3, 2, 2, atrous_rate=(2, 1), activation="relu", dim_ordering=order)(L.Dropout(0.5)(c))
    c = L.AveragePooling2D((2, 2), border_mode="same", dim_ordering=order)(c)
    return keras.models.Model(image, L.Dense(5)(L.Flatten()(c)))


def network(order, shape, axis):
    """The layers of Keras 2 and 3."""
    how = {"data_format": order}
    image = L.Input(shape)
    a = L.Conv2D(4, (3, 2), strides=2, padding="same", activation="relu", **how)(image)
    b = L.Conv2D(4, 1, strides=2, use_bias=False, padding="same", **how)(image)
    a = L.BatchNormalization(axis=axis, scale=False)(a)
    c = L.Add()([a, b])
    d = L.MaxPooling2D(2, strides=1, padding="same", **how)(c)
    c = L.Concatenate(axis=axis)([L.ReLU(6.0)(c), d])
    c = L.ZeroPadding2D(((1, 0), (2, 1)), **how)(c)
    c = L.SeparableConv2D(5, 3, padding="same", depth_multiplier=2, activation="relu", **how)(L.Dropout(0.5)(c))
    c = L.DepthwiseConv2D((3, 2), depth_multiplier=1, **how)(c)
    c = L.AveragePooling2D(3, strides=1, padding="same", **how)(c)
    c = L.Conv2D(4, 2, dilation_rate=(1, 2), activation="relu", **how)(c)
    if order == "channels_last":
        inner = L.Input((3, 4, 4))
        c = keras.models.Model(inner, L.Conv2D(3, 2, padding="same")(L.BatchNormalization()(inner)))(c)
    return keras.models.Model(image, L.Dense(5)(L.Flatten(**({} if old else how))(c)))


def values(weight, random):
    result = random.normal(size=weight.shape) * 0.5
    return (abs(result) + 0.3 if result.ndim == 1 else result).astype("float32")


for order, channels_first in (("channels_first", True), ("channels_last", False)):
    if backend == "tensorflow" and channels_first:
        continue  # not on a CPU
    random = np.random.RandomState(3)
    shape, axis = ((3, 9, 8), 1) if channels_first else ((9, 8, 3), -1)
    model = network_1("th" if channels_first else "tf", shape, axis) if old else network(order, shape, axis)
    model.set_weights([values(weight, random) for weight in model.get_weights()])
    x = random.normal(size=(4, *shape)).astype("float32")
    name = "keras-%s-%s-%s" % (version, backend, order.replace("_", "-"))  # noqa: UP031
    np.savez(name + ".npz", x=x, y=model.predict(x))
    model.save(name + ".h5")
    if not old and int(version.split(".")[0]) * 100 + int(version.split(".")[1]) >= 213:
        model.save(name + ".keras")
