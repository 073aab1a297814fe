"""Studies on paper: files of one study, and one HTML page of many with an index."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from anmin.atomic import written_atomically
from anmin.inspection.page import section, table, write_page
from anmin.json_values import as_json_value
from anmin.lab.results import environment
from anmin.lab.study import Claim, Picture, Study, Verdict

VERDICTS: tuple[Verdict, ...] = ("agrees", "differs", "not seen at this scale")


def write_study(folder: Path, study: Study, seconds: float, quick: bool) -> list[Path]:
    """Write NAME.json, with claims, tables and settings, and a file for each picture; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{study.name}.json"
    document = {**study.document(), "quick": quick, "seconds": round(seconds, 1), "environment": environment()}
    with written_atomically(path) as temporary:
        temporary.write_text(
            json.dumps(as_json_value(document), indent=1, ensure_ascii=False, allow_nan=False) + "\n", "utf-8"
        )
    paths = [path]
    for picture in study.pictures:
        path = folder / f"{study.name}-{picture.name}.{picture.kind}"
        with written_atomically(path) as temporary:
            temporary.write_bytes(picture.content)
        paths.append(path)
    return paths


def write_studies(
    path: Path, studies: Sequence[Study], seconds: Mapping[str, float], failures: Mapping[str, str], quick: bool
) -> None:
    """Write one page: an index with all verdicts, then the claims, tables and pictures of each study.

    Parameters
    ----------
    path : Path
    studies : sequence of Study
    seconds : mapping
        What each took, by name.
    failures : mapping
        Why a study did not end, by name.
    quick : bool
        Said on the page, since quick runs are small.
    """
    counts = {verdict: sum(c.verdict == verdict for s in studies for c in s.claims) for verdict in VERDICTS}
    lead = "What the source papers claim, beside what was measured here. Every verdict is computed from the figures."
    if quick:
        lead += " These are quick runs, of few seeds and small sizes."
    index = "".join(
        f'<tr><th><a href="#{html.escape(s.name)}">{html.escape(s.title)}</a></th>'
        + "".join(f"<td>{sum(c.verdict == verdict for c in s.claims)}</td>" for verdict in VERDICTS)
        + f"<td>{seconds[s.name]:.1f}</td></tr>"
        for s in studies
    )
    heads = "".join(f"<th>{html.escape(name)}</th>" for name in ("study", *VERDICTS, "seconds"))
    sections = [
        section("Index", f"<table><thead><tr>{heads}</tr></thead><tbody>{index}</tbody></table>"),
        *(section(f"{name} did not run", f"<p>{html.escape(why)}</p>") for name, why in failures.items()),
        *(_study(s) for s in studies),
    ]
    write_page(
        path,
        title="The lab",
        lead=lead,
        tiles=[(str(len(studies)), "studies"), *((str(counts[verdict]), verdict) for verdict in VERDICTS)],
        sections=sections,
    )


def _study(study: Study) -> str:
    claims = "".join(_claim(c) for c in study.claims)
    tables = "".join(
        f"<h3>{html.escape(t.title)}</h3>{table(t.texts(), t.columns)}"
        + (f'<p class="note">{html.escape(t.note)}</p>' if t.note else "")
        for t in study.tables
    )
    pictures = "".join(_picture(p) for p in study.pictures)
    settings = "; ".join(f"{key} {value}" for key, value in study.settings.items())
    content = claims + pictures + tables
    return f'<a id="{html.escape(study.name)}"></a>' + section(
        f"{study.title} ({study.name})", f"<p>{html.escape(study.summary)}</p>{content}", settings
    )


def _claim(claim: Claim) -> str:
    return (
        f'<div class="claim"><p class="verdict {claim.verdict.split()[0]}">{html.escape(claim.verdict)}</p>'
        f'<p>{html.escape(claim.claim)}</p><p class="source">{html.escape(claim.source)}</p>'
        f"<p>Measured: {html.escape(claim.measured)}</p></div>"
    )


def _picture(picture: Picture) -> str:
    encoded = base64.b64encode(picture.content).decode("ascii")
    return (
        f'<figure><img src="data:image/{picture.kind};base64,{encoded}" '
        f'alt="{html.escape(picture.title, quote=True)}"></figure>'
    )
