"""DINO: self-distillation without labels, in which a student matches its moving average across crops.

Source: Caron et al. 2021, "Emerging Properties in Self-Supervised Vision Transformers", §3.1. The student
sees large and small crops. The teacher, a moving average of the student, sees the large ones. Its logits are
centred and sharpened against collapse. The head has three layers, a bottleneck of norm 1 and a
weight-normalised layer. §3.2: the temperatures and the colour operations of BYOL.
From the public configuration: blur and solarisation by kind of crop, a last layer that is frozen at first,
and the initialisation of the head. The saved encoder is the teacher's, as in the public evaluation.
Departures by default (params.yaml; the preset imagenet has none of these): a narrower head, fewer small
crops, constant weight decay, no stochastic depth. Further departures: the temperature warms up by steps
instead of epochs, crops are bilinear, the colour operations have a fixed order, blur is in proportion to the
image, and the class token and the positions have no weight decay.
"""

import copy
from collections.abc import Sequence
from functools import partial

import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from stages.data.augment import Normalize, random_colors, random_resized_crop_flip
from stages.encoders.architecture import without_drop_path
from stages.encoders.vit import embed, encode_class_token
from stages.objectives.contract import Objective
from stages.objectives.losses import dino_loss
from stages.objectives.settings import Dino, Objectives
from stages.study.seeds import Draws
from stages.study.settings import Arm
from stages.training.schedule import copy_momentum
from stages.training.task import Task


def build(
    encoder: VisionTransformer, *, arm: Arm, settings: Objectives, seed: int, classes: Sequence[int] = ()
) -> "SelfDistillation":
    """Return the objective for an encoder, which becomes the teacher's; the seed initialises the head."""
    return SelfDistillation(encoder, settings=settings.dino, seed=seed)


