"""A model's folder in diffusers' layout: model_index.json, and a folder for each part."""

import json
import pathlib

from parallelanything.failure import Failure

FAMILIES = {
    "FluxPipeline": "flux",
    "StableDiffusionXLPipeline": "sdxl",
    "ZImagePipeline": "zimage",
}


def read_json(path):
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise Failure(f"{path}: not there; expected a folder in diffusers' layout (model_index.json, and a folder "
                      "for each part)") from None
    except ValueError as error:
        raise Failure(f"{path}: {error}") from None


class PipelineFolder:
    """`family`: "flux", "sdxl" or "zimage"."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        name = read_json(self.path / "model_index.json").get("_class_name")
        if name not in FAMILIES:
            raise Failure(f"{self.path / 'model_index.json'}: found the pipeline {name}; expected one of "
                          f"{', '.join(FAMILIES)}")
        self.pipeline = name
        self.family = FAMILIES[name]

    def config(self, part):
        """config.json of a part, such as "vae"; empty if the folder does not have that part."""
        path = self.path / part / "config.json"
        return read_json(path) if path.exists() else {}

    def part(self, name):
        """The folder of a part that is needed."""
        folder = self.path / name
        if not folder.is_dir():
            raise Failure(f"{folder}: not there; a folder of {self.pipeline} has it")
        return folder
