"""What tests of learning share."""

import json

import pytest

from realgrain.detector.weights import Tower, check


@pytest.fixture
def one_thread():
    """Batches of a few vectors are several times as fast without threads that wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Tower:
    """A base with both towers and a tokenizer that knows the letters of the prompts; random weights."""
    import torch
    from transformers import CLIPConfig, CLIPModel

    folder = tmp_path_factory.mktemp("clip")
    marks = ["<|startoftext|>", "<|endoftext|>"]
    letters = sorted(set("arealphotofake"))
    words = [*marks, *letters, *(f"{letter}</w>" for letter in letters), "re", "fa"]
    (folder / "vocab.json").write_text(json.dumps({word: index for index, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\nr e\nf a\n")
    vision = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "num_attention_heads": 4, "patch_size": 32}
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": len(words)}
    text |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=24)).save_pretrained(folder)
    return check(str(folder), folder)
