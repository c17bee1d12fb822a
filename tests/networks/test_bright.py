"""The networks of BRIGHT: their vector, and their plain state dicts to models for a radar after."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import torch

from geodamage.errors import CheckpointError, GeodamageWarning
from geodamage.model.onnx import Model
from geodamage.networks import importing
from geodamage.networks.bright import BrightUNet, SiamAttnUNet
from geodamage.networks.checkpoints import read_checkpoint
from geodamage.networks.conventions import Exported, convention_of
from geodamage.networks.importing import import_checkpoints
from tests.conftest import make_arrays, make_raster, run_command
from tests.data_folder import DATA, needs
from tests.networks.drawn_weights import drawn_image, drawn_state

#: Networks with random weights find nothing in a synthetic pair, or everything.
pytestmark = pytest.mark.filterwarnings("ignore:.* in a synthetic pair")

#: Made once with the authors' networks and their scaling: probabilities at every 16th pixel of 64.
VECTOR = json.loads(Path(__file__).with_name("bright_vector.json").read_text())
NETWORKS = {"bright_unet": BrightUNet, "bright_siamattnunet": SiamAttnUNet}
#: Bytes of the files as published; their tensors alone are this much less by what zip adds.
PUBLISHED = {"bright_unet": 124_274_886, "bright_siamattnunet": 243_965_300}


def drawn(name):
    network = NETWORKS[name]().eval()
    network.load_state_dict(drawn_state(network.state_dict()))
    return network


@pytest.fixture(scope="module", params=NETWORKS)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def network(name):
    return drawn(name)


@pytest.fixture(scope="module")
def source(name, network, tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "ckpt_standard_ML_split.pth"
    torch.save(network.state_dict(), path)
    return path


@pytest.fixture(scope="module")
def made(name, source, tmp_path_factory):
    """Return what the import made of a plain state dict, measured on small windows, and warned."""
    sizes = {"HALO_WINDOW": 96, "CORE": 32, "TILE": 128, "GLOBAL_HALO": 16}
    output = tmp_path_factory.mktemp("made") / "bright"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importing, "measure_memory", lambda path, size: 99.0)
        for constant, size in sizes.items():
            patch.setattr(importing, constant, size)
        with pytest.warns(GeodamageWarning) as told:
            (imported,) = import_checkpoints([source], output)
    return imported, [str(warning.message) for warning in told]


@pytest.mark.slow
def test_it_says_what_its_authors_say(name, network):
    pre, post = drawn_image(64)[:, :4].to(torch.uint8).split((3, 1), 1)
    with torch.no_grad():
        localisation, damage = Exported(network, convention_of("bright", name, "assess"))(pre, post)
    background, intact, damaged, destroyed = np.array(VECTOR[name])
    found = damage[0, :, ::16, ::16].numpy()
    np.testing.assert_allclose(localisation[0, 0, ::16, ::16], 1 - background, atol=1e-5)
    np.testing.assert_allclose(found[[0, 2, 3]], [intact, damaged, destroyed], atol=1e-5)
    assert not found[1].any()  # it has no grade between intact and damaged


@pytest.mark.slow
def test_the_file_has_the_size_of_the_published_one(name, source):
    # What zip adds depends on the length of the name; without biases it would be 23 kB less.
    assert abs(source.stat().st_size - PUBLISHED[name]) < 6_000


@pytest.mark.slow
def test_the_whole_window_counts_where_it_is_pooled(name, network):
    images = torch.rand(1, 6, 256, 256, generator=torch.manual_seed(0))
    changed = images.clone()
    changed[..., :16, :16] = 5
    with torch.no_grad():
        moved = (network(images) - network(changed))[..., -16:, -16:].abs().max()
    assert (moved > 1e-6) == (name == "bright_siamattnunet")


@pytest.mark.slow
def test_a_plain_state_dict_becomes_a_model_with_a_caution(name, made):
    imported, told = made
    assert any("0 to 0.013 % of the damaged pixels of a flood" in text for text in told)
    assert (imported.network, imported.family, imported.task) == (name, "bright", "assess")
    assert imported.difference < 1e-3
    card = Model(imported.path, device="cpu").card
    assert (card.post_sensor, card.post_channels, card.stride) == ("sar", ("intensity",), 16)
    assert (card.gsd_min, card.gsd_max, card.background_competes) == (0.3, 1.0, True)
    assert "0.013 %" in card.caution
    assert "of the files that its authors published" in card.scores["published"]


def assessed(made, images, output):
    """Assess, and return the sidecar; the caution is said."""
    result = run_command(
        "assess", *images, "-o", output, "--model", made[0].path, "--post-sensor", "sar"
    )
    assert result.exit_code == 0, result.stderr
    assert "0.013 % of the damaged pixels" in result.stderr
    facts = json.loads(output.with_name(f"{output.name}.json").read_text())
    assert any("0.013 %" in text for text in facts["warnings"])
    assert facts["scene"]["post"]["sensor"] == "sar"
    return facts


@pytest.mark.slow
def test_it_grades_an_image_of_a_radar(tmp_path, made):
    pre, post = make_arrays()
    images = make_raster(tmp_path / "pre.tif", pre), make_raster(tmp_path / "sar.tif", post[:1])
    output = tmp_path / "b.geojson"
    refused = run_command("assess", *images, "-o", output, "--model", made[0].path)
    assert "give --post-sensor sar" in refused.stderr
    facts = assessed(made, images, output)
    assert len(gpd.read_file(output, layer=0)) == facts["buildings"]


@pytest.mark.slow
@pytest.mark.data
@needs("bright")
def test_it_grades_a_real_pair_of_bright(tmp_path, made):
    images = []
    for date in ("pre", "post"):
        source = DATA / "bright" / f"la_palma-volcano_00000279_{date}_disaster.tif"
        images.append(tmp_path / f"{date}.tif")
        with rasterio.open(source) as dataset:
            window = rasterio.windows.Window(384, 384, 256, 256)
            profile = dataset.profile | {
                "width": 256, "height": 256, "transform": dataset.window_transform(window)
            }  # fmt: skip
            with rasterio.open(images[-1], "w", **profile) as cut:
                cut.write(dataset.read(window=window))
    facts = assessed(made, images, tmp_path / "b.gpkg")
    assert facts["assessed_km2"] > 0.001


@pytest.mark.slow
def test_half_a_network_is_refused(tmp_path, name, network):
    state = dict(network.state_dict())
    gone = next(iter(state))
    del state[gone]
    torch.save(state, tmp_path / "half.pth")
    with pytest.raises(CheckpointError, match=rf"nearest to {name} .*1 missing: {gone}"):
        read_checkpoint(tmp_path / "half.pth")