def crops_per_image(crops: int, *, large: int, small: int) -> int:
    """Return how many small crops are encoded in place of a large one: a divisor of their number.

    large, small: px of a side; the small crops together have at most as many pixels as the large one
    """
    most = max(1, (large // small) ** 2)
    return max(number for number in range(1, crops + 1) if crops % number == 0 and number <= most)


class SelfDistillation(Task):
    """A student that learns to match, from any crop, the output of its slow copy for another large crop."""

    separable = False  # the centre moves once a batch
    center: Tensor

    def __init__(self, encoder: VisionTransformer, *, settings: Dino, seed: int) -> None:
        super().__init__()
        self.settings = settings
        self.progress = 0.0  # share of the training done
        self.student_encoder = copy.deepcopy(encoder)
        self.student_encoder.patch_embed.strict_img_size = False  # it also takes small crops
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.student_head = Head(width=encoder.embed_dim, settings=settings)
        self.encoder = without_drop_path(encoder).requires_grad_(False)
        self.head = copy.deepcopy(self.student_head).requires_grad_(False)
        self.register_buffer("center", torch.zeros(settings.output_dim))

    @torch.no_grad()
    def before_step(self, progress: float) -> None:
        """Update the teacher towards the student. progress: share of the training done, 0 to 1"""
        self.progress = progress
        momentum = copy_momentum(progress, start=self.settings.momentum)
        for teacher, student in ((self.encoder, self.student_encoder), (self.head, self.student_head)):
            torch._foreach_lerp_([*teacher.parameters()], [*student.parameters()], 1 - momentum)

    def views(self, images: Tensor, *, normalize: Normalize, draws: Draws) -> tuple[Tensor, ...]:
        """Return normalised large and small crops of each image. images: (B, 3, S, S) in [0, 1]"""
        settings = self.settings
        crop = partial(random_resized_crop_flip, images, draws=draws)
        large = partial(crop, scale_min=settings.global_scale_min)
        small = partial(
            crop,
            scale_min=settings.local_scale_min,
            scale_max=settings.local_scale_max,
            size=settings.local_size,
        )
        blur, solar = settings.blur_probability, settings.solarize_probability
        kinds = [(large, blur, 0.0), (large, 0.1 * blur, solar)]
        kinds += settings.local_crops * [(small, 0.5 * blur, 0.0)]
        views = []
        for random_crop, blur_probability, solarize_probability in kinds:
            view = random_colors(
                random_crop(),
                jitter_probability=settings.jitter_probability,
                jitter_strength=settings.jitter_strength,
                grey_probability=settings.grey_probability,
                blur_probability=blur_probability,
                solarize_probability=solarize_probability,
                of=images.shape[-1],
                draws=draws,
            )
            views.append(normalize(view))
        return tuple(views)

    def forward(self, first: Tensor, second: Tensor, *small: Tensor) -> dict[str, Tensor]:
        """Return the loss of large and small crops, all normalised.

        first, second: (B, 3, S, S), large crops
        small:         (B, 3, s, s) each
        """
        large = torch.cat([first, second])
        student = [*self.in_parts(self.student_logits, large).chunk(2)]
        if small:
            group = crops_per_image(len(small), large=first.shape[-1], small=small[0].shape[-1])
            groups = torch.cat(small).unflatten(0, (-1, group))
            logits = self.in_parts(lambda rows: self.student_logits(rows.flatten(0, 1)), groups)
            student += logits.chunk(len(small))
        with torch.no_grad():
            teacher = self.in_parts(self.teacher_logits, large)
        loss = dino_loss(
            student,
            teacher.chunk(2),
            self.center,
            self.settings.student_temperature,
            self.teacher_temperature(),
        )
        self.move_center(teacher)
        return {"loss": loss}

    def student_logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, K) of the student, whose last layer is frozen at first."""
        frozen = self.progress < self.settings.freeze_last_layer
        tokens = encode_class_token(self.student_encoder, embed(self.student_encoder, images))
        return self.student_head(tokens, last_layer_learns=not frozen)

    def teacher_logits(self, images: Tensor) -> Tensor:
        """Return the logits (B, K) of the teacher."""
        return self.head(encode_class_token(self.encoder, embed(self.encoder, images)))

    def teacher_temperature(self) -> float:
        """Return the temperature of the teacher at this step; it rises linearly, then stays constant."""
        settings = self.settings
        done = min(1.0, self.progress / max(settings.teacher_temperature_warmup, 1e-12))
        start, end = settings.teacher_temperature_start, settings.teacher_temperature
        return start + (end - start) * done

    @torch.no_grad()
    def move_center(self, logits: Tensor) -> None:
        """Update the centre towards the mean logits (B, K) of all processes, which have equal batches."""
        mean = self.gather(logits.mean(dim=0, keepdim=True)).mean(dim=0)
        self.center.lerp_(mean, 1 - self.settings.center_momentum)


class Head(nn.Module):
    """Maps class tokens to logits: three layers, then the cosine with each of K directions."""

    def __init__(self, *, width: int, settings: Dino) -> None:
        super().__init__()
        hidden, bottleneck = settings.hidden_dim, settings.bottleneck_dim
        self.perceptron = nn.Sequential(
            nn.Linear(width, hidden),
            nn.GELU(),
            nn.Linear(hidden, hidden),
            nn.GELU(),
            nn.Linear(hidden, bottleneck),
        )
        for layer in self.perceptron:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.last_layer = weight_norm(nn.Linear(bottleneck, settings.output_dim, bias=False))
        norms = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(norms)
        norms.requires_grad = False  # trained norms make the training unstable (public configuration)

    def forward(self, tokens: Tensor, *, last_layer_learns: bool = True) -> Tensor:
        """Return logits (B, K) in [-1, 1], in float32. tokens: (B, D)"""
        bottleneck = self.perceptron(tokens)
        # bfloat16 rounds cosines by up to 0.004; a temperature of 0.04 turns this into a tenth of a logit.
        with torch.autocast(tokens.device.type, enabled=False):
            weight = self.last_layer.weight
            if not last_layer_learns:
                # Zero gradient, because distributed training waits for the gradient of every weight.
                weight = torch.lerp(weight.detach(), weight, 0.0)
            return F.linear(F.normalize(bottleneck.float(), dim=1), weight)


OBJECTIVE = Objective(build=build, settings=("dino",), shows_parts=True)
