"""One step of the optimiser on the fast path is that of the plain computation, in float32."""

import copy

import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.encoders.vit import use_fused_attention
from stages.objectives import contrastive, hybrid, masked
from stages.study.params import load_params
from stages.study.settings import Arm
from stages.training.devices import fit_to_device, make_fabric
from stages.training.loop import parameter_groups, take_step
from stages.training.task import Task
from tests.objectives.reference import plain_targets

VIT = Vit(width=32, depth=3, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")
PARAMS = load_params()
MODULES = {"contrastive": contrastive, "masked": masked, "hybrid": hybrid}


def plain_encode(encoder, patches):
    tokens = encoder._pos_embed(patches)
    for block in encoder.blocks:
        tokens = block(tokens)
    return encoder.norm(tokens)


def plain_contrastive(task, first, second):
    """MoCo v3 view by view and query by query, with the patch projection held still."""

    def queries(view):
        tokens = plain_encode(task.encoder, task.encoder.patch_embed(view).detach())
        return task.predictor(task.projector(tokens[:, 0]))

    def keys(view):
        with torch.no_grad():
            return task.key_projector(
                plain_encode(task.key_encoder, task.key_encoder.patch_embed(view))[:, 0]
            )

    def cross_entropy(q, k):
        temperature, losses = task.settings.temperature, []
        k = [key / key.norm() for key in k]
        for index, query in enumerate(q):
            scores = torch.stack([query / query.norm() @ key for key in k]) / temperature
            losses.append(scores.exp().sum().log() - scores[index])
        return 2 * temperature * sum(losses) / len(losses)

    q = queries(first), queries(second)
    k = keys(first), keys(second)
    return cross_entropy(q[0], k[1]) + cross_entropy(q[1], k[0])


def plain_masked(task, images, mask):
    """SimMIM image by image and patch by patch."""
    error, pixels, targets = 0.0, 0, plain_targets(images, task.settings.target_window)
    tokens = task.encoder.patch_embed(images).clone()
    for image, row, column in mask.nonzero().tolist():
        tokens[image, row * mask.shape[2] + column] = task.mask_token
    decoded = task.decoder(plain_encode(task.encoder, tokens)[:, 1:])
    patch = task.patch_size
    for image, row, column in mask.nonzero().tolist():
        target = targets[image, :, row * patch : (row + 1) * patch, column * patch : (column + 1) * patch]
        guess = decoded[image, row * mask.shape[2] + column].reshape(patch, patch, 3).permute(2, 0, 1)
        error, pixels = error + (guess - target).abs().sum(), pixels + target.numel()
    return error / pixels


def plain(task, views):
    if isinstance(task, hybrid.Hybrid):
        terms = plain_contrastive(task.contrastive, *views[:2]), plain_masked(task.masked, *views[2:])
        return task.cl_weight * terms[0] + (1 - task.cl_weight) * terms[1]
    return (plain_masked if isinstance(task, masked.MaskedImageModeling) else plain_contrastive)(task, *views)


@pytest.mark.parametrize(
    ("name", "micro_batch", "part", "target_window"),
    [
        *((name, *how, 11) for name in MODULES for how in ((None, None), (3, None), (None, 5))),
        ("masked", None, None, None),
    ],
)
def test_a_step_is_that_of_the_plain_computation(name, micro_batch, part, target_window):
    encoder = build_encoder(vit=VIT, image_size=16, seed=0)
    # Its initialisation is so small that the first norm enlarges the rounding of its gradient a thousandfold.
    torch.nn.init.normal_(encoder.cls_token, std=0.5, generator=torch.Generator().manual_seed(1))
    arm = Arm(objective=name, cl_weight=0.4)
    settings = PARAMS.objectives.model_copy(
        update={"masked": PARAMS.objectives.masked.model_copy(update={"target_window": target_window})}
    )
    task = MODULES[name].build(encoder, arm=arm, settings=settings, seed=0)
    reference = copy.deepcopy(task)
    use_fused_attention(reference, False)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 8, 3, 16, 16, generator=generator)
    mask = (torch.rand(8, 4, 4, generator=generator) < 0.5).float()
    mask[:, 0, 0] = 1
    views = {"contrastive": (*images,), "masked": (images[0], mask), "hybrid": (*images, images[0], mask)}[
        name
    ]
    if name != "contrastive":  # every image hides the same number, so that parts of a batch weigh alike
        mask.zero_()[:, 1:3] = 1

    # SGD, because the first step of Adam hides the size of the gradient.
    def optimizer_of(task):
        return torch.optim.SGD(parameter_groups(task, weight_decay=0.05, layer_decay=None), lr=0.5)

    runtime = PARAMS.runtime.model_copy(update={"accelerator": "cpu", "micro_batch": micro_batch})
    fabric = make_fabric(runtime, precision="32-true")
    fit_to_device(task, runtime=runtime, fabric=fabric)
    for module in task.modules():
        if isinstance(module, Task):
            module.part = part
    model, optimizer = fabric.setup(task, optimizer_of(task))
    losses = take_step(model, optimizer, views, task=task, clip_grad=0.5, fabric=fabric)

    step = optimizer_of(reference)
    loss = plain(reference, views)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(reference.parameters(), 0.5)
    step.step()
    assert losses["loss"].item() == pytest.approx(loss.item(), rel=1e-5)
    ours, theirs = dict(task.named_parameters()), dict(reference.named_parameters())
    moved = [parameter for parameter in theirs.values() if parameter.grad is not None]
    assert len(moved) > 30
    for parameter, value in theirs.items():
        torch.testing.assert_close(ours[parameter], value, rtol=1e-4, atol=2e-6, msg=parameter)
