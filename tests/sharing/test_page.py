"""The page: its program, run in Node, computes what torch does; its numbers are the pruned model's; nothing breaks out."""

import base64
import copy
import hashlib
import json
import math
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import torch
from small_text import SMALL

from allatt.config import KINDS, AllattError, ModelConfig
from allatt.data.corpora import locate
from allatt.data.tokenizers import Characters, Subwords, Words
from allatt.data.wikitext_format import tokenize
from allatt.data.word_counts import split_words
from allatt.generate import generate
from allatt.model import LanguageModel
from allatt.prune import remove
from allatt.sharing import page as module
from allatt.sharing import saved
from allatt.sharing.page import LARGEST, PARTS, TEXT, first_text, page, write_page
from allatt.system.paths import repository

TRAINED = repository() / "figures" / "overnight" / "models"
WORDS = ["<eos>", "<unk>", *(f"word{i}" for i in range(38))]
ABOUT = {"run": "0123456789ab", "name": "a small model", "tokens": "words", "text": {"name": "a text"}, "result": {}}
LENGTH = 30
"""Tokens of a text, several times the memory of the small models."""
CHANGES = {"all": {}, "some": {"kept": ((1,), (0, 1))}, "none in a layer": {"kept": ((0, 1), ())}, "no memory": {"memory": 0},
           "long table": {"positions": 20, "memory": 3}}
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="there is no node here, which runs the page's program")


class Parts(HTMLParser):
    """The scripts of a page, in order, what attributes ask for, and the tags."""

    def __init__(self, content: str):
        super().__init__(convert_charrefs=True)
        self.scripts, self.tags, self.open = [], [], False
        self.feed(content)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.open = tag == "script"
        if self.open:
            self.scripts.append("")

    def handle_endtag(self, tag):
        self.open = False

    def handle_data(self, data):
        if self.open:
            self.scripts[-1] += data


