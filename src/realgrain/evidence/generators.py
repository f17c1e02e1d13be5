"""What generators write of themselves, each in its own chunk and by its own grammar: any other text, also one that says "prompt", is only text.

Grammars are our reading of what the programs write: Stable Diffusion WebUI, and Forge, SD.Next and Fooocus like it (``parameters``), ComfyUI
(``prompt`` and ``workflow``), InvokeAI (``invokeai_metadata``; formerly ``sd-metadata`` and ``Dream``), NovelAI (``Software`` and ``Comment``).
Unsigned: anyone can write them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from realgrain.evidence.claims import Claim, Kind
from realgrain.evidence.containers import Block

KEYS = frozenset({"parameters", "prompt", "workflow", "invokeai_metadata", "sd-metadata", "Dream", "Software", "Comment", "Source"})
"""Of the text chunks that ``claims`` reads."""

# The last line of what the WebUI writes: "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 512x512, ...".
_STEPS = re.compile(r"^Steps: \d{1,6}, ", re.MULTILINE)
_SETTING = re.compile(r'([A-Z][\w ]{0,40}): ("(?:[^"\\]|\\.){0,1000}"|[^,]{0,200})(?:, |$)')
_WEBUI = frozenset({"Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model", "Model hash", "Denoising strength", "Version"})
_WEBUI_LEAST = 3  # of these settings that make it the WebUI's (our choice)
_APPS = frozenset({"SD.Next"})
"""Programs that write their name as the setting ``App``; any other name there is only text."""
_FORGE = re.compile(r"^f\d")  # Forge's versions begin with an f
_DREAM = re.compile(r'^".{0,2000}" (?=.*-s ?\d+)(?=.*-S ?\d+)(?=.*-W ?\d+)(?=.*-H ?\d+)', re.DOTALL)
_INVOKE = frozenset({"app_version", "generation_mode", "positive_prompt", "negative_prompt", "seed", "model", "cfg_scale", "steps", "scheduler"})
_INVOKE_LEAST = 3
_LOADERS = ("ckpt_name", "unet_name", "model_name")
MAX_NODES = 10_000  # of a graph (our choice, as the next)
MAX_SETTINGS = 5000  # characters


def claims(blocks: Sequence[Block]) -> list[Claim]:
    """Generators' claims in the text chunks of one file, and its ``Software``, as one claim each; of chunks of the same key the first counts."""
    texts = {block.key: block for block in reversed(blocks)}
    found: list[Claim | None] = []
    if "parameters" in texts:
        found.append(webui(_text(texts["parameters"]), "text", texts["parameters"].place))
    found += [comfyui(key, _text(texts[key]), "text", texts[key].place) for key in ("prompt", "workflow") if key in texts]
    found += [_invokeai(texts[key]) for key in ("invokeai_metadata", "sd-metadata", "Dream") if key in texts]
    if "Software" in texts:
        found.append(_novelai(texts) or Claim(kind="text", place=texts["Software"].place, software=_text(texts["Software"])))
    return [claim for claim in found if claim is not None]


def webui(text: str, kind: Kind, place: str) -> Claim | None:
    """The claim in a text of Stable Diffusion WebUI, or of a program that writes as it does; None if it has not its grammar."""
    starts = [found.start() for found in _STEPS.finditer(text)]
    if not starts:
        return None
    settings = {name: value.strip('"') for name, value in _SETTING.findall(text[starts[-1] : starts[-1] + MAX_SETTINGS].split("\n")[0])}
    if len(_WEBUI & settings.keys()) < _WEBUI_LEAST:
        return None
    version = settings.get("Version", "")
    app = settings.get("App")
    name = "Fooocus" if version.startswith("Fooocus ") else "Stable Diffusion WebUI Forge" if _FORGE.match(version) else "Stable Diffusion WebUI"
    prompt = text[: starts[-1]].split("\nNegative prompt:")[0]
    return Claim(kind=kind, place=place, generator=app if app in _APPS else name, model=settings.get("Model"), text=prompt)


def comfyui(key: str, text: str, kind: Kind, place: str) -> Claim | None:
    """The claim in a graph of ComfyUI, as it runs (``prompt``) or as it is drawn (``workflow``); None if it is no such graph."""
    graph = _json(text)
    if key == "prompt":
        inputs = [_inputs(node) for node in list(graph.values())[:MAX_NODES]]
        if not inputs or None in inputs or not any(_linked(value, graph) for one in inputs if one for value in one.values()):
            return None
        model = next((one[name] for name in _LOADERS for one in inputs if one and isinstance(one.get(name), str)), None)
        return Claim.model_validate({"kind": kind, "place": place, "generator": "ComfyUI", "model": model})
    nodes, links = graph.get("nodes"), graph.get("links")
    if not isinstance(nodes, list) or not nodes or not isinstance(links, list) or not links:
        return None
    if not all(isinstance(node, dict) and isinstance(node.get("type"), str) and "id" in node for node in nodes[:MAX_NODES]):
        return None
    return Claim(kind=kind, place=place, generator="ComfyUI")


def _inputs(node: object) -> dict[str, object] | None:
    """Inputs of a node of a graph as it runs; None if it is no node."""
    if not isinstance(node, dict) or not isinstance(node.get("class_type"), str):
        return None
    inputs = node.get("inputs")
    return inputs if isinstance(inputs, dict) else None


def _linked(value: object, graph: dict[str, object]) -> bool:
    """Whether an input is another node's output, ``["4", 0]``: a graph that made a picture has at least one."""
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and value[0] in graph and isinstance(value[1], int)


def _invokeai(block: Block) -> Claim | None:
    text = _text(block)
    if block.key == "Dream":
        return Claim(kind="text", place=block.place, generator="InvokeAI", text=text) if _DREAM.match(text[:MAX_SETTINGS]) else None
    said = _json(text)
    model: object = None
    if block.key == "sd-metadata":
        image = said.get("image")
        if not isinstance(said.get("app_id"), str) or not isinstance(image, dict) or "prompt" not in image:
            return None
        model = said.get("model_weights")
        prompt: object = image["prompt"]
    else:
        if len(_INVOKE & said.keys()) < _INVOKE_LEAST:
            return None
        used, prompt = said.get("model"), said.get("positive_prompt")
        model = (used.get("name") or used.get("model_name")) if isinstance(used, dict) else used
    return Claim.model_validate({"kind": "text", "place": block.place, "generator": "InvokeAI", "model": model, "text": prompt})


def _novelai(texts: Mapping[str, Block]) -> Claim | None:
    if _text(texts["Software"]) != "NovelAI" or "Comment" not in texts:
        return None
    said = _json(_text(texts["Comment"]))
    if not {"prompt", "v4_prompt"} & said.keys() or not {"steps", "seed", "sampler"} <= said.keys():
        return None
    model = _text(texts["Source"]) if "Source" in texts else None
    prompt = {"text": said.get("prompt")}
    return Claim.model_validate({"kind": "text", "place": texts["Comment"].place, "generator": "NovelAI", "model": model, **prompt})


def _text(block: Block) -> str:
    return block.data.decode("utf-8", "replace")


def _json(text: str) -> dict[str, object]:
    """A JSON object; empty for whatever is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}
