"""A model that sees: an encoder of two layers before the two-layer model, all of random weights."""

from __future__ import annotations

import json
from pathlib import Path

from probes.checkpoint import cache_folder

SIDE, PATCH, SCALE = 64, 16, 2  # pixels of a picture and of a patch; so many patches squared become one token
# Words of the two-layer model's tokenizer that nobody uses, and what they are here.
WORDS = {
    "<gh_stars>": "<image>",
    "<issue_start>": "<fake_token_around_image>",
    "<issue_comment>": "<global-img>",
    "<issue_closed>": "<end_of_utterance>",
}
VISION = {"model_type": "idefics3_vision", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
VISION |= {"num_attention_heads": 2, "image_size": SIDE, "patch_size": PATCH}
CONFIG = {"model_type": "idefics3", "architectures": ["Idefics3ForConditionalGeneration"], "scale_factor": SCALE}
IMAGES = {"image_processor_type": "Idefics3ImageProcessor", "do_image_splitting": False, "do_pad": True}
IMAGES |= {"size": {"longest_edge": SIDE}, "max_image_size": {"longest_edge": SIDE}, "do_resize": True}
IMAGES |= {"do_convert_rgb": True, "do_rescale": True, "do_normalize": True, "image_mean": [0.5] * 3}
IMAGES |= {"image_std": [0.5] * 3, "resample": 1}
PROCESSOR = {"processor_class": "Idefics3Processor", "image_seq_len": (SIDE // PATCH // SCALE) ** 2}


def picture_model(text_model: Path) -> Path:
    """The folder of a model that sees and otherwise is `text_model`."""
    folder = cache_folder() / f"{text_model.name}-pictures"
    folder.mkdir(exist_ok=True)
    tokenizer = (text_model / "tokenizer.json").read_text()
    for word, meaning in WORDS.items():
        tokenizer = tokenizer.replace(json.dumps(word), json.dumps(meaning))
    image = json.loads(tokenizer)["model"]["vocab"]["<image>"]
    text = json.loads((text_model / "config.json").read_text())
    files = {
        "tokenizer.json": tokenizer,
        "tokenizer_config.json": (text_model / "tokenizer_config.json").read_text(),
        "config.json": json.dumps(CONFIG | {"text_config": text, "vision_config": VISION, "image_token_id": image}),
        "preprocessor_config.json": json.dumps(IMAGES | {"processor_class": PROCESSOR["processor_class"]}),
        "processor_config.json": json.dumps(PROCESSOR),
    }
    for name, content in files.items():
        draft = folder / f"{name}.draft"
        draft.write_text(content)
        draft.replace(folder / name)
    return folder
