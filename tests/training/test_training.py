"""The pieces of the loop: schedule, groups, order, guard, checkpoints."""

import os
import pickle
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from stages.encoders.architecture import build_encoder
from stages.encoders.settings import Vit
from stages.objectives import contrastive, masked
from stages.study.errors import StudyError
from stages.study.params import load_params
from stages.study.paths import file_digest
from stages.study.seeds import derive
from stages.study.settings import Arm
from stages.training.checkpoints import Checkpoints
from stages.training.devices import images_in_cache, make_fabric
from stages.training.loop import epoch_order, parameter_groups, refuse_nonfinite, rows_of, train
from stages.training.schedule import copy_momentum, learning_rate, rising_weight_decay
from stages.training.task import Task
from tests.full_disk import file_limit
from tests.project import ROOT

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="learned")


def test_the_rate_warms_up_linearly_and_falls_along_half_a_cosine():
    rates = [learning_rate(step, peak=2.0, warmup_steps=4, total_steps=12) for step in range(12)]
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=8)
    for rate in rates[4:]:
        assert rate == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        cosine.step()
    assert learning_rate(0, peak=1.0, warmup_steps=0, total_steps=1) == 1.0


def test_the_cosine_may_end_above_zero():
    rates = [learning_rate(step, peak=2.0, warmup_steps=0, total_steps=8, minimum=0.5) for step in range(9)]
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, T_max=8, eta_min=0.5)
    for rate in rates:
        assert rate == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        cosine.step()


def test_the_rate_may_fall_to_a_tenth_at_a_milestone():
    rates = [
        learning_rate(step, peak=2.0, warmup_steps=4, total_steps=80, milestone=0.875) for step in range(80)
    ]
    assert rates[:4] == pytest.approx([0.5, 1.0, 1.5, 2.0])
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    steps = torch.optim.lr_scheduler.MultiStepLR(theirs, milestones=[70], gamma=0.1)
    for step, rate in enumerate(rates):
        assert step < 4 or rate == pytest.approx(theirs.param_groups[0]["lr"])
        theirs.step()
        steps.step()


def test_weight_decay_rises_along_half_a_cosine():
    decays = [rising_weight_decay(step / 8, start=0.04, end=0.4) for step in range(9)]
    cosine = [learning_rate(step, peak=0.04, minimum=0.4, warmup_steps=0, total_steps=8) for step in range(9)]
    assert decays == pytest.approx(cosine) and decays == sorted(decays)
    assert decays[0] == pytest.approx(0.04) and decays[4] == pytest.approx(0.22) and decays[8] == 0.4


def test_a_slow_copy_ends_by_keeping_all_of_itself():
    momenta = [copy_momentum(step / 4, start=0.9) for step in range(5)]
    assert momenta[0] == pytest.approx(0.9) and momenta[2] == pytest.approx(0.95) and momenta[4] == 1
    assert momenta == sorted(momenta)


def test_no_decay_on_biases_norms_positions_and_tokens():
    task = masked.build(
        build_encoder(vit=VIT, image_size=16, seed=0),
        arm=Arm(objective="masked"),
        settings=load_params().objectives,
        seed=0,
    )
    groups = parameter_groups(task, weight_decay=0.1, layer_decay=None)
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    decayed = {names[id(p)] for group in groups if group["weight_decay"] for p in group["params"]}
    free = {names[id(p)] for group in groups if not group["weight_decay"] for p in group["params"]}
    assert decayed and all(name.endswith("weight") and "norm" not in name for name in decayed)
    assert {"encoder.cls_token", "encoder.pos_embed", "mask_token", "decoder.bias"} <= free
    assert decayed | free == set(names.values())


