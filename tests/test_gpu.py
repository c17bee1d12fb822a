from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from geodamage.model.heads import probabilities
from geodamage.model.loading import load_model
from geodamage.scene.scene import Scene

ROOT = Path(__file__).parents[1]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(
        "CUDAExecutionProvider" not in onnxruntime.get_available_providers(),
        reason="this onnxruntime has no CUDA provider",
    ),
]


def test_cuda_says_what_the_processor_says():
    models = [load_model(device=device) for device in ("cpu", "cuda")]
    assert models[1].provider.startswith("CUDA")
    sample = ROOT / "sample_data"
    with Scene.open(sample / "pre.tif", sample / "post.tif", gsd=models[0].card.gsd) as scene:
        pixels = scene.read(scene.extent)
    height, width = (side // 16 * 16 for side in pixels.missing.shape)
    pre, post = (image[None, :, :height, :width] for image in (pixels.pre, pixels.post))
    on_cpu, on_gpu = (
        probabilities(model(np.ascontiguousarray(pre), np.ascontiguousarray(post)))
        for model in models
    )
    assert np.abs(on_cpu - on_gpu).max() < 5e-3
    assert (on_cpu.argmax(1) == on_gpu.argmax(1)).mean() > 0.999
