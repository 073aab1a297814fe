"""What must hold of the outcome of every study."""

from __future__ import annotations

import io
import math

from PIL import Image

from anmin.lab.study import Study
from anmin.lab.study_page import VERDICTS


def check_study(study: Study, name: str, n_pictures: int) -> dict[str, str]:
    """Check texts, tables and pictures of a study, and return the verdicts by the first words of the claims."""
    assert study.name == name
    assert study.title
    assert study.summary
    assert study.claims
    for claim in study.claims:
        assert claim.verdict in VERDICTS
        for text in (claim.claim, claim.source, claim.measured):
            assert text
            assert "nan" not in text.lower().split()
    for table in study.tables:
        assert table.rows
        for row in table.rows:
            assert all(isinstance(cell, str) or math.isfinite(cell) for cell in row), row
    assert len(study.pictures) == n_pictures
    for picture in study.pictures:
        with Image.open(io.BytesIO(picture.content)) as image:
            assert image.size[0] >= 500
    return {claim.claim: claim.verdict for claim in study.claims}
