"""The banner at the top of the report: what was studied, the outcome, and the most important limit."""

from typing import Any

from markupsafe import Markup

from stages.encoders.size import parameters
from stages.render.encoder_size import millions, vit_of
from stages.render.page.provenance import portable
from stages.render.sections.verdicts import side_of_zero
from stages.render.words import listed, unbroken
from stages.study.params import label_of, seeds_of
from stages.study.recipe import images_seen, recipe_of
from stages.study.settings import Arm
from stages.study.study import Study
from stages.study.words import counted

UNTRAINED = ("random", "imported")  # objectives that are not pre-trained here
DRAWN = "shapes_textures"  # the built-in data set
SMALL = 20e6  # parameters; ViT-S, a small encoder in the paper, has 22 million
PAPER_SIZE = 224  # px
NOT_TESTABLE = "not testable at this budget"
# Condition for testing -> how it fails, in words, for one arm or several.
FAILURES = {
    "fine-tuning converged": "fine-tuning of {arms} may not have converged",
    "learnt": "{arms} {are} not clearly better than the untrained encoder in a linear probe",
    "beyond the mean": "the pre-training loss of {arms} is hardly below that of predicting a local mean",
}
# Precision -> its name in a sentence.
PRECISIONS = {
    "32-true": "32-bit precision",
    "bf16-mixed": "bfloat16 mixed precision",
    "16-mixed": "float16 mixed precision",
}
VERDICTS = ("supported", "contradicted", "negligible", "undecided", NOT_TESTABLE, "not tested")


def banner(study: Study, manifest: dict[str, Any], decided: dict[str, Any]) -> str:
    """Return the banner as HTML with three sentences.

    manifest: content of data/prepared/manifest.json
    decided:  as `results.claims` returns it
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
    trained = [name for name, arm in arms.items() if arm.objective not in UNTRAINED]
    counts = {
        word: sum(arm.objective == objective for arm in arms.values())
        for objective, word in (("imported", "imported"), ("random", "untrained"))
    }
    origins = ", ".join(f"{count} {word}" for word, count in counts.items() if count)
    origin = f" ({origins})" if origins else ""
    kind = "demonstration" if manifest["source"] == DRAWN else "study"
    verb = "studies" if len(arms) == 1 else "compares"
    parts = [f"This {kind} {verb} {counted(len(arms), 'encoder')}{origin}{_seeds(study)}"]
    if size := millions(study):
        parts.append(f"with {size}")
    if trained:
        epochs = sorted({arms[name].stop_epoch or recipe_of(study, name)[1].epochs for name in trained})
        images = manifest["splits"]["train"]["images"]
        parts.append(
            f"pre-trained for {listed(map(str, epochs))} epoch{'' if epochs == [1] else 's'} on "
            f"{images:,} images of {_data(manifest)}"
        )
        parts.append(f"in {listed(precisions(study))}")
    else:
        parts.append(
            f"measured on {manifest['splits']['test']['images']:,} held-out images of {_data(manifest)}"
        )
    return ", ".join(parts) + "."


def outcome(claims: list[dict[str, Any]]) -> str:
    """Return the verdicts on the paper's headline claims in one sentence."""
    headline = [claim for claim in claims if claim.get("family") == "headline"]
    testable = [claim for claim in headline if claim.get("effect") is not None]
    decided = [claim for claim in testable if claim.get("scope", "methods") == "methods"]
    compared = [claim for claim in testable if claim["verdict"] != NOT_TESTABLE]
    if not testable or not (decided or compared):
        return "This study gives no verdict on the headline claims of the paper; it tests none of them."
    if not decided:
        ahead = sum(claim["effect"] > 0 for claim in compared)
        return (
            "This study gives no verdict on the headline claims of the paper; "
            f"{ahead} of {counted(len(compared), 'difference')} between these encoders "
            f"{'has' if len(compared) == 1 else 'have'} the direction that the paper claims."
        )
    verdicts = [claim["verdict"] for claim in headline]
    against = sum(side_of_zero(claim) == "below 0" for claim in headline)
    notes = {"undecided": f" ({against} against the paper, by an interval without 0)"} if against else {}
    counts = [f"{verdicts.count(name)} {name}{notes.get(name, '')}" for name in VERDICTS if name in verdicts]
    one_sided = sum(claim not in decided for claim in testable)
    rest = f"; {one_sided} of them only about these encoders, not the methods" if one_sided else ""
    return f"Verdicts on {counted(len(headline), 'headline claim')} of the paper: {listed(counts)}{rest}."


