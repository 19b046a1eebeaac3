"""The banner at the top of the report: what was studied, what held, and the most important limit."""

from typing import Any

from markupsafe import Markup

from stages.encoders.size import parameters
from stages.render.encoder_size import vit_of
from stages.render.page.provenance import portable
from stages.render.words import listed, number, unbroken
from stages.study.params import label_of, seeds_of
from stages.study.recipe import recipe_of
from stages.study.settings import Arm
from stages.study.study import Study

UNTRAINED = ("random", "imported")  # objectives that are not pre-trained here
DRAWN = "shapes_textures"  # the built-in data set
SMALL = 20e6  # parameters; the paper's smallest encoder that counts as one, ViT-S, has 22 million
NOT_TESTABLE = "not testable at this budget"
VERDICTS = ("supported", "contradicted", "negligible", "undecided", NOT_TESTABLE, "not tested")


def banner(study: Study, manifest: dict[str, Any], decided: dict[str, Any]) -> str:
    """HTML of the banner: three sentences and where to read on.

    manifest: data/prepared/manifest.json
    decided:  as `results.claims` gives it
    """
    sentences = [
        studied(study, manifest),
        outcome(decided["claims"]),
        limit(study, manifest, decided["gates"], decided["claims"]),
    ]
    return Markup('<div class="banner">{}</div>').format(
        Markup("").join(Markup("<p>{}</p>").format(unbroken(sentence)) for sentence in sentences)
    )


def studied(study: Study, manifest: dict[str, Any]) -> str:
    """Return one sentence on what was studied: arms, seeds, encoder, data, budget and precision."""
    arms = study.arms
    trained = [arm for arm in arms.values() if arm.objective not in UNTRAINED]
    imported = sum(arm.objective == "imported" for arm in arms.values())
    taken = f" ({imported} imported)" if imported else ""
    kind = "demonstration" if manifest["source"] == DRAWN else "study"
    parts = [f"This {kind} compares {_counted(len(arms), 'encoder')}{taken}{_seeds(study)}"]
    here = [arm for arm in arms.values() if arm.objective != "imported"]
    if here:
        sizes = sorted({parameters(vit_of(study, arm), image_size=study.data.image_size) for arm in here})
        millions = listed(number(size / 1e6, digits=2) for size in sizes)
        parts.append(f"with {millions} million parameters")
    if trained:
        epochs = sorted({arm.stop_epoch or arm.epochs or study.pretrain.epochs for arm in trained})
        images = manifest["splits"]["train"]["images"]
        parts.append(
            f"pre-trained for {listed(map(str, epochs))} epochs on {images:,} images of {_data(manifest)}"
        )
        parts.append(f"at precision {listed(precisions(study))}")
    else:
        parts.append(
            f"measured on {manifest['splits']['test']['images']:,} held-out images of {_data(manifest)}"
        )
    return ", ".join(parts) + "."


def outcome(claims: list[dict[str, Any]]) -> str:
    """How many of the paper's headline claims have which verdict, in one sentence."""
    headline = [claim for claim in claims if claim.get("family") == "headline"]
    testable = [claim for claim in headline if claim.get("effect") is not None]
    decided = [claim for claim in testable if claim.get("scope", "methods") == "methods"]
    if not decided:
        ahead = sum(claim["effect"] > 0 for claim in testable)
        return (
            f"No headline claim of the paper gets a verdict; {ahead} of {len(testable)} differences between "
            "these encoders point the way the paper says."
        )
    verdicts = [claim["verdict"] for claim in headline]
    counts = [f"{verdicts.count(name)} {name}" for name in VERDICTS if name in verdicts]
    one_sided = sum(claim not in decided for claim in testable)
    verb = "compares" if one_sided == 1 else "compare"
    rest = f"; {one_sided} more {verb} these encoders only" if one_sided else ""
    return f"Of {_counted(len(headline), 'headline claim')} of the paper: {listed(counts)}{rest}."


def limit(
    study: Study, manifest: dict[str, Any], gates: list[dict[str, Any]], claims: list[dict[str, Any]]
) -> str:
    """The most important limit of the study, in one sentence.

    In this order: a condition that fails, encoders that were trained once, mixed precision, drawn images,
    small encoders; a study without any of these has one model family and one recipe.
    """
    failed = [gate for gate in gates if gate["status"] == "failed"]
    blocked = sum(claim["verdict"] == NOT_TESTABLE for claim in claims)
    if failed:
        verb = "fails" if len(failed) == 1 else "fail"
        return (
            f"Limit: {_counted(len(failed), 'condition')} for testing {verb} ({failed[0]['words']}), which "
            f"leaves {_counted(blocked, 'claim')} untested."
        )
    once = [label_of(study, name) for name in study.arms if len(seeds_of(study, name)) == 1]
    if len(once) == len(study.arms):
        return "Limit: every encoder was trained once, so nothing here says what another seed would change."
    if len(precisions(study)) > 1:
        return f"Limit: the arms differ in precision ({listed(precisions(study))}), which changes results."
    if once:
        return f"Limit: trained once, so compared without the variation between seeds: {listed(once)}."
    if manifest["source"] == DRAWN:
        return (
            "Limit: this is a demonstration on drawn images with a small encoder; it does not test the paper "
            "at its own scale (ViT-B/16, ImageNet-1K)."
        )
    here = [arm for arm in study.arms.values() if arm.objective != "imported"]
    if here and max(_size(study, arm) for arm in here) < SMALL:
        return (
            "Limit: the encoders are small and trained briefly; the paper's are ViT-B/16 with 86 million "
            "parameters on ImageNet-1K."
        )
    return "Limit: one family of encoders and one recipe; other recipes may rank the methods otherwise."


def precisions(study: Study) -> list[str]:
    """The precisions that the arms of a study are trained in, each once."""
    used = (
        recipe_of(study, name)[1].precision
        for name, arm in study.arms.items()
        if arm.objective not in UNTRAINED
    )
    return list(dict.fromkeys(used))


def _data(manifest: dict[str, Any]) -> str:
    size = manifest["image_size"]
    if manifest["source"] == DRAWN:
        return f"drawn shapes and textures ({size} × {size} px)"
    return f"{portable(manifest['source'])} ({size} × {size} px)"


def _seeds(study: Study) -> str:
    counts = sorted({len(seeds_of(study, name)) for name in study.arms})
    if counts == [1]:
        return ", one training each"
    if len(counts) == 1:
        return f", {counts[0]} seeds each"
    return f", {counts[0]} to {counts[-1]} seeds each"


def _size(study: Study, arm: Arm) -> int:
    return parameters(vit_of(study, arm), image_size=study.data.image_size)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
