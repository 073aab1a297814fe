"""Source text from names that may hold anything: identifiers, comments and numbers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

_LONGEST_IDENTIFIER = 31  # what C99 promises to tell apart in every program
_LONGEST_COMMENT = 60
# Words of C99, C++ (a header may be included there), GLSL ES and JavaScript, functions that they bring along,
# and at the end the variables of what is written here.
_WORDS = """
    abort abs acos active all and any arguments asin asm atan atof atoi atol attribute auto await bool boolean break
    buffer byte calloc case cast catch ceil centroid char clamp class common compl const continue cos cosh cross
    debugger default degrees delete determinant discard distance div do dot double else enum equal eval exit exp export
    extends extern external fabs false filter final finally fixed flat float floor fma fmax fmin fmod for fract free
    frexp friend function getchar getenv gets goto half highp if implements import in infinity inline inout input
    instanceof int interface invariant inverse isinf isnan labs layout ldexp length let log long lowp main malloc mat2
    mat3 mat4 math max mediump memcpy memset min mix mod modf mutable namespace nan new noinline normalize not null
    operator or out output outerproduct package packed partition pow precision printf private protected public putchar
    puts qsort radians rand realloc reflect refract register remove rename resource restrict return round sampler
    scanf short sign signed sin sinh sizeof smooth smoothstep sqrt srand static step strcmp strcpy strlen struct
    subroutine super superp switch system tan tanh template texture this throw time tolower toupper transpose true
    trunc try typedef typeid typename typeof undefined uniform union unsigned using var varying vec2 vec3 vec4 virtual
    void volatile while with xor yield
    i j k p t value x y
"""
_RESERVED = frozenset(_WORDS.split())


def identifier(text: str, default: str = "anmin") -> str:
    """Return a name that is valid in C99, GLSL and JavaScript: of ASCII letters, digits and single underscores.

    Anything else becomes an underscore, words of the languages get one at the end, and text without a letter gives
    ``default``.

    Examples
    --------
    >>> identifier("../../net size; rm -rf")
    'net_size_rm_rf'
    >>> identifier("double")
    'double_net'
    """
    # Two underscores in a row, and gl_ in front, belong to GLSL; an underscore in front belongs to C.
    name = re.sub(r"[^A-Za-z0-9]+", "_", text).strip("_")
    name = re.sub(r"^[0-9_]+", "", name)[:_LONGEST_IDENTIFIER].strip("_")
    if not name:
        return default
    if name.lower() in _RESERVED or name.startswith("gl_"):
        name = f"{name.removeprefix('gl_')}_net"
    return name


def comment(text: str) -> str:
    """Return text that cannot end, open or continue a comment, on one line of at most 60 characters of ASCII.

    Without stars, backslashes and question marks there is no end of a comment, no continued line and no trigraph.

    Examples
    --------
    >>> comment("speed */ system(1); \\\\\\n km/h")
    'speed _/ system(1); _ km/h'
    """
    printable = re.sub(r"[^A-Za-z0-9 _.,:;+\-()\[\]=<>%'/]", "_", " ".join(text.split()))
    # // within a comment of C is fine, but not all compilers are silent about it.
    return re.sub(r"/(?=/)", "/ ", printable)[:_LONGEST_COMMENT].rstrip()


def described(names: Sequence[str] | None, count: int, kind: str, default: str) -> list[str]:
    """Return one line for each input or output, as comments: its number and its name."""
    shown = [default] * count if names is None else [comment(name) or "(no name)" for name in names]
    return [f"{kind}[{k}]: {name}" for k, name in enumerate(shown)]


def sizes(n_features: int, n_neurons: int, n_outputs: int, negative_slope: float) -> str:
    """Return the sizes of a network in words, for a comment."""
    counts = ((n_features, "input"), (n_neurons, "neuron"), (n_outputs, "output"))
    words = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts]
    return ", ".join([*words, f"negative slope {negative_slope:g}"])


def literal(value: float, *, single: bool) -> str:
    """Return a number as source text that reads back as the same float32 (``single``) or float64, with a point."""
    text = np.format_float_scientific(np.float32(value), unique=True) if single else repr(float(value))
    if "e" in text:
        mantissa, exponent = text.split("e")
        # A mantissa such as 1. is C and GLSL, but easy to misread.
        mantissa = mantissa if "." in mantissa else mantissa + ".0"
        mantissa += "0" if mantissa.endswith(".") else ""
        power = int(exponent)
        if -4 <= power <= 7:
            plain = np.format_float_positional(np.float32(value) if single else np.float64(value), unique=True)
            return plain + "0" if plain.endswith(".") else plain
        return f"{mantissa}e{power}"
    return text


def wrapped(items: Sequence[str], indent: str, width: int = 100) -> str:
    """Return items with commas between, in lines of at most about ``width`` characters."""
    lines, line = [], indent
    for k, item in enumerate(items):
        piece = item + ("," if k + 1 < len(items) else "")
        if len(line) + len(piece) + 1 > width and line.strip():
            lines.append(line.rstrip())
            line = indent
        line += piece + " "
    return "\n".join([*lines, line.rstrip()])
