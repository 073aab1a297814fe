"""ONNX: a model that any ONNX runtime runs, and a converter of the estimator for skl2onnx."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from anmin.export.centred import DTYPES, CentredNetwork, Number, centred
from anmin.network import ReLUNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

_OPSET = 17  # of 2022: all that is needed, and runtimes that are still in use have it
_IR_VERSION = 8


def to_onnx(network: ReLUNetwork, number: Number = "float", X: ArrayLike | None = None) -> ModelProto:
    """Return an ONNX model from ``x`` of shape (rows, d) to ``y`` of shape (rows, c), for any number of rows.

    Parameters
    ----------
    network : ReLUNetwork
        Its names of inputs and outputs become metadata of the model, as JSON.
    number : {"float", "double"}, default "float"
        Type of inputs, outputs and arithmetic. With "float" the inputs are shifted first where that saves digits
        (:func:`anmin.export.centred.centred`).
    X : array of shape (N, d), optional
        Inputs that will be met, by which the shift is chosen.

    Returns
    -------
    onnx.ModelProto
        To be written by ``onnx.save``.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If a weight is too large for the type.
    """
    helper, numpy_helper, checker = _onnx()
    form = centred(network, number, X)
    element = helper.np_dtype_to_tensor_dtype(np.dtype(DTYPES[number]))
    constants, operations = _graph(form)
    graph = helper.make_graph(
        [helper.make_node(kind, inputs, [output]) for kind, inputs, output in operations],
        "anmin",
        [helper.make_tensor_value_info("x", element, ["rows", network.n_features])],
        [helper.make_tensor_value_info("y", element, ["rows", network.n_outputs])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(
        graph, producer_name="anmin", opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION
    )
    names = {"feature_names": network.feature_names, "output_names": network.output_names}
    helper.set_model_props(model, {key: json.dumps(value) for key, value in names.items() if value is not None})
    checker.check_model(model, full_check=True)
    return model


def register_skl2onnx() -> None:
    """Teach skl2onnx to convert the regressors whose network is of ReLUs, alone or in a pipeline; call it once.

    They are :class:`anmin.ReLURegressor` and :class:`anmin.ConvexReLURegressor`. ``skl2onnx.to_onnx(model, X)`` then
    gives a model in the type of X: float32, or float64 if X is. In float32 the inputs are shifted as by
    :func:`to_onnx`, by a centre that the weights give. The output has shape (rows, c), also for one output.

    Raises
    ------
    ImportError
        If skl2onnx is not installed.
    """
    try:
        from skl2onnx import update_registered_converter
    except ImportError:
        raise _missing("skl2onnx") from None
    from anmin.convex_estimators import ConvexReLURegressor
    from anmin.estimators import ReLURegressor

    for regressor in (ReLURegressor, ConvexReLURegressor):
        update_registered_converter(regressor, f"Anmin{regressor.__name__}", _shape, _convert)


def _graph(form: CentredNetwork, x: str = "x", y: str = "y") -> tuple[dict[str, Any], list[tuple[str, list[str], str]]]:
    """Return the constants by name, and the operations in order: kind, names of inputs, name of the output."""
    dtype = DTYPES[form.number]
    constants = {"W": form.W, "a": form.a, "B": form.B, "b0": form.b0}
    operations = []
    if form.is_shifted:
        constants["center"] = form.center
        operations.append(("Sub", [x, "center"], "z"))
        x = "z"
    operations.append(("Gemm", [x, "W", "a"], "t"))
    if form.negative_slope:
        # not LeakyRelu, which runtimes have in float32 only
        constants["slope"] = np.array(form.negative_slope)
        operations += [("Mul", ["t", "slope"], "st"), ("Max", ["t", "st"], "s")]
    else:
        operations.append(("Relu", ["t"], "s"))
    operations.append(("Gemm", ["s", "B", "b0"], y))
    return {name: value.astype(dtype) for name, value in constants.items()}, operations


def _shape(operator: Any) -> None:
    from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType

    kind = DoubleTensorType if isinstance(operator.inputs[0].type, DoubleTensorType) else FloatTensorType
    rows = operator.inputs[0].get_first_dimension()
    operator.outputs[0].type = kind([rows, operator.raw_operator.n_outputs_])


def _convert(scope: Any, operator: Any, container: Any) -> None:
    from onnx import TensorProto
    from skl2onnx.common.data_types import DoubleTensorType

    is_double = isinstance(operator.inputs[0].type, DoubleTensorType)
    element = TensorProto.DOUBLE if is_double else TensorProto.FLOAT
    form = centred(operator.raw_operator.network_, "double" if is_double else "float")
    # Integers and booleans are given as they are.
    names = {"x": scope.get_unique_variable_name("x"), "y": operator.outputs[0].full_name}
    container.add_node(
        "Cast", [operator.inputs[0].full_name], names["x"], name=scope.get_unique_operator_name("Cast"), to=element
    )
    constants, operations = _graph(form)
    for name, value in constants.items():
        names[name] = scope.get_unique_variable_name(name)
        container.add_initializer(names[name], element, list(value.shape), value.ravel())
    for kind, inputs, output in operations:
        names.setdefault(output, scope.get_unique_variable_name(output))
        container.add_node(
            kind,
            [names[name] for name in inputs],
            names[output],
            name=scope.get_unique_operator_name(kind),
            op_version=_OPSET if kind not in _VERSIONS else min(_VERSIONS[kind], container.target_opset),
        )


# Versions of the operators, for opsets that a user may ask skl2onnx for.
_VERSIONS = {"Sub": 14, "Gemm": 13, "Mul": 14, "Max": 13, "Relu": 14}


def _onnx() -> tuple[Any, Any, Any]:
    try:
        from onnx import checker, helper, numpy_helper
    except ImportError:
        raise _missing("onnx") from None
    return helper, numpy_helper, checker


def _missing(package: str) -> ImportError:
    return ImportError(f"This needs {package}, which is not installed: pip install anmin[onnx].")
