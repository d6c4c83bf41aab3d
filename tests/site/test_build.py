"""What the site is made of: the copy of the pages that Sphinx reads. Sphinx itself and a browser are `make site-test`."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from allatt.system.paths import repository

ROOT = repository()
SITE = ROOT / "notebooks" / "site"
spec = importlib.util.spec_from_file_location("build_site", SITE / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)
PAGE = Path("notebooks/README.md")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    source = build.Source(tmp_path_factory.mktemp("site") / "source")
    source.write()
    return source


@pytest.mark.parametrize("written, becomes", [
    ("[start](https://example.org/a)", "[start](https://example.org/a)"),
    ("[here](#place)", "[here](#place)"),
    ("[04](04_gates.ipynb)", "[04](04_gates.ipynb)"),
    ("[how](../README.md#two-commands)", "[how](../README.md#two-commands)"),
    ("[clouds](cloud)", "[clouds](cloud/README.md)"),
    ("[runs](../figures/overnight/runs)", "runs (`figures/overnight/runs`)"),
    ("[`figures/overnight/runs/`](../figures/overnight/runs)", "`figures/overnight/runs/`"),
    ("[scales](../allatt/paper/scales.py)", "{download}`scales <../allatt/paper/scales.py>`"),
    ("![a picture](../figures/laptop/01_layers.png)", "![a picture](../figures/laptop/01_layers.png)"),
    ("[![a picture](../figures/laptop/01_layers.png)](04_gates.ipynb)",
     "[![a picture](../figures/laptop/01_layers.png)](04_gates.ipynb)"),
    ("[play](site/heads.html)", '<a href="site/heads.html">play</a>'),
    ("a\n\n```mermaid\ngraph LR\n```\n\nb", "a\n\nb"),
])
def test_what_becomes_of_a_link(source, written, becomes):
    assert source.markdown(PAGE, written) == becomes
    if "download" in becomes or becomes.startswith("!["):
        target = re.search(r"[(<](\.\./[^)>]+)[)>]", becomes).group(1)
        copied, original = ((folder / "notebooks" / target).resolve() for folder in (source.folder, ROOT))
        assert copied.read_bytes() == original.read_bytes()


def test_a_link_that_leads_nowhere_stops_the_site(source):
    with pytest.raises(SystemExit, match=r"notebooks/README.md: the link to ../figures/none.png leads nowhere; mend it"):
        source.markdown(PAGE, "[none](../figures/none.png)")


def test_links_of_an_output_are_html_and_figures_of_smoke_are_words(source):
    text = ("[11](../notebooks/11_controls.ipynb), [figure](../figures/smoke/11_rivals.png), "
            "[paper](https://arxiv.org/abs/2110.03252)")
    assert source.output(Path("notebooks/10_the_claims.ipynb"), text) \
        == '<a href="11_controls.html">11</a>, figure, [paper](https://arxiv.org/abs/2110.03252)'


def test_all_pages_are_there_with_nothing_else_changed(source):
    for page in build.pages():
        assert (source.folder / page).is_file() and "smoke" not in str(page)
        if page.suffix == ".ipynb":
            before, after = (json.loads((folder / page).read_text())["cells"] for folder in (ROOT, source.folder))
            assert [cell["id"] for cell in before] == [cell["id"] for cell in after]
            for cell in before:
                alts = [output["metadata"]["image/png"]["alt"] for output in cell.get("outputs", ())
                        if "image/png" in output.get("data", {})]
                copy = next(other for other in after if other["id"] == cell["id"])
                assert not alts or copy["metadata"]["mystnb"]["image"]["alt"] == alts[-1]
            assert [cell["source"] for cell in before if cell["cell_type"] == "code"] \
                == [cell["source"] for cell in after if cell["cell_type"] == "code"]
    assert (source.folder / "_extra" / build.INTERACTIVE).read_bytes() == (ROOT / build.INTERACTIVE).read_bytes()


def test_formulas_keep_their_marks_and_images_open_by_themselves():
    spec = importlib.util.spec_from_file_location("site_settings", SITE / "conf.py")
    conf = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(conf)
    short, long = (f'<span class="math notranslate nohighlight">{text}</span>' for text in ("\\(M + 1\\)", "x" * 99))
    image = '<img alt="a figure" src="_images/a.png" />'
    context = {"body": f'<p>({short}), {short} and {long}.</p>{image}<a href="b.png">{image}</a>'}
    conf.improve(None, "page", "page.html", context, None)
    assert context["body"] == (
        f'<p><span class="together">({short}),</span> {short} and {long}.</p>'
        f'<a class="figure-itself" href="_images/a.png">{image}</a><a href="b.png">{image}</a>')


def test_every_page_has_a_place_in_the_contents(source):
    lines = (SITE / "index.md").read_text().splitlines()
    patterns = [line for line in lines if re.fullmatch(r"[\w/.*\[\]-]+", line) and "```" not in line]
    listed = [page for pattern in patterns for page in source.folder.glob(f"{pattern}.*") if page.suffix in (".md", ".ipynb")]
    assert sorted(page.relative_to(source.folder) for page in listed) == sorted(build.pages())


def test_without_the_sites_packages_it_is_one_line(tmp_path):
    (tmp_path / "myst_nb.py").write_text("raise ImportError")
    done = subprocess.run([sys.executable, SITE / "build.py", "--out", tmp_path / "out"], capture_output=True, text=True,
                          env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr == "allatt: the site's packages are not installed; run `make site`, which installs them\n"


def test_what_is_installed_is_pinned_and_leaves_the_locked_packages_alone():
    text = (SITE / "requirements.txt").read_text()
    names = set(re.findall(r"^([A-Za-z0-9_.-]+)==\S+ \\$", text, re.MULTILINE))
    locked = set(re.findall(r"^([A-Za-z0-9_.-]+)==", (ROOT / "requirements.lock.txt").read_text(), re.MULTILINE))
    normal = [{re.sub(r"[-_.]+", "-", name).lower() for name in group} for group in (names, locked)]
    assert {"sphinx", "myst-nb", "sphinx-book-theme", "sphinx-mathjax-offline"} <= normal[0] and not normal[0] & normal[1]
    assert text.count("==") == len(names), "every one with checksums"


def test_pages_are_published_as_make_renders_them():
    steps = yaml.safe_load((ROOT / ".github" / "workflows" / "pages.yml").read_text())["jobs"]["site"]["steps"]
    assert {"run": "make site-test"} in steps
    upload = next(step for step in steps if step.get("uses", "").startswith("actions/upload-pages-artifact"))
    assert upload["with"]["path"] == "notebooks/site/build/html"
