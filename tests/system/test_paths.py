"""Where the package, the repository, its state and its figures are found."""

import subprocess
import sys

import pytest

from allatt.config import AllattError
from allatt.system import paths


def test_the_package_lies_in_the_repository():
    assert (paths.PACKAGE / "model.py").is_file() and (paths.PACKAGE / "system" / "paths.py").is_file()
    assert paths.repository() == paths.PACKAGE.parent and (paths.repository() / "notebooks").is_dir()


def test_state_and_figures_lie_in_the_repository_from_any_folder(monkeypatch, tmp_path):
    for name in ("ALLATT_HOME", "ALLATT_FIGURES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    assert paths.home() == paths.PACKAGE.parent / ".allatt"
    assert paths.figures() == paths.PACKAGE.parent / "figures"


def test_state_and_figures_can_be_put_elsewhere(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("ALLATT_HOME", "~/state")
    monkeypatch.setenv("ALLATT_FIGURES", str(tmp_path / "a" / ".." / "pictures"))
    assert paths.home() == (tmp_path / "state").resolve() and paths.figures() == (tmp_path / "pictures").resolve()


def test_a_name_with_a_nul_is_one_clear_line():
    with pytest.raises(AllattError, match="has a NUL, which no name can have"):
        paths.absolute("a\0b")


def test_without_a_repository_the_current_folder_counts(tmp_path):
    """As for a package that was installed from a wheel."""
    installed = tmp_path / "site" / "allatt" / "system"
    installed.mkdir(parents=True)
    for path in (paths.PACKAGE / "__init__.py", *(paths.PACKAGE / "system").glob("*.py")):
        (tmp_path / "site" / "allatt" / path.relative_to(paths.PACKAGE)).write_text(path.read_text())
    code = "from allatt.system import paths; print(paths.PACKAGE, paths.home(), paths.figures(), sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True,
                          env={"PYTHONPATH": str(tmp_path / "site")}, check=True)
    here = tmp_path.resolve()
    assert done.stdout.split() == [str(here / "site" / "allatt"), str(here / ".allatt"), str(here / "figures")]
