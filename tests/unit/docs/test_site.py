"""The website's own modules: links, diagrams, descriptions of pictures, the API page."""

import ast
import base64
import doctest
import hashlib
import inspect
import json
import re

import pytest

from course_site import api, diagrams, links, notebooks, pages
from course_site.links import Site, pictures, relink
from course_site.stage import add_demo, may_be_replaced
from utils.config import ROOT
from utils.evaluation import segmentation

SITE = Site(pages.pages(ROOT))
WITH_FILES = Site(SITE.pages, "https://github.com/o/r/blob/main/")


def notebook(*cells):
    return json.dumps({"cells": cells})


def shown(**data):
    alts = {"image/png": {"alt": "a bright spot"}} if "image/png" in data else {}
    return {"output_type": "display_data", "data": data, "metadata": alts}


@pytest.mark.parametrize("module", [api, diagrams, links, pages], ids=lambda each: each.__name__)
def test_the_examples_show_what_comes_out(module):
    result = doctest.testmod(module)
    assert result.failed == 0
    assert result.attempted > 0


@pytest.mark.parametrize(
    ("text", "source", "expected"),
    [
        ("[a](../docs/glossary.md#dice)", "notebooks/02_detect.ipynb", "[a](../glossary.md#dice)"),
        ("[a](01_explore.ipynb)", "notebooks/02_detect.ipynb", "[a](01_explore.ipynb)"),
        ("[a](notebooks/01_explore.ipynb)", "CONTRIBUTING.md", "[a](notebooks/01_explore.ipynb)"),
        ("[a](../README.md)", "docs/instructors.md", "[a](index.md)"),
        ("[a](../README.md#predict)", "docs/instructors.md", "[a](index.md)"),
        ("[a](#dice)", "docs/glossary.md", "[a](#dice)"),
        ("[a](#What-it-was)", "notebooks/02_detect.ipynb", "[a](#what-it-was)"),
        ("[a](https://keras.io)", "docs/glossary.md", "[a](https://keras.io)"),
        ("![a](simulated_slices.png)", "data/README.md", "![a](data/simulated_slices.png)"),
        ("`[a](LICENSE)`", "CONTRIBUTING.md", "`[a](LICENSE)`"),
        ("```\n[a](LICENSE)\n```", "CONTRIBUTING.md", "```\n[a](LICENSE)\n```"),
    ],
)
def test_a_link_between_pages_is_turned_and_nothing_else_is(text, source, expected):
    assert relink(text, source, SITE) == expected


def test_a_link_to_a_file_that_is_no_page_needs_an_address_of_the_repository():
    text = "see [the licence](../LICENSE)."
    assert relink(text, "docs/instructors.md", SITE) == "see the licence."
    turned = relink(text, "docs/instructors.md", WITH_FILES)
    assert turned == "see [the licence](https://github.com/o/r/blob/main/LICENSE)."


def test_pictures_of_a_page_are_named_by_where_they_lie():
    text = "![a](b.png) [c](d.md) ![e](https://f.org/g.png) `![h](i.png)`"
    assert pictures(text, "data/README.md") == ["data/b.png"]


def test_all_notebooks_are_pages():
    names = [name for name in SITE.pages.values() if name.startswith("notebooks/")]
    assert len(names) == 8
    assert len(set(SITE.pages.values())) == len(SITE.pages)


def test_the_text_of_a_notebook_is_changed_and_its_code_is_not():
    text = {"cell_type": "markdown", "source": ["a\n", "b"]}
    code = {"cell_type": "code", "source": "c", "outputs": [shown(**{"text/markdown": "d"})]}
    changed = json.loads(notebooks.with_texts(notebook(text, code), str.upper))["cells"]
    assert changed[0]["source"] == "A\nB"
    assert changed[1]["source"] == "c"
    assert changed[1]["outputs"][0]["data"]["text/markdown"] == "D"


def test_each_of_two_pictures_of_a_cell_has_its_own_description():
    contents = [b"one", b"two"]
    outputs = [shown(**{"image/png": base64.b64encode(each).decode()}) for each in contents]
    outputs[1]["metadata"]["image/png"]["alt"] = "a dark spot"
    alts = notebooks.alt_texts(notebook({"cell_type": "code", "source": "", "outputs": outputs}))
    names = [f"/somewhere/{hashlib.sha256(each).hexdigest()}.png" for each in contents]
    assert [notebooks.described(name, alts) for name in names] == ["a bright spot", "a dark spot"]
    assert notebooks.described("other.png", alts) is None


