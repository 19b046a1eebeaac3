"""Pre-train one arm: `python -m stages.pretrain --arm NAME`."""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from stages.data.arrays import batches, normalize, open_split, read_manifest
from stages.encoders.decoder import Decoder, save_decoder
from stages.encoders.vit import build_encoder, save_encoder, share_positions
from stages.study.command import run
from stages.study.fingerprint import fingerprint, training_code
from stages.study.lookup import find
from stages.study.params import arm_of, load_params, recipe_of
from stages.study.paths import gradients_table, model_dir, write_text
from stages.study.seeds import Draws, derive
from stages.training.checkpoints import Checkpoints
from stages.training.devices import circumstances, fit_to_device, make_fabric
from stages.training.loop import History, train


def main() -> None:
    """Read the command line and pre-train."""
    parser = argparse.ArgumentParser(prog="python -m stages.pretrain", description=__doc__)
    parser.add_argument("--arm", required=True, help="a name under arms: in params.yaml")
    name = parser.parse_args().arm
    run(f"pretrain@{name}", lambda: pretrain(name), about=lambda: begin(name), writes=model_dir(name))


def begin(name: str) -> list[str]:
    """What an arm is pre-trained on, the device and the precision, in words."""
    params = load_params(stage="pretrain", arm=name)
    return [arm_of(params, name).objective, *circumstances(params.runtime)]


def pretrain(name: str) -> str:
    """Train the encoder of one arm and write it with its history.

    Raises StudyError if the arm or its objective does not exist, or if the loss stops being finite.
    """
    params = load_params(stage="pretrain", arm=name)
    arm = arm_of(params, name)
    vit, recipe, seed = recipe_of(params, name)
    objective_module = find("stages.objectives", arm.objective, function="build")
    manifest = read_manifest()
    image_size = params.data.image_size
    origin: dict[str, Any] = {}
    decoder: Decoder | None = None
    if hasattr(objective_module, "published"):
        encoder, vit, decoder, origin = objective_module.published(arm, image_size=image_size)
    else:
        encoder = build_encoder(
            vit=vit, image_size=image_size, seed=derive(seed, "init"), drop_path=recipe.drop_path
        )
        share_positions(encoder)
    # Only an objective that says so is ever shown a label.
    supervised = getattr(objective_module, "USES_LABELS", False)
    classes = {"classes": [len(names) for names in manifest.labels.values()]} if supervised else {}
    task = objective_module.build(
        encoder, arm=arm, settings=params.objectives, seed=derive(seed, "heads"), **classes
    )
    history: History = []
    epochs = (arm.stop_epoch or recipe.epochs) if task else 0
    about = {"arm": name, "objective": arm.objective, "seed": seed, "epochs": epochs}
    fabric = make_fabric(params.runtime)
    if task is not None:
        fit_to_device(task, runtime=params.runtime, fabric=fabric)
        split = open_split("train")
        labels = torch.from_numpy(np.stack(list(split.labels.values()), axis=1))  # (n, label sets)
        checkpoints = Checkpoints(
            f"pretrain-{name}",
            fingerprint(
                arm=arm.model_dump(exclude={"label"}),
                recipe=recipe.model_dump(),
                vit=vit.model_dump(),
                objective={
                    key: getattr(params.objectives, key).model_dump() for key in objective_module.SETTINGS
                },
                seed=seed,
                image_size=image_size,
                data=manifest.digest,
                code=training_code("stages.pretrain", f"stages.objectives.{arm.objective}"),
            ),
        )

        def inputs(images: Tensor, indices: np.ndarray, draws: Draws) -> tuple[Tensor, ...]:
            known = {"labels": labels[indices].to(images.device)} if supervised else {}
            return task.views(
                images.float() / 255,
                normalize=lambda view: normalize(255 * view, mean=manifest.mean, std=manifest.std),
                draws=draws,
                **known,
            )

        history = train(
            task,
            inputs=inputs,
            batches=lambda epoch, order: batches(
                split.images, order, workers=params.runtime.workers, pin_memory=fabric.device.type == "cuda"
            ),
            images=len(split.images),
            recipe=recipe,
            betas=(0.9, recipe.beta2),
            layer_decay=None,
            decay_all=recipe.decay_all,
            stop_epoch=arm.stop_epoch,
            min_lr=recipe.min_lr,
            milestone=recipe.milestone if recipe.schedule == "multistep" else None,
            weight_decay_end=recipe.weight_decay_end,
            seed=derive(seed, "pretrain"),
            fabric=fabric,
            checkpoints=checkpoints,
        )
    if not fabric.is_global_zero:
        return ""
    directory = model_dir(name)
    save_encoder(directory, encoder, vit=vit, image_size=image_size, about=about | origin)
    decoder = getattr(task, "decoder", decoder)
    if isinstance(decoder, Decoder):  # of a masked autoencoder
        save_decoder(directory, decoder)
    columns = list(history[0]) if history else ["epoch", "loss", "grad_norm", "lr"]
    table = pd.DataFrame(history, columns=columns).astype({"epoch": int})
    write_table(directory / "history.csv", table)
    if gradients := getattr(task, "gradients", []):  # how the two losses of a hybrid agree
        write_table(gradients_table(name), pd.DataFrame(gradients))
    return f"loss {history[-1]['loss']:.4f} after {len(history)} epochs" if history else "not trained"


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table whose bytes depend on its numbers alone."""
    write_text(path, table.to_csv(index=False, float_format="%.6g", lineterminator="\n"))


if __name__ == "__main__":
    main()