def limit(
    study: Study, manifest: dict[str, Any], gates: list[dict[str, Any]], claims: list[dict[str, Any]]
) -> str:
    """Return the most important limit of the study in one sentence.

    The order is: a failed condition for testing, one seed, mixed precision, drawn images, small encoders. The
    limit of every other study is one family of encoders and one recipe.
    """
    failed = [gate for gate in gates if gate["status"] == "failed"]
    if failed:
        blocked = sum(claim["verdict"] == NOT_TESTABLE for claim in claims)
        effect = f"{counted(blocked, 'claim')} cannot be tested, because " if blocked else ""
        return f"Limit: {effect}{_failures(failed, study)}."
    once = [label_of(study, name) for name in study.arms if len(seeds_of(study, name)) == 1]
    if once and len(study.arms) == 1:
        return "Limit: the encoder was trained once, so its results may be due to the seed."
    if len(once) == len(study.arms):
        return "Limit: every encoder was trained once, so differences may be due to the seed."
    if len(precisions(study)) > 1:
        return f"Limit: the arms differ in precision ({listed(precisions(study))}), which changes results."
    if once:
        verb = "was" if len(once) == 1 else "were"
        return f"Limit: {listed(once)} {verb} trained once, so their differences may be due to the seed."
    if manifest["source"] == DRAWN:
        return (
            "Limit: this is a demonstration on drawn images with a small encoder; it does not test the paper "
            "at the paper's scale (ViT-B/16, ImageNet-1K)."
        )
    built = [arm for arm in study.arms.values() if arm.objective != "imported"]
    if built and max(_size(study, arm) for arm in built) < SMALL:
        seen = _most_seen(study, manifest)
        budget = f"; {seen:,} images seen per training instead of 384 million or more" if seen else ""
        size = manifest["image_size"]
        pixels = f"; images of {size} px instead of 224" if size != PAPER_SIZE else ""
        return f"Limit: encoders of {millions(study)} instead of 86 million in the paper{pixels}{budget}."
    return "Limit: one family of encoders and one recipe; other recipes may rank the methods differently."


def precisions(study: Study) -> list[str]:
    """Return the precisions of the trained arms in words, without repetition."""
    used = (
        PRECISIONS[recipe_of(study, name)[1].precision]
        for name, arm in study.arms.items()
        if arm.objective not in UNTRAINED
    )
    return list(dict.fromkeys(used))


def _failures(failed: list[dict[str, Any]], study: Study) -> str:
    """Return the failed conditions in words, each with all its arms."""
    arms: dict[str, list[str]] = {}
    for gate in failed:
        arms.setdefault(gate["name"], []).append(label_of(study, gate["arm"]))
    return listed(
        FAILURES[name].format(arms=listed(labels), are="is" if len(labels) == 1 else "are")
        for name, labels in arms.items()
    )


def _data(manifest: dict[str, Any]) -> str:
    size = manifest["image_size"]
    if manifest["source"] == DRAWN:
        return f"drawn shapes and textures ({size} × {size} px)"
    return f"{portable(manifest['source'])} ({size} × {size} px)"


def _seeds(study: Study) -> str:
    counts = sorted({len(seeds_of(study, name)) for name in study.arms})
    each = "trained" if len(study.arms) == 1 else "each"
    if counts == [1]:
        return f", {each} from one seed"
    if len(counts) == 1:
        return f", {each} from {counts[0]} seeds"
    return f", {each} from {counts[0]} to {counts[-1]} seeds"


def _most_seen(study: Study, manifest: dict[str, Any]) -> int:
    """Return the largest number of images that an arm sees in one training; 0 without trained arms."""
    images = manifest["splits"]["train"]["images"]
    trained = [name for name, arm in study.arms.items() if arm.objective not in UNTRAINED]
    return max((images_seen(study, name, images=images) for name in trained), default=0)


def _size(study: Study, arm: Arm) -> int:
    return parameters(vit_of(study, arm), image_size=study.data.image_size)