def test_everything_that_is_trained_decays_if_asked():
    encoder = build_encoder(vit=VIT.model_copy(update={"position": "sincos"}), image_size=16, seed=0)
    task = contrastive.build(
        encoder, arm=Arm(objective="contrastive"), settings=load_params().objectives, seed=0
    )
    (group,) = parameter_groups(task, weight_decay=0.1, layer_decay=None, decay_all=True)
    names = {id(parameter): name for name, parameter in task.named_parameters()}
    decayed = {names[id(parameter)] for parameter in group["params"]}
    assert group["weight_decay"] == 0.1
    assert {"encoder.cls_token", "encoder.norm.bias", "projector.1.weight"} <= decayed
    frozen = ("key_", "encoder.pos_embed", "encoder.patch_embed")
    assert decayed == {name for name in names.values() if not name.startswith(frozen)}


def test_the_rate_of_a_block_is_the_decayed_rate_of_the_next():
    class Probe(Task):
        def __init__(self):
            super().__init__()
            self.encoder = build_encoder(vit=VIT, image_size=16, seed=0)
            self.encoder.reset_classifier(5, global_pool="avg")

    task = Probe()
    groups = parameter_groups(task, weight_decay=0.1, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    encoder = task.encoder
    blocks = [scale[id(block.attn.qkv.weight)] for block in encoder.blocks]
    assert scale[id(encoder.head.weight)] == 1.0
    assert blocks[1] / blocks[0] == pytest.approx(2.0)
    assert scale[id(encoder.patch_embed.proj.weight)] == pytest.approx(blocks[0] / 2)
    assert scale[id(encoder.pos_embed)] == scale[id(encoder.patch_embed.proj.weight)]


def test_the_first_step_moves_each_block_by_its_rate_and_the_task_is_told_the_progress(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    history = []

    class Probe(Task):
        def __init__(self):
            super().__init__()
            self.encoder = build_encoder(vit=VIT, image_size=16, seed=0)
            self.encoder.reset_classifier(5, global_pool="avg")

        def before_step(self, progress):
            history.append(progress)

        def forward(self, images):
            return {"loss": self.encoder(images).square().mean()}

    def trained(epochs, lr):
        task = Probe()
        before = {name: value.clone() for name, value in task.named_parameters()}
        recipe = SimpleNamespace(
            epochs=epochs, batch_size=4, peak_lr=lr, weight_decay=0.0, warmup_epochs=0.0, clip_grad=1e9
        )
        train(
            task,
            inputs=lambda batch, indices, draw: (batch.float() / 255,),
            batches=lambda epoch, order: (
                torch.full((4, 3, 16, 16), 9, dtype=torch.uint8)
                * torch.arange(4, dtype=torch.uint8)[:, None, None, None]
                for _ in order
            ),
            images=4,
            recipe=recipe,
            betas=(0.9, 0.999),
            layer_decay=0.5,
            seed=0,
            fabric=make_fabric(
                load_params(ROOT / "params.yaml").runtime.model_copy(update={"accelerator": "cpu"}),
                precision="32-true",
            ),
            checkpoints=Checkpoints(f"finetune-{epochs}", Path("scratch") / f"finetune-{epochs}"),
        )
        return {name: (value - before[name]).abs().max().item() for name, value in task.named_parameters()}

    # Adam's first step has the size of the rate, whatever the gradient.
    moved = trained(epochs=1, lr=1e-3)
    assert moved["encoder.head.weight"] == pytest.approx(1e-3, rel=0.01)
    assert moved["encoder.blocks.1.mlp.fc2.weight"] == pytest.approx(5e-4, rel=0.01)
    assert moved["encoder.blocks.0.mlp.fc2.weight"] == pytest.approx(2.5e-4, rel=0.01)
    history.clear()
    trained(epochs=4, lr=1e-3)
    assert history == [0, 0.25, 0.5, 0.75]


class Regression(Task):
    """Two layers and a norm, with the weights of an encoder that they have not."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.layers = torch.nn.Sequential(
                torch.nn.Linear(12, 6), torch.nn.LayerNorm(6), torch.nn.Linear(6, 1)
            )

    def forward(self, images):
        return {"loss": (100 * self.layers(images.flatten(1)) - 7).square().mean()}


def train_on(pictures, task, *, clip_grad, name="regression", **settings):
    """Four epochs of two steps each on eight images (8, 3, 2, 2)."""
    runtime = load_params(ROOT / "params.yaml").runtime
    recipe = SimpleNamespace(
        epochs=4, batch_size=4, peak_lr=0.05, weight_decay=0.5, warmup_epochs=1.0, clip_grad=clip_grad
    )
    return train(
        task,
        inputs=lambda batch, indices, draw: (batch.float() / 255,),
        batches=lambda epoch, order: (torch.from_numpy(pictures[indices]) for indices in order),
        images=8,
        recipe=recipe,
        seed=0,
        fabric=make_fabric(runtime.model_copy(update={"accelerator": "cpu"}), precision="32-true"),
        checkpoints=Checkpoints(f"pretrain-{name}", Path("scratch") / name),
        **settings,
    )


PLAIN = {"clip_grad": 1.0, "min_lr": 0.0, "milestone": None, "weight_decay_end": None, "decay_all": False}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"clip_grad": None},
        {"decay_all": True},
        {"weight_decay_end": 4.0},
        {"milestone": 0.5},
        {"min_lr": 0.01},
        {"weight_decay_end": 4.0, "decay_all": True, "clip_grad": None, "min_lr": 0.02},
    ],
    ids=lambda changes: "-".join(changes) or "plain",
)
def test_a_training_is_that_of_adamw_written_out(changes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    settings = PLAIN | changes
    pictures = np.random.default_rng(0).integers(0, 256, (8, 3, 2, 2), dtype=np.uint8)
    task, reference, norms = Regression(), Regression(), []
    history = train_on(pictures, task, clip_grad=settings.pop("clip_grad"), betas=(0.9, 0.99), **settings)

    weights = [p for p in reference.parameters() if settings["decay_all"] or p.ndim > 1]
    others = [p for p in reference.parameters() if not any(p is weight for weight in weights)]
    adamw = torch.optim.AdamW(
        [{"params": weights, "weight_decay": 0.5}, {"params": others, "weight_decay": 0.0}],
        betas=(0.9, 0.99),
    )
    steps = [
        indices
        for epoch in range(4)
        for indices in epoch_order(8, batch_size=4, seed=derive(0, "order", epoch))
    ]
    for step, indices in enumerate(steps):
        if step < 2:
            rate = 0.05 * (step + 1) / 2
        elif settings["milestone"]:
            rate = 0.05 if step < 4 else 0.005
        else:
            low = settings["min_lr"]
            rate = low + (0.05 - low) * (1 + np.cos(np.pi * (step - 2) / 6)) / 2
        for group in adamw.param_groups:
            group["lr"] = rate
        if settings["weight_decay_end"]:
            adamw.param_groups[0]["weight_decay"] = 4.0 - 3.5 * (1 + np.cos(np.pi * step / 8)) / 2
        adamw.zero_grad()
        reference(torch.from_numpy(pictures[indices]).float() / 255)["loss"].backward()
        limit = float("inf") if "clip_grad" in changes else 1.0
        norms.append(torch.nn.utils.clip_grad_norm_(reference.parameters(), limit).item())
        adamw.step()
    for (name, ours), theirs in zip(task.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6, msg=name)
    assert min(norms) > 1  # so that clipping does something
    of_epochs = np.mean(np.reshape(norms, (4, 2)), axis=1)
    assert [row["grad_norm"] for row in history] == pytest.approx(of_epochs, rel=1e-3)


def test_a_checkpoint_is_what_the_whole_training_passes_through(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    pictures = np.random.default_rng(0).integers(0, 256, (8, 3, 2, 2), dtype=np.uint8)
    passed, states, histories = [], [], []

    class Watched(Regression):
        def after_epoch(self, epoch):
            passed.append({name: value.clone() for name, value in self.state_dict().items()})

    for stop_epoch in (None, 3):
        task = Watched()
        history = train_on(
            pictures,
            task,
            name=f"regression-{stop_epoch}",
            clip_grad=1.0,
            weight_decay_end=4.0,
            stop_epoch=stop_epoch,
        )
        histories.append(history)
        states.append(task.state_dict())
    assert histories[1] == histories[0][:3] and len(histories[0]) == 4
    for name, value in states[1].items():
        assert torch.equal(value, passed[2][name]) and not torch.equal(value, states[0][name]), name


def test_a_batch_that_processes_cannot_share_is_refused_in_one_line():
    assert [rows_of(rank, of=2, batch_size=6) for rank in (0, 1)] == [slice(0, 3), slice(3, 6)]
    with pytest.raises(StudyError, match="batch_size 6 is not divisible by 4 processes"):
        rows_of(1, of=4, batch_size=6)


def test_an_epoch_sees_every_image_once_in_whole_batches():
    order = epoch_order(103, batch_size=10, seed=1)
    assert {len(batch) for batch in order} == {10} and len(order) == 10
    assert len(np.unique(np.concatenate(order))) == 100
    assert not np.array_equal(order[0], epoch_order(103, batch_size=10, seed=2)[0])


def test_a_loss_that_is_not_finite_is_named_with_its_step():
    losses = torch.tensor([1.0, float("nan"), float("inf")])
    with pytest.raises(StudyError, match=r"pretrain@x: loss is nan at step 12 of 99; lower lr"):
        refuse_nonfinite(losses, name="pretrain@x", first_step=10, total=99)


@pytest.fixture
def checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return Checkpoints("pretrain-x", Path("scratch") / ("0" * 16))


def test_the_newest_checkpoint_comes_back_and_two_are_kept(checkpoints):
    assert checkpoints.latest() is None
    for epoch in (1, 2, 3):
        checkpoints.save(epoch, {"value": torch.tensor(epoch)})
    assert checkpoints.latest()["value"] == 3
    assert len(list(checkpoints.directory.glob("*.pt"))) == 2


class Code:
    """What pickle would run if it were asked to."""

    def __reduce__(self):
        return os.mkdir, ("ran",)


def damage(path, kind):
    """Do something to a checkpoint; of what is put in its place the checksum is right."""
    content, whole = path.read_bytes(), path.with_suffix(".sha256")
    replaced = {
        "code": lambda: torch.save({"training": path.parent.name, "state": Code()}, path),
        "pickle": lambda: path.write_bytes(pickle.dumps(Code(), protocol=2)),
        "text": lambda: path.write_text("no checkpoint"),
        "list": lambda: torch.save([1], path),
        "other": lambda: torch.save({"training": "pretrain-y-" + "1" * 16, "state": {"value": 3}}, path),
    }
    if kind in replaced:
        replaced[kind]()
        whole.write_text(file_digest(path))
    elif kind == "unsigned":
        whole.unlink()
    elif kind == "checksum":
        whole.write_bytes(b"\xff")
    else:
        middle = len(content) // 2
        flipped = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        path.write_bytes({"cut": content[:middle], "empty": b"", "flipped": flipped}[kind])


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("cut", "is damaged: its checksum differs"),
        ("empty", "is damaged: its checksum differs"),
        ("flipped", "is damaged: its checksum differs"),
        ("checksum", "is damaged: its checksum differs"),
        ("unsigned", "has no checksum file"),
        ("code", "is not a checkpoint of a training (UnpicklingError)"),
        ("pickle", "is not a checkpoint of a training (UnpicklingError)"),
        ("text", "is not a checkpoint of a training (UnpicklingError)"),
        ("list", "is not a checkpoint of a training (TypeError)"),
        ("other", "belongs to another training, 'pretrain-y-1111111111111111'"),
    ],
)
def test_a_damaged_or_foreign_checkpoint_is_set_aside_and_the_one_before_it_used(
    checkpoints, kind, reason, capsys
):
    checkpoints.save(1, {"value": torch.arange(100)})
    checkpoints.save(2, {"value": torch.arange(100) + 1})
    path = checkpoints.directory / "epoch-00002.pt"
    damage(path, kind)
    content = path.read_bytes()
    assert checkpoints.latest()["value"][0] == 0
    assert capsys.readouterr().out == (
        f"pretrain-x: {path} {reason}; renamed to epoch-00002.aside, resuming from epoch-00001.pt\n"
    )
    assert path.with_suffix(".aside").read_bytes() == content and not path.exists()
    assert not os.path.exists("ran")  # code in a file is not run
    checkpoints.save(2, {"value": torch.arange(100) + 1})
    assert checkpoints.latest()["value"][0] == 1


def test_with_no_good_checkpoint_left_it_starts_from_the_beginning(checkpoints, capsys):
    for epoch in (1, 2):
        checkpoints.save(epoch, {})
        damage(checkpoints.directory / f"epoch-0000{epoch}.pt", "flipped")
    assert checkpoints.latest() is None
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("resuming from epoch-00001.pt")
    assert second.endswith("renamed to epoch-00001.aside, starting from the beginning")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.7, 0.99, 0.999])
def test_wherever_the_disk_is_full_the_checkpoints_that_are_there_stay(checkpoints, share):
    state = {"a": torch.arange(50_000), "b": torch.arange(50_000)}
    checkpoints.save(1, state)
    before = {path.name: path.read_bytes() for path in checkpoints.directory.iterdir()}
    size = len(before["epoch-00001.pt"])
    with file_limit(int(share * size)), pytest.raises(StudyError) as refused:
        checkpoints.save(2, state)
    message = str(refused.value)
    assert f"epoch-00002.pt: File too large; {size / 1e6:.1f} MB needed, " in message and "\n" not in message
    assert {path.name: path.read_bytes() for path in checkpoints.directory.iterdir()} == before
    assert torch.equal(checkpoints.latest()["a"], state["a"])
    checkpoints.save(2, state)


@pytest.mark.parametrize(
    ("width", "halved", "images"), [(64, False, 39), (64, True, 157), (128, True, 78), (768, True, 39)]
)
def test_a_pass_of_the_encoder_fits_into_the_cache(width, halved, images):
    vit = VIT.model_copy(update={"width": width})  # 65 tokens
    encoder = build_encoder(vit=vit, image_size=32, seed=0)
    assert images_in_cache(encoder, halved=halved) == images


class Encoding(Task):
    """A task with an encoder."""

    def __init__(self):
        super().__init__()
        self.encoder = build_encoder(vit=VIT, image_size=16, seed=0)


def test_with_layer_decay_tokens_and_positions_do_not_decay():
    task = Encoding()
    names = {id(weight): name for name, weight in task.named_parameters()}
    groups = parameter_groups(task, weight_decay=0.1, layer_decay=0.5)
    free = {names[id(weight)] for group in groups if not group["weight_decay"] for weight in group["params"]}
    assert "encoder.cls_token" in free and "encoder.patch_embed.proj.weight" not in free


def test_a_task_is_trained_in_training_mode_whatever_its_mode_was(tmp_path, monkeypatch):
    """A loaded encoder is in evaluation mode, without drop path."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DVC_ROOT", raising=False)
    modes = set()

    class Watched(Regression):
        def forward(self, images):
            modes.add((self.training, self.layers.training))
            return super().forward(images)

    pictures = np.random.default_rng(0).integers(0, 256, (8, 3, 2, 2), dtype=np.uint8)
    train_on(pictures, Watched().eval(), name="modes", betas=(0.9, 0.95), **PLAIN)
    assert modes == {(True, True)}
