"""A tiny CLIP with random weights, made in a folder, stands for those of Hugging Face."""

import sys

import pytest
import torch
from robot_learning.errors import ConfigError, DataError, EnvironmentSetupError
from robot_learning.models.clip_encoder import ClipImageEncoder
from robot_learning.models.dual_encoder import DualEncoder, DualEncoderConfig
from robot_learning.models.image_encoder import ImageEncoderConfig
from robot_learning.models.text_encoder import TextEncoderConfig

IMAGE = ImageEncoderConfig(features=6)


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    transformers = pytest.importorskip('transformers')
    torch.manual_seed(0)
    config = transformers.CLIPVisionConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
        projection_dim=8,
    )
    path = tmp_path_factory.mktemp('clip')
    transformers.CLIPVisionModel(config).save_pretrained(path)
    return path


def test_patches_become_cells_and_pictures_may_have_any_size(folder):
    encoder = ClipImageEncoder.pretrained(str(folder), IMAGE)
    assert (encoder.stride, encoder.num_features, encoder.num_pooled) == (8, 6, 16)
    for height, width in ((32, 32), (40, 48)):
        features = encoder(torch.rand(2, 3, height, width))
        assert features.cells.shape == (2, 6, height // 8, width // 8)
        assert features.pooled.shape == (2, 16)


def test_what_is_frozen_does_not_learn_and_stays_out_of_training_mode(folder):
    frozen = ClipImageEncoder.pretrained(str(folder), IMAGE).train()
    assert not any(p.requires_grad for p in frozen.clip.parameters())
    assert all(p.requires_grad for p in frozen.cells.parameters())
    assert frozen.training and not frozen.clip.training
    free = ClipImageEncoder.pretrained(str(folder), IMAGE, is_frozen=False).train()
    assert all(p.requires_grad for p in free.clip.parameters()) and free.clip.training


def test_its_description_makes_one_of_the_same_shape(folder):
    encoder = ClipImageEncoder.pretrained(str(folder), IMAGE).eval()
    again = ClipImageEncoder(encoder.describe(), IMAGE).eval()
    again.load_state_dict(encoder.state_dict())
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(again(image).cells, encoder(image).cells)


def test_it_takes_the_place_of_our_own_encoder(folder):
    text = TextEncoderConfig(layers=1, heads=2, width=8, feedforward=16)
    config = DualEncoderConfig(height=32, image=IMAGE, text=text, embedding=5)
    model = DualEncoder(config, 10, 10, 8, ClipImageEncoder.pretrained(str(folder), IMAGE))
    features = model.see(torch.rand(2, 3, 32, 32))
    assert model.image_embedding(features).shape == (2, 5)
    assert model.head.boxes(features.cells).shape == (2, 4, 16)


def test_a_name_that_is_nowhere_is_one_error(tmp_path, monkeypatch):
    pytest.importorskip('transformers')
    monkeypatch.setenv('HF_HUB_OFFLINE', '1')
    with pytest.raises(DataError, match=r'--pretrained .*absent: cannot be loaded'):
        ClipImageEncoder.pretrained(str(tmp_path / 'absent'), IMAGE)


def test_another_kind_of_model_is_refused(tmp_path):
    transformers = pytest.importorskip('transformers')
    config = transformers.ViTConfig(
        hidden_size=16,
        intermediate_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        image_size=32,
        patch_size=8,
    )
    transformers.ViTModel(config).save_pretrained(tmp_path)
    with pytest.raises((ConfigError, DataError), match=r'is a vit model, expected CLIP'):
        ClipImageEncoder.pretrained(str(tmp_path), IMAGE)


def test_without_transformers_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, 'transformers', None)
    with pytest.raises(EnvironmentSetupError, match='pip install transformers'):
        ClipImageEncoder.pretrained('openai/clip-vit-base-patch32', IMAGE)
