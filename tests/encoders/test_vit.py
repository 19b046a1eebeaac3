"""The encoder against timm's own forward pass and against attention written out."""

import pytest
import torch
from timm.layers import DropPath
from timm.models.vision_transformer import VisionTransformer

from stages.encoders.architecture import build_encoder, share_positions, sincos_positions, without_drop_path
from stages.encoders.settings import Vit
from stages.encoders.vit import (
    add_positions,
    embed,
    encode,
    encode_class_token,
    encode_visible,
    load_encoder,
    pooled_features,
    save_encoder,
    trace,
    trace_deeply,
    use_fused_attention,
)
from stages.study.errors import StudyError

VIT = Vit(width=16, depth=3, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")


@pytest.fixture
def encoder():
    return build_encoder(vit=VIT, image_size=16, seed=1)


@pytest.fixture
def images():
    return torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def test_encode_is_timms_forward(encoder, images):
    torch.testing.assert_close(encode(encoder, embed(encoder, images)), encoder(images))


def test_pooled_features_are_the_class_token_and_the_mean_of_the_others(encoder, images):
    tokens = encoder.forward_features(images)
    expected = {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(dim=1)}
    torch.testing.assert_close(pooled_features(encoder, images), expected)
    assert not any(rows.requires_grad for rows in pooled_features(encoder, images).values())


def test_the_class_token_alone_is_that_of_all_tokens_and_so_are_its_gradients(encoder, images):
    encoder, images = encoder.double(), images.double()
    whole = encode(encoder, embed(encoder, images))[:, 0]
    alone = encode_class_token(encoder, embed(encoder, images))
    torch.testing.assert_close(alone, whole)
    parameters = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    expected, gradients = (torch.autograd.grad(out[:, :5].sum(), parameters) for out in (whole, alone))
    torch.testing.assert_close(gradients, expected)


def test_shown_all_patches_it_encodes_them_all_in_any_order(encoder, images):
    patches = embed(encoder, images)
    order = torch.stack([torch.arange(16), torch.arange(16).flip(0)])
    whole, shown = encode(encoder, patches), encode_visible(encoder, patches, order)
    torch.testing.assert_close(shown[0], whole[0])
    torch.testing.assert_close(shown[1, 1:], whole[1, 1:].flip(0))
    torch.testing.assert_close(shown[1, 0], whole[1, 0])


def test_shown_some_patches_it_is_a_loop_over_images_that_keep_their_own(encoder, images):
    visible = torch.tensor([[1, 5, 6, 15], [0, 2, 9, 10]])
    shown = encode_visible(encoder, embed(encoder, images), visible)
    for image, indices, tokens in zip(images, visible, shown, strict=True):
        placed = encoder.patch_embed(image[None])[0] + encoder.pos_embed[0, 1:]
        alone = torch.stack([encoder.cls_token[0, 0], *(placed[index] for index in indices)])[None]
        torch.testing.assert_close(tokens, encoder.norm(encoder.blocks(alone))[0])


def test_a_smaller_grid_takes_its_positions_from_in_between():
    learned = VIT.model_copy(update={"position": "learned"})
    encoder = build_encoder(vit=learned, image_size=16, seed=1)
    encoder.patch_embed.strict_img_size = False
    timms = VisionTransformer(
        img_size=16, patch_size=4, embed_dim=16, depth=3, num_heads=2, mlp_ratio=2.0, num_classes=0,
        global_pool="", dynamic_img_size=True,
    )  # fmt: skip
    timms.load_state_dict(encoder.state_dict())
    for size in (8, 12, 16):
        images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(size))
        patches = embed(encoder, images)
        assert add_positions(encoder, patches).shape == (2, 1 + (size // 4) ** 2, 16)
        torch.testing.assert_close(encode(encoder, patches), timms(images))


def test_initialisation_depends_on_the_seed_alone(encoder):
    torch.manual_seed(5)
    same, other = build_encoder(vit=VIT, image_size=16, seed=1), build_encoder(vit=VIT, image_size=16, seed=2)
    for name, value in encoder.state_dict().items():
        assert torch.equal(value, same.state_dict()[name]), name
    assert not torch.equal(encoder.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)


def test_building_leaves_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    build_encoder(vit=VIT, image_size=16, seed=1)
    assert torch.equal(torch.rand(4), expected)


def test_positions_are_fixed_distinct_and_shift_by_rotation(encoder):
    assert not encoder.pos_embed.requires_grad
    assert encoder.pos_embed[0, 0].abs().max() == 0
    positions = sincos_positions(6, 32)
    assert torch.cdist(positions, positions).fill_diagonal_(1).min() > 0.1
    gram = (positions @ positions.T).reshape(6, 6, 6, 6)
    # The inner product depends on the displacement alone.
    torch.testing.assert_close(gram[1, 2, 3, 4], gram[2, 1, 4, 3])


@pytest.mark.parametrize("position", ["learned", "none"])
def test_other_positions(position, images):
    encoder = build_encoder(vit=VIT.model_copy(update={"position": position}), image_size=16, seed=1)
    assert (encoder.pos_embed is None) == (position == "none")
    assert encode(encoder, embed(encoder, images)).shape == (2, 17, 16)


def test_trace_holds_what_timm_computes(encoder, images):
    encoder.train()
    use_fused_attention(encoder, True)
    seen = trace(encoder, images)
    assert len(seen.tokens) == 4 and len(seen.attention) == 3 and seen.num_prefix_tokens == 1
    encoder.eval()
    blocks = encoder.forward_intermediates(
        images, output_fmt="NLC", return_prefix_tokens=True, intermediates_only=True
    )
    for ours, (patches, prefix) in zip(seen.tokens[1:], blocks, strict=True):
        torch.testing.assert_close(ours, torch.cat([prefix, patches], dim=1), atol=1e-5, rtol=1e-4)
    # Attention written out from the tokens that enter the block.
    for block, tokens, attention in zip(encoder.blocks, seen.tokens, seen.attention, strict=False):
        qkv = block.attn.qkv(block.norm1(tokens)).reshape(2, 17, 3, 2, 8)
        q, k = qkv[:, :, 0].transpose(1, 2), qkv[:, :, 1].transpose(1, 2)
        torch.testing.assert_close(
            attention, (q @ k.transpose(2, 3) / 8**0.5).softmax(-1), atol=1e-6, rtol=1e-4
        )
        torch.testing.assert_close(attention.sum(-1), torch.ones(2, 2, 17))


def test_trace_shows_the_tokens_between_self_attention_and_mlp(encoder, images):
    seen = trace_deeply(encoder, images)
    assert len(seen.attended) == 3
    for block, before, between, after in zip(
        encoder.blocks, seen.tokens, seen.attended, seen.tokens[1:], strict=False
    ):
        torch.testing.assert_close(between, before + block.attn(block.norm1(before)), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(after, between + block.mlp(block.norm2(between)), atol=1e-5, rtol=1e-4)


def test_trace_leaves_the_encoder_as_it_was(encoder, images):
    encoder.train()
    use_fused_attention(encoder, True)
    seen = trace_deeply(encoder, images)
    assert encoder.training and all(block.attn.fused_attn for block in encoder.blocks)
    assert not any(tensor.requires_grad for tensor in [*seen.tokens, *seen.attention, *seen.heads])
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in encoder.modules())


def test_a_trace_may_leave_out_attention_alone(encoder, images):
    use_fused_attention(encoder, True)
    without, whole = trace_deeply(encoder, images, attention=False), trace_deeply(encoder, images)
    assert without.attention == [] and len(whole.attention) == 3
    for part in ("tokens", "attended", "heads"):
        torch.testing.assert_close(getattr(without, part), getattr(whole, part))
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in encoder.modules())


def test_trace_is_in_float32_under_autocast(encoder, images):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = trace(encoder, images)
    assert {tensor.dtype for tensor in seen.tokens + seen.attention} == {torch.float32}


def test_a_frozen_projection_gets_no_gradient(encoder, images):
    encode(encoder, embed(encoder, images, frozen_projection=True)).sum().backward()
    assert encoder.patch_embed.proj.weight.grad is None
    assert encoder.blocks[0].attn.qkv.weight.grad is not None


def test_saved_and_loaded_it_is_the_same_and_its_bytes_are(encoder, images, tmp_path):
    for name in ("a", "b"):
        save_encoder(tmp_path / name, encoder, vit=VIT, image_size=16, about={"arm": "x"})
    for file in ("encoder.safetensors", "encoder.json"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    loaded = load_encoder(tmp_path / "a")
    assert not loaded.training
    torch.testing.assert_close(loaded(images), encoder.eval()(images), rtol=0, atol=0)


def test_half_an_encoder_is_refused_in_one_line(encoder, tmp_path):
    save_encoder(tmp_path, encoder, vit=VIT, image_size=16, about={})
    path = tmp_path / "encoder.safetensors"
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(StudyError, match="not a complete encoder") as error:
        load_encoder(tmp_path)
    assert "\n" not in str(error.value)
    with pytest.raises(StudyError, match="dvc repro"):
        load_encoder(tmp_path / "nothing")


def test_blocks_are_left_out_in_training_the_later_the_more_often_and_never_in_a_trace(
    encoder, images, tmp_path
):
    dropping = build_encoder(vit=VIT, image_size=16, seed=1, drop_path=0.5)
    rates = [getattr(block.drop_path1, "drop_prob", 0.0) for block in dropping.blocks]
    assert rates == pytest.approx([0.0, 0.25, 0.5])
    many = images[:1].expand(400, -1, -1, -1)
    torch.manual_seed(0)
    outputs = encode(dropping.train(), embed(dropping, many))[:, 0, 0]
    # Of one image, the four blocks' branches that may be left out give 16 results.
    assert len(outputs.detach().round(decimals=5).unique()) > 8
    save_encoder(tmp_path, dropping, vit=VIT, image_size=16, about={})
    for other in (dropping, load_encoder(tmp_path)):
        result, expected = trace(other, images), trace(encoder, images)
        assert all(torch.equal(*pair) for pair in zip(result.tokens, expected.tokens, strict=True))
    assert not any(isinstance(module, DropPath) for module in load_encoder(tmp_path).modules())
    torch.manual_seed(0)
    outputs = encode(without_drop_path(dropping).train(), embed(dropping, many))[:, 0, 0]
    assert len(outputs.detach().round(decimals=5).unique()) == 1


def test_blocks_share_a_relative_position_bias_that_starts_at_zero(images, tmp_path):
    vit = VIT.model_copy(update={"position": "relative", "layer_scale": 0.1})
    encoder = build_encoder(vit=vit, image_size=16, seed=1)
    bare = build_encoder(vit=vit.model_copy(update={"position": "none"}), image_size=16, seed=1)
    bare.load_state_dict(encoder.state_dict(), strict=False)
    torch.testing.assert_close(encoder(images), bare(images))
    share_positions(encoder)
    tables = [p for name, p in encoder.named_parameters() if name.endswith("bias_table")]
    assert len(tables) == 1 and tables[0].shape == (7 * 7 + 3, VIT.heads)
    torch.nn.init.normal_(tables[0], generator=torch.Generator().manual_seed(0))
    save_encoder(tmp_path, encoder, vit=vit, image_size=16, about={})
    loaded = load_encoder(tmp_path)
    assert sum(name.endswith("bias_table") for name, _ in loaded.named_parameters()) == VIT.depth
    torch.testing.assert_close(loaded(images), encoder(images))
    assert not torch.allclose(encoder(images), bare(images), atol=1e-4)
    whole = encode(encoder, embed(encoder, images))[:, 0]
    torch.testing.assert_close(encode_class_token(encoder, embed(encoder, images)), whole)
    # Of an empty image only the displacement tells patches apart.
    empty = trace(encoder, torch.zeros_like(images)).attention[0][0, :, 1:, 1:]
    torch.testing.assert_close(empty[:, 0, 1] / empty[:, 0, 0], empty[:, 5, 6] / empty[:, 5, 5])
    assert not torch.allclose(empty[:, 0, 1], empty[:, 0, 0], atol=1e-2)


def test_the_heads_of_a_trace_are_attention_times_values_and_their_mixture_is_what_the_block_adds(
    encoder, images
):
    result = trace_deeply(encoder, images)
    plain = trace(encoder, images)
    torch.testing.assert_close(result.tokens, plain.tokens)
    tokens, attention, prefix = result[:3]
    assert prefix == 1 and len(result.heads) == len(attention) == 3
    block = encoder.blocks[1]
    value = block.attn.qkv(block.norm1(tokens[1]))[..., 32:].unflatten(-1, (2, 8))
    expected = torch.einsum("bhqk,bkhd->bqhd", attention[1], value)
    torch.testing.assert_close(result.heads[1], expected)
    assert not any(block.attn.proj._forward_pre_hooks for block in encoder.blocks)
