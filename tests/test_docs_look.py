"""docs/embedding.md lists what a page can style, and shows every element."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "embedding.md").read_text()
SOURCES = "\n".join(path.read_text() for path in sorted((ROOT / "web" / "src").rglob("*.ts")))
LOOK = TEXT.partition("## Its look")[2].partition("\n## ")[0]


def listed(pattern: str) -> set[str]:
    rows = [line.split("|")[1] for line in LOOK.splitlines() if line.startswith("| `")]
    return {name for row in rows for name in re.findall(pattern, row)}


def test_every_custom_property_is_documented_and_none_that_does_not_exist():
    assert listed(r"`(--nealytics-[a-z0-9-]+)`") == set(re.findall(r"var\((--nealytics-[a-z0-9-]+)", SOURCES))


def test_every_part_is_documented_and_none_that_does_not_exist():
    parts = re.findall(r'\bpart="([a-z-]+)"', SOURCES)
    buttons = re.findall(r'\bmenus\.menu\("([a-z-]+)"', SOURCES)  # of the dashboard's menus
    assert len(buttons) == 4
    assert listed(r"`([a-z][a-z-]*)`") == {*parts, *buttons}


def test_the_defaults_of_the_colours_are_those_of_the_style_sheet():
    for name in ("accent", "accent-contrast", "sheet"):
        (light, dark) = re.findall(rf"--nealytics-{name}, light-dark\((#\w+), (#\w+)\)", SOURCES)[0]
        assert f"| `{light}`, `{dark}` |" in LOOK, name


def test_the_gallery_shows_every_element_light_and_dark_in_files_that_load_fast():
    elements = set(re.findall(r'"nealytics-([a-z]+)": Nealytics', SOURCES))
    assert elements
    pictures = {path.name: path.stat().st_size for path in (ROOT / "docs" / "images").iterdir()}
    for element in elements:
        for scheme in ("light", "dark"):
            assert f"(images/{element}-{scheme}.webp)" in TEXT
            assert f"{element}-{scheme}.webp" in pictures
    assert sum(pictures.values()) < 1_500_000


def test_the_readme_begins_with_the_picture_and_the_lines_that_put_it_on_a_page():
    readme = (ROOT / "README.md").read_text()
    picture, lines, start = (
        readme.index(text) for text in ("<picture>", "<nealytics-dashboard>", "## Quickstart")
    )
    assert picture < lines < start
    assert readme[:picture].count("\n") < 8
    for image in re.findall(r'(?:src|srcset)="(docs/[^"]+)"', readme):
        assert (ROOT / image).exists(), image