def test_text_around_a_diagram_stays():
    text = "before\n\n```mermaid\ngraph LR\n    a --> b\n```\n\nafter"
    expected = "before\n\n| From | Arrows to |\n| --- | --- |\n| `a` | `b` |\n\nafter"
    assert diagrams.without_diagrams(text) == expected


def test_signatures_and_docstrings_are_those_that_python_has():
    _, functions = api.read_module(ROOT, "utils.evaluation.segmentation")
    for name in ("dice", "hd95", "patient_table"):
        function = getattr(segmentation, name)
        assert functions[name].docstring == inspect.getdoc(function)
        written = ast.parse(f"def {functions[name].signature}: pass").body[0].args
        names = [each.arg for each in (*written.posonlyargs, *written.args, *written.kwonlyargs)]
        assert names == list(inspect.signature(function).parameters)


def test_the_api_page_has_every_function_that_students_meet_and_every_exercise():
    page = api.page(ROOT, str)
    listed = [name for names in api.students_functions(ROOT).values() for name in names]
    assert len(listed) >= 40
    assert [name for name in listed if f".. py:function:: {name}(" not in page] == []
    found = api.exercises(ROOT)
    assert len(found) >= 50
    assert all(heading.startswith("Exercise ") for _, heading, _ in found)


def test_bars_and_plurals_are_escaped_outside_examples_only():
    text = "|a| of `b`s\n\n>>> c | d\n| e |\n\n|f|"
    assert api.escaped(text) == "\\|a\\| of `b`\\ s\n\n>>> c | d\n| e |\n\n\\|f\\|"


def test_only_a_folder_that_holds_a_site_or_nothing_is_replaced(tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "index.html").touch()
    (tmp_path / "site").mkdir()
    (tmp_path / "empty").mkdir()
    (tmp_path / "site" / "objects.inv").touch()  # which Sphinx writes
    expected = {"thesis": False, "thesis/index.html": False} | dict.fromkeys(
        ("site", "empty", "not there"), True
    )
    assert {name: may_be_replaced(tmp_path / name) for name in expected} == expected


def test_a_demo_whose_building_was_cut_off_is_not_put_into_the_site(tmp_path):
    built = tmp_path / "runs" / "demo"
    built.mkdir(parents=True)
    (built / "index.html").touch()
    (built / "sizes.json").write_text("{}\n")  # so until all is there
    assert not add_demo(tmp_path, tmp_path / "site", ROOT / pages.HERE)
    assert "make demo site" in (tmp_path / "site" / "demo" / "index.html").read_text()


def test_a_missing_demo_is_a_page_that_says_how_to_build_it(tmp_path):
    assert not add_demo(tmp_path / "no course", tmp_path / "site", ROOT / pages.HERE)
    assert "make demo site" in (tmp_path / "site" / "demo" / "index.html").read_text("utf-8")


def test_a_demo_that_was_built_is_copied_whole(tmp_path):
    built = tmp_path / "runs" / "demo"
    built.mkdir(parents=True)
    (built / "index.html").write_text("demo", encoding="utf-8")
    (built / "sizes.json").write_text('{"first": 1}', encoding="utf-8")
    assert add_demo(tmp_path, tmp_path / "site", ROOT / pages.HERE)
    copied = tmp_path / "site" / "demo"
    assert sorted(path.name for path in copied.iterdir()) == ["index.html", "sizes.json"]


def test_the_locks_pin_with_hashes_and_name_no_index():
    lock = (ROOT / "requirements-site.lock").read_text(encoding="utf-8")
    wanted = (ROOT / pages.HERE / "requirements.in").read_text(encoding="utf-8").splitlines()
    assert [each for each in wanted if "==" in each and f"\n{each} " not in f"\n{lock}"] == []
    assert not re.search(r"https?:|--(extra-)?index-url|--find-links", lock)
    packages = json.loads((ROOT / pages.HERE / "package-lock.json").read_text("utf-8"))["packages"]
    installed = {name: each for name, each in packages.items() if name}
    assert all(each["integrity"].startswith("sha512-") for each in installed.values())
    assert not any("resolved" in each for each in installed.values())
