"""Versions, hardware and commit of a result."""

import subprocess

import torch

import allatt
from allatt.runs.provenance import provenance
from allatt.system.paths import repository


def test_it_says_what_ran_where(monkeypatch):
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.hugetlb=1")
    record = provenance()
    assert record["versions"]["torch"] == torch.__version__ and record["versions"]["allatt"] == allatt.__version__
    assert record["hardware"] and record["threads"] == torch.get_num_threads() and record["device"] == "cpu"
    assert record["tunables"] == "glibc.malloc.hugetlb=1"


def test_the_commit_is_that_of_the_repository_from_any_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    head = subprocess.run(["git", "-C", str(repository()), "rev-parse", "HEAD"], capture_output=True, text=True)
    expected = head.stdout.strip() if head.returncode == 0 else "not a git checkout"
    assert provenance()["commit"] == expected


def test_without_git_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setattr("allatt.runs.provenance.repository", lambda: tmp_path)
    record = provenance()
    assert record["commit"] == "not a git checkout" and not record["uncommitted_changes"]
