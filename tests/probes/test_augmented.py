"""The linear probe of augmented images: its training against a plain loop, and what it chooses."""

import math

import numpy as np
import pytest
import torch

from stages.encoders.architecture import Architecture, build_encoder
from stages.encoders.vit import pooled_features
from stages.probes.augmented import Heads, choose, chosen_predictions, protocol
from stages.study.seeds import Draws, derive
from stages.study.settings import Runtime
from stages.training.checkpoints import Checkpoints
from stages.training.devices import fit_to_device, make_fabric
from stages.training.loop import epoch_order, train
from stages.training.settings import LinearAugmented

VIT = {"width": 16, "depth": 1, "heads": 2, "patch_size": 4, "mlp_ratio": 2.0, "position": "learned"}
RATES = [0.5, 20.0]
SETTINGS = LinearAugmented(
    arms=[],
    epochs=3,
    batch_size=8,
    learning_rates=RATES,
    crop_scale_min=0.3,
    validation_fraction=0.1,
    precision="32-true",
)


def encoder_of(**form):
    return build_encoder(vit=Architecture.model_validate(VIT | form), image_size=16, seed=0).eval()


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def runtime(**changes):
    values = {"accelerator": "cpu", "devices": 1, "jobs": None, "micro_batch": None, "compile": False}
    values |= {"threads": 1, "workers": 0, "eval_batch_size": 8}
    return Runtime.model_validate(values | changes)


def trained(monkeypatch, folder, task, images, labels, *, on):
    """The task after the training of SETTINGS on images that are not augmented."""
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    fabric = make_fabric(on, precision="32-true")
    fit_to_device(task, runtime=on, fabric=fabric)
    train(
        task,
        inputs=lambda batch, indices, draws: (batch, labels[indices]),
        batches=lambda epoch, order: (images[indices] for indices in order),
        images=len(images),
        recipe=SETTINGS,
        optimizer=task.optimizer(),
        seed=3,
        fabric=fabric,
        checkpoints=Checkpoints("probe", folder / "scratch/probe"),
    )
    return task


@pytest.mark.parametrize("form", [{}, {"class_token": False}], ids=["class token", "none"])
@pytest.mark.parametrize("micro_batch", [None, 3])
def test_every_head_is_trained_as_it_would_be_alone(form, micro_batch, tmp_path, monkeypatch):
    encoder, classes = encoder_of(**form), [3, 2]
    images = draw(21, 3, 16, 16)  # two whole batches an epoch, five images left out
    labels = torch.stack([torch.arange(21) % count for count in classes], dim=1)
    frozen = {name: value.clone() for name, value in encoder.state_dict().items()}
    task = Heads(encoder, classes=classes, rates=RATES)
    trained(monkeypatch, tmp_path, task, images, labels, on=runtime(micro_batch=micro_batch))
    assert all(torch.equal(value, frozen[name]) for name, value in encoder.state_dict().items())

    features = {name: rows.double() for name, rows in pooled_features(encoder, images).items()}
    assert task.kinds == [*features, *(f"{name}-batchnorm" for name in features)]
    order = [
        torch.from_numpy(batch)
        for epoch in range(3)
        for batch in epoch_order(21, batch_size=8, seed=derive(3, "order", epoch))
    ]
    for place, rate in enumerate(RATES):
        for number, kind in enumerate(task.kinds):
            rows, start = features[kind.removesuffix("-batchnorm")], 0
            for of_set, count in enumerate(classes):
                weight = torch.zeros(17, count, dtype=torch.float64)
                speed = torch.zeros_like(weight)
                for step, batch in enumerate(order):
                    seen = rows[batch]
                    if kind.endswith("batchnorm"):
                        mean, variance = seen.mean(dim=0), seen.var(dim=0, correction=0)
                        seen = (seen - mean) / (variance + 1e-6).sqrt()
                    gradient = torch.zeros_like(weight)
                    for row, label in zip(seen, labels[batch, of_set], strict=True):
                        row = torch.cat([row, torch.ones(1)])
                        share = (row @ weight).softmax(dim=0)
                        share[label] -= 1
                        gradient += torch.outer(row, share) / len(batch)
                    speed = 0.9 * speed + gradient
                    cosine = (1 + math.cos(math.pi * step / len(order))) / 2
                    weight = weight - rate * 8 / 256 * cosine * speed
                head = task.heads[place][number, :, start : start + count].detach().double()
                torch.testing.assert_close(head, weight, rtol=1e-3, atol=1e-4)
                start += count


def test_held_out_images_pass_the_running_statistics_of_the_batch_norm(tmp_path, monkeypatch):
    images, labels = draw(16, 3, 16, 16), torch.arange(16)[:, None] % 2
    task = Heads(encoder_of(), classes=[2], rates=RATES)
    trained(monkeypatch, tmp_path, task, images, labels, on=runtime())
    alone = torch.cat([task.predict(image[None])[0] for image in images], dim=2)
    assert alone.shape == (2, 4, 16)
    assert torch.equal(alone, task.predict(images)[0])  # whatever else is in the batch


def test_heads_are_float32_when_the_encoder_is_not():
    task = Heads(encoder_of(), classes=[3], rates=[1.0])
    images, labels = draw(6, 3, 16, 16), torch.arange(6)[:, None] % 3
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = task(images, labels)["loss"]
    loss.backward()
    assert loss.dtype == torch.float32 and task.heads[0].grad.dtype == torch.float32
    assert loss.item() == pytest.approx(4 * math.log(3))  # heads at zero prefer no class


def test_each_kind_has_its_own_learning_rate_and_ties_go_to_the_first():
    labels = torch.tensor([0, 1, 2, 0])
    right, wrong, half = labels, (labels + 1) % 3, torch.tensor([0, 1, 0, 1])
    validation = torch.stack([torch.stack([half, wrong]), torch.stack([half, right])])  # (R, K, n)
    places, choice, rates = choose(validation, labels, kinds=["cls", "mean"], rates=[0.1, 3.0])
    assert places == {"cls": 0, "mean": 1} and choice == {"cls": 0.5, "mean": 1.0}
    assert rates == {"learning_rate_cls": 0.1, "learning_rate_mean": 3.0}
    test = torch.arange(2 * 2 * 5).reshape(2, 2, 5)
    predictions = chosen_predictions(test, places)
    assert predictions["cls"].tolist() == test[0, 0].tolist()
    assert predictions["mean"].tolist() == test[1, 1].tolist()


def test_views_are_drawn_by_the_generator_and_keep_their_labels():
    task = Heads(encoder_of(), classes=[3], rates=[1.0])
    images, labels = torch.rand(5, 3, 16, 16), torch.arange(5)[:, None]

    def views(seed):
        draws = Draws(torch.Generator().manual_seed(seed), batch=5)
        return task.views(images, labels, scale_min=0.3, normalize=lambda view: view - 2, draws=draws)

    view, targets = views(0)
    assert torch.equal(targets, labels) and -2 <= view.min() <= view.max() <= -1
    assert torch.equal(view, views(0)[0])
    other = views(1)[0]
    assert all(not torch.equal(one, two) for one, two in zip(view, other, strict=True))


def test_settings_scale_with_the_batch():
    assert SETTINGS.peak_lr == 20 * 8 / 256
    assert "3 epochs" in protocol(SETTINGS) and "10%" in protocol(SETTINGS)
    assert np.isclose(SETTINGS.model_copy(update={"batch_size": 4096}).peak_lr, 320)
