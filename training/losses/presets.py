"""Losses of the published recipes: every number with its source.

A recipe names one and changes keys in it, or writes the whole sum, all flat:

    loss = "first_place_seresnext50_damage"
    loss_terms = ["dice:0.5", "focal:2", "cross_entropy:11"]
    loss_channel_weights = [0.1, 0.1, 0.3, 0.3, 0.2]
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from training.losses.options import LossOptions
from training.presets import resolve


def loss_options(recipe: Mapping[str, Any]) -> LossOptions:
    """Return the loss of a recipe, from its keys `loss` and `loss_...`.

    Raises
    ------
    OptionError
        For unknown presets, keys and terms, and values of the wrong type.
    """
    return resolve(LossOptions, recipe, topic="loss", presets=LOSSES)


def _first_place() -> dict[str, LossOptions]:
    # Source: xView2 first place, train34_loc.py and its siblings: Dice 1 and focal w.
    losses = {
        f"{network}_localisation": LossOptions(terms=("dice:1", f"focal:{weight}"))
        for network, weight in (("res34", 10), ("seresnext50", 10), ("dpn92", 6), ("senet154", 14))
    }
    # Source: train34_cls.py:379-385,494. Sigmoid channels, the building in channel 0.
    losses["res34_damage"] = LossOptions(
        terms=("dice:1", "focal:12"),
        channel_weights=(0.05, 0.2, 0.8, 0.7, 0.4),
        channel_0="building",
    )
    # Source: train50_cls_cce.py:383-391,501.
    losses["seresnext50_damage"] = LossOptions(
        terms=("dice:0.5", "focal:2", "cross_entropy:11"),
        channel_weights=(0.1, 0.1, 0.3, 0.3, 0.2),
    )
    # Source: train92_cls_cce.py:383-391,502.
    losses["dpn92_damage"] = LossOptions(
        terms=("dice:0.5", "focal:5", "cross_entropy:11"),
        channel_weights=(0.1, 0.1, 0.5, 0.3, 0.2),
    )
    # Source: train154_cls_cce.py:384-392,501.
    losses["senet154_damage"] = LossOptions(
        terms=("dice:0.5", "cross_entropy:8"), channel_weights=(0.1, 0.1, 0.6, 0.3, 0.2)
    )
    return losses


def _metadamagenet(first_place: Mapping[str, LossOptions]) -> dict[str, LossOptions]:
    # Source: MetaDamageNet, example_*.py: the weights of first place, Dice smoothed by 1e-8
    # (losses/dice.py), kornia's focal loss with alpha .7 (README). Its targets are one label map,
    # so channel 0 is the background in all of them.
    losses = {}
    for published, options in first_place.items():
        name = published.replace("res34", "resnet34")
        terms = tuple(term.replace("focal", "alpha_focal") for term in options.terms)
        if name == "senet154_damage":  # Dice 1 where first place has .5
            terms = ("dice:1", "cross_entropy:8")
        losses[name] = replace(options, terms=terms, smooth=1e-8, channel_0="background")
    # Source: README: these localisers train better without focal.
    plain = LossOptions(terms=("dice:1",), smooth=1e-8)
    # Source: README: Dice of the sigmoid per class and cross-entropy is best; its weights are in no
    # file, those of the SE-ResNeXt50 stand in.
    damage = replace(losses["seresnext50_damage"], terms=("dice:0.5", "cross_entropy:11"))
    for network in ("efficientunet", "segformer"):
        losses |= {f"{network}_localisation": plain, f"{network}_damage": damage}
    return losses


def _losses() -> dict[str, LossOptions]:
    first_place = _first_place()
    named = {f"first_place_{name}": options for name, options in first_place.items()}
    named |= {f"metadamagenet_{k}": v for k, v in _metadamagenet(first_place).items()}
    # Source: building_damage_kd, train_student_building.py:394,400-407,636: 3 Dice + 10 focal +
    # cross-entropy of sigmoid(z / 2) of the student, before what the teacher adds. Published, Dice
    # and focal took the sigmoid of that sigmoid; here they take it of z.
    named["distillation_localisation"] = LossOptions(
        terms=("dice:3", "focal:10", "bce:1"), temperature=2.0
    )
    # Source: building_damage_kd, train_student.py:521,557-566: the teacher's loss and a fifth of
    # the cross-entropy (its mean went over all five channels).
    named["distillation_damage"] = replace(
        first_place["seresnext50_damage"], terms=("dice:0.5", "focal:2", "cross_entropy:11.2")
    )
    # Source: xView2SiameseUNet, model/loss.py and training_preparations.py:60-66.
    named["siamese_resnet50"] = LossOptions(terms=("softmax_focal:1",), balanced=True)
    return named


#: Loss of each published recipe.
LOSSES: Mapping[str, LossOptions] = _losses()
