import json
import struct

import pytest
from dressing import COMFY, WEBUI, encoded, exif, in_jpeg, in_png, segment, text

from realgrain.evidence.provenance import provenance

DRAWN = json.dumps({"nodes": [{"id": 1, "type": "KSampler"}, {"id": 2, "type": "VAEDecode"}], "links": [[1, 1, 0, 2, 0, "LATENT"]], "version": 0.4})
INVOKE = json.dumps({"app_version": "5.0", "generation_mode": "txt2img", "positive_prompt": "a cat", "model": {"name": "flux"}, "seed": 1})
INVOKE_OLD = json.dumps({"app_id": "invoke-ai/InvokeAI", "model_weights": "sd-1.4", "image": {"prompt": [{"prompt": "a cat", "weight": 1}]}})
NOVEL = json.dumps({"prompt": "a cat", "steps": 28, "seed": 1, "sampler": "k_euler", "uc": "dogs"})

WRITTEN = {
    "webui": ([("parameters", WEBUI)], "Stable Diffusion WebUI", "dream"),
    "forge": ([("parameters", WEBUI.replace("v1.9.4", "f2.0.1v1.10.1"))], "Stable Diffusion WebUI Forge", "dream"),
    "fooocus": ([("parameters", WEBUI.replace("v1.9.4", "Fooocus v2.5.5"))], "Fooocus", "dream"),
    "sd.next": ([("parameters", WEBUI.replace("Version: v1.9.4", "App: SD.Next, Version: f3d1c2e"))], "SD.Next", "dream"),
    "quoted": ([("parameters", WEBUI.replace("Size:", 'Lora hashes: "a: 1, b: 2", Size:'))], "Stable Diffusion WebUI", "dream"),
    "comfy as run": ([("prompt", COMFY)], "ComfyUI", "xl.ckpt"),
    "comfy as drawn": ([("workflow", DRAWN)], "ComfyUI", None),
    "invoke": ([("invokeai_metadata", INVOKE)], "InvokeAI", "flux"),
    "invoke, formerly": ([("sd-metadata", INVOKE_OLD)], "InvokeAI", "sd-1.4"),
    "invoke, first": ([("Dream", '"a cat" -s 50 -S 3 -W 512 -H 512 -C 7.5 -A k_lms')], "InvokeAI", None),
    "novel": ([("Software", "NovelAI"), ("Source", "NovelAI Diffusion V4"), ("Comment", NOVEL)], "NovelAI", "NovelAI Diffusion V4"),
}


@pytest.mark.parametrize("name", [b"tEXt", b"zTXt", b"iTXt"])
@pytest.mark.parametrize("case", WRITTEN)
def test_what_generators_write_is_an_unsigned_claim(case, name):
    texts, generator, model = WRITTEN[case]
    (claim,) = provenance(in_png(*[text(key, value, name) for key, value in texts])).claims
    assert (claim.kind, claim.trust, claim.generator, claim.model) == ("text", "unsigned", generator, model)
    assert claim.place.startswith(f"PNG {name.decode()} chunk")
    assert claim.of_model


SPOOFED = {
    "a note by the photographer": [("prompt", "ask the client about the prompt")],
    "only a word": [("parameters", "exposure 1/60, f/8")],
    "half a grammar": [("parameters", "a cat, Steps: 20")],
    "steps in prose": [("parameters", "Steps: 20, up to the house")],
    "JSON, but no graph": [("prompt", '{"a": 1}'), ("workflow", '{"nodes": "x", "links": []}')],
    "an empty graph": [("prompt", "{}"), ("workflow", '{"nodes": [], "links": []}')],
    "a node that nothing is linked to": [
        ("prompt", '{"1": {"class_type": "x", "inputs": {"a": ["2", 0]}}}'),
        ("workflow", '{"nodes": [{"id": 1, "type": "x"}], "links": []}'),
    ],
    "a graph with a hole": [("prompt", '{"3": {"class_type": "KSampler", "inputs": {}}, "4": null}')],
    "a list": [("prompt", "[]"), ("invokeai_metadata", "[]"), ("sd-metadata", "3")],
    "one key of InvokeAI": [("invokeai_metadata", '{"seed": 1}')],
    "an image without a prompt": [("sd-metadata", '{"app_id": "x", "image": {}}')],
    "a dream": [("Dream", "of electric sheep")],
    "NovelAI in name only": [("Software", "NovelAI")],
    "NovelAI without its settings": [("Software", "NovelAI"), ("Comment", '{"prompt": "a cat"}')],
    "NovelAI's comment by another": [("Software", "a scanner"), ("Comment", NOVEL)],
    "a grammar in another's chunk": [("prompt", WEBUI), ("parameters", COMFY), ("workflow", INVOKE)],
    "depth without end": [("prompt", "[" * 100_000)],
}


@pytest.mark.parametrize("case", SPOOFED)
def test_other_text_is_no_claim_of_a_generator(case):
    claims = provenance(in_png(*[text(key, value) for key, value in SPOOFED[case]])).claims
    assert not any(claim.of_model for claim in claims)


def test_a_name_that_no_such_program_writes_is_not_taken_over():
    (claim,) = provenance(in_png(text("parameters", WEBUI.replace("Version: v1.9.4", "App: Adobe Photoshop, Version: v1.9.4")))).claims
    assert claim.generator == "Stable Diffusion WebUI"


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG"])
@pytest.mark.parametrize("code", ["ascii", "utf-16-be", "utf-16-le"])
def test_settings_in_a_user_comment(kind, code):
    head = b"ASCII\0\0\0" if code == "ascii" else b"UNICODE\0"
    claims = provenance(encoded(kind, exif=exif(head + WEBUI.encode(code)))).claims
    assert [claim.generator for claim in claims] == ["Stable Diffusion WebUI", None]
    assert claims[0].place.endswith("UserComment")
    assert claims[1].camera == "Canon EOS 5D"
    plain = provenance(encoded(kind, exif=exif(head + "Steps: up to the house".encode(code)))).claims
    assert [claim.generator for claim in plain] == [None]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("code", ["utf-16-be", "utf-16-le"])
@pytest.mark.parametrize("prompt", ["一只猫", "\u3000猫", "a cat"])
def test_settings_in_a_user_comment_of_either_order(order, code, prompt):
    """Writers of UTF-16 do not keep to the order of the file's numbers, and the first character need not have a zero byte where letters have one."""
    comment = b"UNICODE\0" + WEBUI.replace("a cat on a mat", prompt).encode(code)
    directory = struct.pack(f"{order}HHHLL", 1, 0x9286, 7, len(comment), 26)
    block = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}L", 8) + directory + bytes(4) + comment
    (claim,) = provenance(in_jpeg(segment(0xE1, b"Exif\0\0" + block))).claims
    assert (claim.generator, claim.text) == ("Stable Diffusion WebUI", prompt.strip())


def test_graphs_in_a_webp():
    claims = provenance(encoded("WEBP", exif=exif(make="workflow:" + DRAWN, model="prompt:" + COMFY))).claims
    assert {claim.generator for claim in claims} == {"ComfyUI", None}
    assert {claim.camera for claim in claims} == {None}


def test_a_prompt_is_shown_shortly():
    (claim,) = provenance(in_png(text("parameters", WEBUI.replace("a mat", "a mat\n\x1b[2J\u202e" + "x" * 9000)))).claims
    assert claim.text.startswith("a cat on a mat \\x1b[2J\\u202exx")
    assert len(claim.text) == 300
