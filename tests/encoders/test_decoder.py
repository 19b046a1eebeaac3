"""The decoder of a masked autoencoder, saved, loaded and shown whole images."""

import pytest
import torch

from stages.analyses.fourier import measure, relative_log_amplitude
from stages.analyses.settings import AnalysisSettings
from stages.analyze import decoded
from stages.data.arrays import Split
from stages.encoders.architecture import build_encoder
from stages.encoders.decoder import FILE, Decoder, load_decoder, save_decoder
from stages.encoders.settings import Vit
from stages.encoders.vit import embed, encode, trace_deeply
from stages.study.errors import StudyError

VIT = Vit(width=16, depth=2, heads=2, patch_size=4, mlp_ratio=2.0, position="sincos")


def make() -> Decoder:
    torch.manual_seed(0)
    return Decoder(grid=4, patch_size=4, encoder_width=16, width=8, depth=3, heads=2).eval()


def test_a_decoder_comes_back_as_it_was_saved(tmp_path):
    assert load_decoder(tmp_path) is None
    save_decoder(tmp_path, make())
    first = (tmp_path / FILE).read_bytes()
    save_decoder(tmp_path, make())
    assert (tmp_path / FILE).read_bytes() == first
    decoder = load_decoder(tmp_path)
    encoded, every = torch.randn(2, 17, 16), torch.arange(16).expand(2, -1)
    torch.testing.assert_close(decoder(encoded, every), make()(encoded, every), rtol=0, atol=0)
    (tmp_path / FILE).write_bytes(first[:100])
    with pytest.raises(StudyError, match="not a complete decoder"):
        load_decoder(tmp_path)


def test_the_spectrum_of_a_decoder_is_that_of_what_it_makes_of_the_whole_image():
    encoder, decoder = build_encoder(vit=VIT, image_size=16, seed=0).eval(), make()
    images = torch.randn(3, 3, 16, 16)
    trace = trace_deeply(encoder, images)
    trace = trace._replace(decoded=decoded(decoder, encoder, trace.tokens[-1]))
    options = {"settings": AnalysisSettings(images=3), "patch_size": 4, "split": Split(None, {}, None)}
    tables = list(measure([(torch.arange(3), trace)], **options))
    parts = [(table["part"].iloc[0], table["block"].iloc[0]) for table in tables]
    assert parts == [("encoder", 0), ("encoder", 1), ("encoder", 2), *(("decoder", n) for n in range(4))]
    with torch.no_grad():
        tokens = decoder.tokens(encode(encoder, embed(encoder, images)), torch.arange(16).expand(3, -1))
    expected = relative_log_amplitude(tokens[3][:, 1:])[:, 1:].flatten()
    torch.testing.assert_close(torch.tensor(tables[-1]["log_amplitude"].to_numpy()), expected)
