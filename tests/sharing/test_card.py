"""The model card, its metadata for hubs, and config.json: what a stranger learns of a model without loading it."""

import json

import pytest
import yaml

from allatt.config import ModelConfig
from allatt.config_json import from_dict
from allatt.sharing import card, saved


def metadata(folder) -> dict:
    """The YAML between the first two lines `---` of the card."""
    begin, header, _ = (folder / "README.md").read_text().split("---\n", 2)
    assert begin == ""
    return yaml.safe_load(header)


def test_the_card_says_what_the_model_is(run, tmp_path):
    folder = saved.save(run, tmp_path / "out")
    card, test = (folder / "README.md").read_text(), run.result["test"]
    heads = run.result["heads"]
    assert f"{heads['total']} of\n4 attention heads ({' '.join(map(str, heads['per_layer']))} by layer)" in card
    names = ("perplexity", "word_perplexity", "bits_per_byte")
    numbers = (f"{test['tokens']:,}", *(f"{test[name]:.{digits}f}" for name, digits in zip(names, (2, 2, 3), strict=True)))
    assert f"| test | {' | '.join(numbers)} |" in card
    assert "segment 8, memory 8, rows 4, same length True, precision fp32" in card
    assert run.id in card and "unknown: it is your own text" in card and str(tmp_path) not in card
    assert "(CC0), as" in (saved.save(run, tmp_path / "more", "CC0") / "README.md").read_text()


def test_hubs_read_the_results_with_their_protocol(one_run, tmp_path):
    from huggingface_hub import metadata_load

    folder = saved.save(one_run, tmp_path / "out")
    about = metadata(folder)
    assert about == metadata_load(folder / "README.md") and about["library_name"] == "allatt"
    results = {result["dataset"]["split"]: result["metrics"] for result in about["model-index"][0]["results"]}
    assert results.keys() == {"valid", "test"}
    for split, (per_token, per_word, bits) in results.items():
        expected = one_run.result[split]
        assert per_token["value"] == pytest.approx(expected["perplexity"], rel=1e-3)
        assert "segment 8, memory 8" in per_token["name"] and per_word["name"] == "per word"
        assert per_word["value"] == pytest.approx(expected["word_perplexity"], rel=1e-3)
        assert bits["value"] == pytest.approx(expected["bits_per_byte"], rel=1e-3)


def test_a_text_may_have_any_name(one_run, tmp_path):
    """JSON is YAML only as long as no character is written as two halves."""
    about = json.loads((saved.save(one_run, tmp_path / "out") / "about.json").read_text())
    about["text"]["name"] = "\U00020bb7 \U0001f600 é \"quoted\": #"
    header = yaml.safe_load(card._metadata(about).strip().strip("-"))
    assert header["model-index"][0]["results"][0]["dataset"]["type"] == about["text"]["name"]


@pytest.mark.parametrize("given, named", [("CC0", "cc0-1.0"), ("Wikipedia, CC BY-SA 3.0", "cc-by-sa-3.0"), ("", None),
                                          ("all rights reserved", None), ("CC0 for the first page", None)])
def test_hubs_are_told_a_license_only_if_it_is_known(one_run, tmp_path, given, named):
    assert metadata(saved.save(one_run, tmp_path / "out", given)).get("license") == named


def test_unknown_tokens_are_a_share_and_what_was_not_counted_is_not_zero(one_run, tmp_path):
    about = json.loads((saved.save(one_run, tmp_path / "out") / "about.json").read_text())
    model = saved.load(tmp_path / "out").model
    about["result"]["test"]["unknown"] = 0.0115
    del about["result"]["valid"]["unknown"]
    lines = card.card(about, model).splitlines()
    assert [line.split(" | ")[-1] for line in lines if line.startswith(("| valid", "| test"))] == ["not counted |", "1.15% |"]


@pytest.mark.parametrize("license", ["CC0\n\n# Not a part\n\x1b[31m of the card", "CC0\r\x0c\u2028# Not a part",
                                     "CC0\n---\nlicense: mit"])
def test_the_license_is_one_line_of_the_card_and_no_metadata(one_run, tmp_path, license):
    folder = saved.save(one_run, tmp_path / "out", license)
    lines = (folder / "README.md").read_text().splitlines()
    assert [line for line in lines if line.startswith("#")] == [f"# {one_run.config.name}", "## Text", "## Limits"]
    line, = (line for line in lines if "CC0" in line)
    assert "(CC0 " in line and line.isprintable()
    assert json.loads((folder / "about.json").read_text())["text"]["license"].isprintable()
    assert "license" not in metadata(folder) and lines.count("---") == 2


def test_config_json_has_the_shape_of_the_weights(run, tmp_path):
    folder = saved.save(run, tmp_path / "out")
    shape, model = json.loads((folder / "config.json").read_text()), saved.load(folder).model
    assert shape["model_type"] == "allatt" and from_dict(ModelConfig, shape["model"]) == model.config
    assert shape["heads_per_layer"] == list(model.config.heads_per_layer) == run.result["heads"]["per_layer"]
    assert (shape["vocab_size"], shape["hidden_size"], shape["num_hidden_layers"]) == (model.vocab, 8, 2)