def model_of(kind: str, **changes) -> LanguageModel:
    """A random model whose every weight matters: what starts as zeros is drawn, too, and half of the embeddings are so small
    that LayerNorm's epsilon is seen."""
    torch.manual_seed(0)
    model = LanguageModel(ModelConfig(kind, **(SMALL | changes)), len(WORDS))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        model.softmax.tables[0][:len(WORDS) // 2] *= 0.004
    return model.eval()


def opened(model: LanguageModel, vocabulary=None, **about) -> saved.Saved:
    return saved.Saved(model, vocabulary or Words(WORDS), ABOUT | about)


def halved(model: LanguageModel) -> LanguageModel:
    """The model with the weights that a page has."""
    return copy.deepcopy(model).half().float()


def put(content: str, folder: Path, *broken: tuple[str, str]) -> Path:
    """What Node runs, taken out of a page; `broken` replaces something in model.js."""
    data, model_js, text_js, *_ = Parts(content).scripts
    for before, after in broken:
        assert model_js.count(before) == 1, f"{before} is not in model.js once"
        model_js = model_js.replace(before, after)
    for name, part in (("data.json", data), ("model.js", model_js), ("text.js", text_js)):
        (folder / name).write_text(part, encoding="utf-8")
    return folder


def node(folder: Path, **ask) -> dict:
    script = Path(__file__).with_name("page_in_node.js")
    done = subprocess.run(["node", script, folder], input=json.dumps(ask), capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def draw_ids(model: LanguageModel, length: int = LENGTH) -> list[int]:
    return torch.randint(model.vocab, (length,), generator=torch.Generator().manual_seed(1)).tolist()


@torch.no_grad()
def log_probs(model: LanguageModel, ids: list[int]) -> torch.Tensor:
    """By the equations (the reference path), in segments with the hidden states of earlier ones: as the model was trained."""
    model.path, memory, found = "reference", model.empty_memory(1), []
    for segment in torch.tensor([ids]).split(model.config.segment, dim=1):
        hidden, memory = model(segment, memory)
        found.append(model.softmax.log_probs(hidden)[0])
    return torch.cat(found)


def loss(model: LanguageModel, ids: list[int]) -> float:
    return -float(log_probs(model, ids)[:-1].gather(1, torch.tensor(ids[1:])[:, None]).mean())


def mask(kept, heads: int) -> list[list[bool]]:
    return [[head in layer for head in range(heads)] for layer in kept]


def difference(answer: dict, expected: torch.Tensor) -> float:
    return float((torch.tensor(answer["logs"]) - expected).abs().max())


# The program computes what the model does

@needs_node
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("changes", CHANGES.values(), ids=CHANGES.keys())
def test_log_probabilities_are_torch_s(kind, changes, tmp_path):
    """A text several times as long as the memory: at once, and in parts, down to token by token."""
    model = model_of(kind, **changes)
    ids, folder = draw_ids(model), put(page(opened(model)), tmp_path)
    expected = log_probs(halved(model), ids)
    for parts in ([LENGTH], [1] * LENGTH, [7, 1, 20, 2]):
        assert difference(node(folder, ids=ids, parts=parts), expected) < 1e-4
    answer = node(folder, ids=ids)
    assert answer["open"] == mask(model.config.kept_heads, model.config.heads)
    assert answer["loss"] == pytest.approx(loss(halved(model), ids), abs=1e-4)


@needs_node
@pytest.mark.parametrize("kind", KINDS)
def test_a_head_that_is_away_is_a_head_that_was_removed(kind, tmp_path):
    model = model_of(kind, kept=((0, 1), (1,)))
    ids, folder = draw_ids(model), put(page(opened(model)), tmp_path)
    for kept in (((0,), (1,)), ((1,), (1,)), ((0, 1), ()), ((), (1,)), ((), ())):
        expected = log_probs(remove(halved(model), kept), ids)
        assert difference(node(folder, ids=ids, open=mask(kept, 2)), expected) < 1e-4
        assert kept == ((), ()) or (expected - log_probs(halved(model), ids)).abs().max() > 1e-2


BREAKS = {
    "scores without 1/sqrt(K)": ("score / Math.sqrt(K)", "score"),
    "values without sqrt(N)": ("Math.sqrt(N) * persistent_K[k]", "persistent_K[k]"),
    "distances in reverse": ("distance = (position - j) * K", "distance = (j - first) * K"),
    "no position bias": ("(q_K[k] + w_K[k]) *", "q_K[k] *"),
    "no content bias": ("(q_K[k] + u_K[k]) *", "q_K[k] *"),
    "another epsilon": ("EPSILON = 1e-5", "EPSILON = 1e-6"),
    "one position too many": ("position - M)", "position - M - 1)"),
    "no mask": ("Math.max(0, position - M)", "0"),
    "embeddings without sqrt(D)": ("Math.sqrt(D) * model.table_VD", "model.table_VD"),
    "no output bias": ("x_D[d] + layer.outputBias_D[d]", "x_D[d]"),
    "no softmax bias": ("out_V[v] += model.bias_V[v]", "out_V[v]"),
    "persistent scores scaled": ("weights[context + n] = score;", "weights[context + n] = score / Math.sqrt(K);"),
    "no LayerNorm bias": (" * weight_D[d] + bias_D[d]", " * weight_D[d]"),
    "an unbiased variance": ("(x - mean) ** 2 / D", "(x - mean) ** 2 / (D - 1)"),
    "every head stays": ("if (!open_H[head.index]) continue;", ""),
    "the bits of a half": ("exponent - 25", "exponent - 24"),
}
FEED_BREAKS = {
    "no relu": ("Math.max(0, hidden_F[f] + layer.feed.in_F[f])", "hidden_F[f] + layer.feed.in_F[f]"),
    "no residual": ("y_D[d] += fed_D[d]", "y_D[d] = fed_D[d]"),
    "no second LayerNorm": ("layerNorm(y_D, layer.feed.norm)", "y_D"),
    "another head's u": ("part(tensors.content_bias_HK, K, index)", "part(tensors.content_bias_HK, K, row)"),
}


@needs_node
@pytest.mark.parametrize("broken", [*BREAKS, *FEED_BREAKS])
def test_every_formula_matters(broken, tmp_path):
    """The tests above fail if a formula of model.js is wrong."""
    kept, chosen = ((1,), (0, 1)), ((1,), (0,))
    model = model_of(KINDS[broken in FEED_BREAKS], kept=kept, memory=5)
    ids, content = draw_ids(model), page(opened(model))
    expected = log_probs(remove(halved(model), chosen), ids)
    ask = {"ids": ids, "open": mask(chosen, 2)}
    assert difference(node(put(content, tmp_path), **ask), expected) < 1e-4
    change = (BREAKS | FEED_BREAKS)[broken]
    found = torch.tensor([[math.nan if x is None else x for x in row] for row in
                          node(put(content, tmp_path, change), **ask)["logs"]])
    assert not (found - expected).abs().max() < 1e-3


@needs_node
@pytest.mark.parametrize("kind", KINDS)
def test_writing_is_torch_s(kind, tmp_path):
    """Greedy: the same text, longer than the memory. The random numbers of Python are others; what is drawn from given ones
    is tested below."""
    model = halved(model_of(kind))
    with torch.no_grad():
        model.softmax.tables[0].normal_(std=0.1)
        for block in model.blocks:  # as drawn, it would write one token again and again
            block.output_HKD.mul_(10)
    ids, folder = draw_ids(model, 5), put(page(opened(model)), tmp_path)
    for kept in (((0, 1), (0, 1)), ((1,), (0,))):
        expected = generate(remove(model, kept), [ids], 25, temperature=0).flatten().tolist()
        assert node(folder, ids=ids, open=mask(kept, 2), write=25)["written"] == expected and len(set(expected)) > 1
    drawn = [node(folder, ids=ids, write=25, temperature=1, seed=seed)["written"] for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]


@needs_node
def test_tokens_are_drawn_by_their_probabilities(tmp_path):
    folder = put(page(opened(model_of(KINDS[0]))), tmp_path)
    logs = [math.log(p) for p in (0.5, 0.2, 0.3)]
    asked = {(0.0, 1): 0, (0.49, 1): 0, (0.51, 1): 1, (0.69, 1): 1, (0.71, 1): 2, (0.999999, 1): 2, (0.9, 0): 0,
             (0.64, 0.5): 0, (0.66, 0.5): 1, (0.77, 0.5): 2}  # squares: 25/38, 4/38, 9/38
    answer = node(folder, draw=[[logs, *case] for case in asked], noise={"seed": 7, "length": 4000})
    assert answer["drawn"] == list(asked.values())
    numbers = np.array(answer["noise"])
    assert 0 <= numbers.min() and numbers.max() < 1 and len(set(numbers)) == 4000
    assert np.histogram(numbers, 10, (0, 1))[0].min() > 330 and abs(np.corrcoef(numbers[1:], numbers[:-1])[0, 1]) < 0.05


@needs_node
@pytest.mark.parametrize("kind", KINDS)
def test_a_head_s_number_is_what_its_removal_costs(kind, tmp_path):
    model = halved(model_of(kind, kept=((0, 1), (1,))))
    ids = draw_ids(model)
    found = node(put(page(opened(model)), tmp_path), ids=ids, importance=True)["rises"]
    before = loss(model, ids)
    expected = {(0, 0): ((1,), (1,)), (0, 1): ((0,), (1,)), (1, 1): ((0, 1), ())}
    assert {(rise["layer"], rise["head"]) for rise in found} == expected.keys()
    for rise in found:
        cost = loss(remove(model, expected[rise["layer"], rise["head"]]), ids) - before
        assert rise["rise"] == pytest.approx(cost, abs=1e-4)


@needs_node
@pytest.mark.parametrize("kind", KINDS)
def test_a_trained_model(kind, tmp_path):
    """Real weights, subwords, and a text that is longer than the memory."""
    known = saved.load(TRAINED / kind)
    model, vocabulary = halved(known.model), known.vocabulary
    ids = [1, *vocabulary.encode(tokenize(f"{TEXT} {TEXT}")).tolist()]
    assert len(ids) > model.config.memory + 20
    folder = put(page(known), tmp_path)
    kept = tuple(tuple(h for h in range(8) if (h + layer) % 3) for layer in range(4))
    for chosen in (model.config.kept_heads, kept):
        small = remove(model, chosen)
        answer = node(folder, ids=ids, open=mask(chosen, 8), write=20)
        assert difference(answer, log_probs(small, ids)) < 1e-3
        assert answer["loss"] == pytest.approx(loss(small, ids), abs=1e-4)
        assert answer["written"] == generate(small, [ids], 20, temperature=0).flatten().tolist()


@needs_node
def test_every_half_is_read(tmp_path):
    """All numbers of half precision, tiny ones and infinities left out or in."""
    bits = np.arange(2**16, dtype="<u2")
    expected = bits.view("<f2").astype(float)
    answer = node(put(page(opened(model_of(KINDS[0]))), tmp_path), halves=base64.b64encode(bits.tobytes()).decode())
    finite = np.isfinite(expected)
    assert np.array_equal(np.array(answer["halves"], float)[finite], expected[finite])


# Text and tokens

LINES = [
    "It wasn't well-known; Mr. Smith (the owner) paid $1,234.50 in 1999.", "O'Brien said: 'quoted' and \"double\"...", "",
    "Dr. No. 5 vs. the U.S. Navy, etc.", "caf\u00e9 cafe\u0301 na\u00efve \u2014 \u201cyes\u201d \u2013 3.14",
    "x-ray a--b -5 5-", "a\u00b7b l\u00b7l \u00b7", "<unk> <formula> @-@ @,@ @ - @", "soft\u00adhyphen zero\u200bwidth",
    "\U0001f1e9\U0001f1ea\U0001f1eb \U0001f469\u200d\U0001f469 \U0001f44d\U0001f3fd", "\u4e2d\u6587 \u0440\u0443\u0441",
    "\u043e\u0431'\u0435\u043a\u0442", "\u0627\u0644\u0639\u0631\u0628 \u0967.\u0969", "tab\there\u3000wide\u00a0space",
    "</s> \u2581x _a_ 10km 2nd H2O", "A. B. C. Dr.,", "... . .. ,,"]
SIGNS = [*"aB7.,-'  sU@(", "\u00e9", "\u2019", "No", "Dr", "\u00b7", "\u0301", "\u200d", "\u0436", "<unk>", "\u05d0", "\u200b",
         "\x85"]


@needs_node
def test_typed_text_is_tokenized_as_in_python(tmp_path):
    draws = np.random.default_rng(0)
    lines = LINES + ["".join(draws.choice(SIGNS, 12)) for _ in range(3000)]
    assert node(put(page(opened(model_of(KINDS[0]))), tmp_path), tokenize=lines)["tokenized"] == list(map(tokenize, lines))


@needs_node
def test_subwords_are_python_s(tmp_path):
    """Words of the built-in text, made-up ones, and signs that no piece has."""
    known = saved.load(TRAINED / KINDS[0])
    vocabulary = known.vocabulary
    valid = locate("wikipedia-excerpt").files["valid"].read_text(encoding="utf-8")
    words = sorted(set(split_words(valid)) - {"\0"})
    draws = np.random.default_rng(0)
    letters = list("etaoinshrdluABC19\u00e9\u00df\u4e2d\u6587\ufffd'")
    words += ["".join(draws.choice(letters, draws.integers(1, 15))) for _ in range(2000)]
    words += ["<unk>", "</s>", "\u4e2d\u6587\u5b57a\u5b57", "\u2581", "a" * 15, "\U0001f44d\U0001f44d"]
    words = [word for word in words if tokenize(word) == word]
    assert len(words) > 5000
    lines = ["\n".join(map(tokenize, line.split("\n"))) for line in LINES]
    decoded = [vocabulary.encode(line).tolist() for line in lines]
    answer = node(put(page(known), tmp_path), encode=words + LINES, decode=decoded)
    expected = [vocabulary.encode(text).tolist() for text in words + lines]
    assert [encoded["ids"] for encoded in answer["encoded"]] == expected
    assert answer["decoded"] == [vocabulary.decode(vocabulary.encode(line)) for line in lines]
    typed = node(tmp_path, encode=["one line\n\nand \u4e2d a third \u4e2d\u4e2d <unk>"])["encoded"][0]
    assert typed["ids"] == vocabulary.encode("one line\n\nand \u4e2d a third \u4e2d\u4e2d <unk>").tolist()
    assert typed["missing"] == ["\u4e2d", "\u4e2d\u4e2d"]


@needs_node
@pytest.mark.parametrize("vocabulary", [Words(WORDS), Characters(list(map(ord, "\n abcdefgh\u00e9")), True),
                                        Characters(list(map(ord, " abcdefgh")), False)], ids=["words", "characters", "text8"])
def test_words_and_characters_are_python_s(vocabulary, tmp_path):
    model = LanguageModel(ModelConfig(KINDS[0], **SMALL), vocabulary.size).eval()
    text = "word1 word2\nword37 (word999) <eos> <unk>\n" if isinstance(vocabulary, Words) else "a bad cafe\u0301\nhead\u4e2d"
    folder = put(page(opened(model, vocabulary)), tmp_path)
    ids = list(range(vocabulary.size))
    answer = node(folder, encode=[text], decode=[ids, ids[::-1]])
    assert answer["decoded"] == [vocabulary.decode(ids), vocabulary.decode(ids[::-1])]
    found, data = answer["encoded"][0], json.loads((tmp_path / "data.json").read_text())
    if isinstance(vocabulary, Words):
        assert found["ids"] == vocabulary.encode("\n".join(map(tokenize, text.split("\n")))).tolist()
        assert found["missing"] == ["(", "word999", ")", "<eos>"] and data["tokens"]["start"] == 0
    elif vocabulary.unknown_id is None:
        assert found["ids"] == vocabulary.encode("a bad cafhead").tolist() and found["missing"] == ["\u00e9", "\n", "\u4e2d"]
        assert data["tokens"]["start"] == 0
    else:
        assert found == {"ids": vocabulary.encode("a bad caf\u00e9\nhead\u4e2d").tolist(), "missing": ["\u4e2d"]}


def test_the_first_text_can_be_read():
    letters = Characters(list(map(ord, " abcdefghijklmnopqrstuvwxyz")), False)
    assert first_text(Words(WORDS)) == TEXT and first_text(Characters(sorted(set(map(ord, TEXT))), False)) == TEXT
    assert first_text(letters).startswith("the old bridge was built of stone in one eight four two and")
    assert first_text(Characters([0x4e2d], False)) == "\u4e2d"
    assert set(first_text(Characters([32, 98, 97], False))) == set(" ab")


# Numbers, refusals, and what a stranger may write

@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("before", [None, ((0,), (0, 1))])
def test_parameters_are_those_of_the_pruned_model(kind, before):
    model = model_of(kind, kept=before)
    body = json.loads(Parts(page(opened(model))).scripts[0])["body"]
    for kept in (model.config.kept_heads, ((0,), (1,)), ((), (0,)), ((), ())):
        counted = body["rest"] + body["head"] * sum(map(len, kept))
        assert counted == remove(model, kept).parameter_counts()["body"]
    assert body["full"] == model_of(kind).parameter_counts()["body"]


def test_what_a_page_cannot_compute_is_one_clear_line(tmp_path, monkeypatch):
    huge = model_of(KINDS[0])
    with torch.no_grad():
        huge.blocks[1].query_HKD[0, 0, 0] = 1e5
    adaptive = model_of(KINDS[0], cutoffs=(10,))
    for given, message in (
            (opened(adaptive), r"a page cannot compute an adaptive softmax \(cutoffs 10\); take a model with one table"),
            (opened(huge), r"blocks\.1\.query_HKD has weights above 65,504, which the half precision of a page cannot hold")):
        with pytest.raises(AllattError, match=message):
            write_page(given, tmp_path / "page.html")
    monkeypatch.setattr(module, "LARGEST", 100)
    with pytest.raises(AllattError, match=r"this model has [\d,]+ parameters; a page takes at most 100"):
        write_page(opened(model_of(KINDS[0])), tmp_path / "page.html")
    assert not list(tmp_path.iterdir()) and LARGEST > 10**6


def test_subwords_of_another_kind_are_refused(tmp_path):
    known = saved.load(TRAINED / KINDS[0])

    class Unigrams(Subwords):
        def scores(self):
            return [-0.5] * self.size

    with pytest.raises(AllattError, match="by byte-pair encoding alone; the subwords of this model are of another kind"):
        page(known._replace(vocabulary=Unigrams(known.vocabulary.model)))


def test_a_file_that_exists_is_kept(tmp_path):
    path = tmp_path / "page.html"
    path.write_text("mine")
    with pytest.raises(AllattError, match=r"page\.html exists; name another file"):
        write_page(opened(model_of(KINDS[0])), path)
    assert path.read_text() == "mine"
    (tmp_path / "other.html").write_bytes(b"")
    size = write_page(opened(model_of(KINDS[0])), tmp_path / "new.html")
    assert size == (tmp_path / "new.html").stat().st_size


HOSTILE = "</script><script>alert(1)</script><!-- {{data}} \" ' & </title><img src=x onerror=alert(2)> \u2028 {{policy}}"


def test_no_text_breaks_out_of_the_page():
    about = {"name": HOSTILE, "run": HOSTILE, "commit": HOSTILE, "tokens": HOSTILE, "result": {"test": HOSTILE},
             "text": {"name": HOSTILE, "title": HOSTILE, "license": HOSTILE}}
    vocabulary = Words([*WORDS[:-1], HOSTILE])
    model = model_of(KINDS[0])
    tame, hostile = Parts(page(opened(model))), Parts(page(opened(model, vocabulary, **about)))
    assert hostile.tags == [(tag, attributes) for tag, attributes in tame.tags] and hostile.scripts[1:] == tame.scripts[1:]
    data = json.loads(hostile.scripts[0])
    assert data["about"]["name"] == data["about"]["license"] == data["tokens"]["pieces"][-1] == HOSTILE
    assert "<" not in hostile.scripts[0] and data["about"]["perplexity"] == "not known"


def test_the_page_asks_for_nothing_from_a_network():
    content = page(saved.load(TRAINED / KINDS[0]))
    parts = Parts(content)
    asked = [(tag, name, value) for tag, attributes in parts.tags for name, value in attributes.items()
             if name in ("src", "href", "srcset", "action", "data", "poster")]
    assert asked == [("a", "href", "https://arxiv.org/abs/2110.03252")]
    assert not re.search(r"@import|url\(|\bfetch\(|XMLHttpRequest|WebSocket|import\(|sendBeacon", content)
    assert len(re.findall(r"https?://", content)) == 1
    policy = next(attributes["content"] for tag, attributes in parts.tags if attributes.get("http-equiv"))
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    for code in parts.scripts[1:]:
        assert f"'sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}'" in policy
    assert "unsafe-inline" not in policy.split("script-src")[1].split(";")[0] and "{{" not in content


def test_the_committed_page_is_the_one_that_is_made_now():
    """Else: remove it, and python -m allatt page figures/overnight/models/all-attention --out notebooks/site/heads.html"""
    assert (repository() / "notebooks" / "site" / "heads.html").read_text() == page(saved.load(TRAINED / KINDS[0]))


def test_every_part_is_in_the_page_and_every_name_of_it_is_there():
    """page.js asks for ids of page.html, and places of what is known of a model are filled."""
    content = page(opened(model_of(KINDS[0])))
    code, template = (PARTS / "page.js").read_text(), (PARTS / "page.html").read_text()
    ids = {attributes["id"] for _, attributes in Parts(content).tags if "id" in attributes}
    assert set(re.findall(r'\$\("([\w-]+)"\)', code)) <= ids
    assert set(re.findall(r'data-about="(\w+)"', template)) == set(json.loads(Parts(content).scripts[0])["about"])
    for path in PARTS.iterdir():
        lines = path.read_text().splitlines()
        assert path.name == "page.html" or path.read_text().strip() in content
        assert len(lines) <= 300 and max(map(len, lines)) <= 128, path.name
