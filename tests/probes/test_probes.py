"""Probes against scikit-learn and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from stages.probes import accuracy, attentive, class_mean, few_shot, knn, layerwise, linear
from stages.probes.settings import Attentive, ClassMean, FewShot, Knn, Layerwise, Linear
from stages.study.errors import StudyError


@pytest.fixture
def blobs():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(4, 8)) * 1.2
    labels = rng.integers(4, size=900)
    features = (centres[labels] + rng.normal(size=(900, 8))).astype(np.float32)
    return torch.from_numpy(features), torch.from_numpy(labels)


def test_votes_are_those_of_scikit_learn(blobs):
    features, labels = blobs
    ours = knn.vote(features[:600], labels[:600], features[600:], k=7, temperature=0.07, classes=4)
    model = KNeighborsClassifier(7, metric="cosine", weights=lambda d: np.exp((1 - d) / 0.07))
    theirs = model.fit(features[:600], labels[:600]).predict(features[600:])
    assert (ours.numpy() == theirs).all()


def test_a_query_left_out_does_not_vote_for_itself():
    features = torch.eye(4)
    labels = torch.tensor([0, 1, 1, 1])
    self_vote = knn.vote(features, labels, features[:1], k=1, temperature=0.1, classes=2)
    other_vote = knn.vote(
        features, labels, features[:1], k=3, temperature=0.1, classes=2, left_out=torch.tensor([0])
    )
    assert self_vote.item() == 0 and other_vote.item() == 1


def test_more_neighbours_than_images_are_all_of_them():
    result = knn.vote(
        torch.eye(3), torch.tensor([0, 1, 1]), torch.ones(1, 3), k=50, temperature=1.0, classes=2
    )
    assert result.item() == 1


def test_the_linear_probe_reaches_what_scikit_learn_reaches(blobs):
    features, labels = blobs
    settings = Linear(epochs=60, batch_size=128, learning_rates=[0.001, 0.1, 1.0], validation_fraction=0.1)
    predictions, choice, rates = linear.fit_predict(
        {"mean": features[:600]}, labels[:600], {"mean": features[600:]},
        classes=4, settings=settings, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    theirs = (
        LogisticRegression(C=100, max_iter=500)
        .fit(features[:600], labels[:600])
        .score(features[600:], labels[600:])
    )
    ours = (predictions["mean"] == labels[600:]).float().mean().item()
    assert ours == pytest.approx(theirs, abs=0.03)
    assert choice["mean"] == pytest.approx(theirs, abs=0.12)
    assert rates["learning_rate_mean"] in settings.learning_rates


def test_heads_trained_together_are_those_trained_alone(blobs):
    features, labels = blobs
    together = linear.train_heads(
        features, labels, classes=4, rates=torch.tensor([0.01, 0.3]), epochs=3, batch_size=100,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    head = torch.nn.Linear(8, 4)
    torch.nn.init.zeros_(head.weight), torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.SGD(head.parameters(), lr=0.3, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=27)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for batch in torch.randperm(900, generator=generator).split(100):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(head(features[batch]), labels[batch]).backward()
            optimizer.step()
            scheduler.step()
    # Momentum on a decaying rate: torch scales the whole velocity by the current rate, as we do.
    torch.testing.assert_close(together[1, :-1].T, head.weight, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(together[1, -1], head.bias, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_features_trained_together_are_those_trained_alone(blobs, dtype):
    features, labels = blobs
    several = torch.stack([features, features.flip(1) ** 2, torch.randn(900, 8)]).to(dtype)
    options = {"classes": 4, "rates": torch.tensor([0.03, 1.0]), "epochs": 3, "batch_size": 128}
    together = linear.train_heads(several, labels, **options, generator=torch.Generator().manual_seed(0))
    assert together.shape == (3, 2, 9, 4)
    for place, alone in enumerate(several):
        weights = linear.train_heads(alone, labels, **options, generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(together[place], weights.to(together.dtype), rtol=1e-5, atol=1e-5)
        assert torch.equal(linear.predict(several, together)[place], linear.predict(alone, together[place]))


def test_validation_holds_the_scores_of_a_few_images_at_a_time(blobs, monkeypatch):
    # For ImageNet, the scores of 128,000 validation images by 14 heads of 1,000 classes take 7 TB.
    features, labels = blobs
    settings = Linear(epochs=3, batch_size=128, learning_rates=[0.1, 1.0], validation_fraction=0.5)
    predict, scores = linear.predict, []

    def counted(features, weights):
        result = predict(features, weights)
        scores.append(result.numel() * weights.shape[-1])
        return result

    def probed():
        return linear.fit_predict(
            {"cls": features[:600], "mean": -features[:600]}, labels[:600],
            {"cls": features, "mean": features},
            classes=4, settings=settings, generator=torch.Generator().manual_seed(0),
        )  # fmt: skip

    whole = probed()
    monkeypatch.setattr(linear, "predict", counted)
    monkeypatch.setattr(linear, "MOST_SCORES", 400)
    parts = probed()
    validated = scores[:-2]  # the last two are predictions for test images by one head each
    assert sum(validated) == 300 * 2 * 2 * 4 and max(validated) <= 400
    assert parts.choice == whole.choice and parts.details == whole.details


def test_every_block_is_the_linear_probe_of_that_block_alone(blobs):
    features, labels = blobs
    blocks = {"0": torch.randn_like(features), "10": features, "9": features.roll(1, dims=0)}
    options = {"epochs": 20, "batch_size": 128, "learning_rates": [0.01, 0.3], "validation_fraction": 0.1}
    train, test = ({name: values[part] for name, values in blocks.items()}
                   for part in (slice(600), slice(600, None)))  # fmt: skip
    predictions, choice, block_rates = layerwise.fit_predict(
        train, labels[:600], test,
        classes=4, settings=Layerwise(**options), generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    assert list(predictions) == ["0", "9", "10"] and max(choice, key=lambda block: choice[block]) == "10"
    for block in blocks:
        alone, accuracies, rates = linear.fit_predict(
            {"mean": train[block]}, labels[:600], {"mean": test[block]},
            classes=4, settings=Linear(**options), generator=torch.Generator().manual_seed(0),
        )  # fmt: skip
        assert torch.equal(predictions[block], alone["mean"]) and choice[block] == accuracies["mean"]
        assert block_rates[f"learning_rate_{block}"] == rates["learning_rate_mean"]
    theirs = LogisticRegression(max_iter=500).fit(features[:600], labels[:600])
    agreement = (predictions["10"].numpy() == theirs.predict(features[600:])).mean()
    assert agreement > 0.93


@pytest.mark.parametrize("l2", [2.5e-3, 1.0])
def test_logistic_regression_is_that_of_scikit_learn(blobs, l2):
    features, labels = blobs
    features = torch.nn.functional.normalize(features, dim=1)
    weights = few_shot.logistic_regression(features[:120], labels[:120], classes=4, l2=l2)
    known = features.double().numpy()
    theirs = LogisticRegression(C=1 / l2, max_iter=9000, tol=1e-8).fit(known[:120], labels[:120])
    ours = (features.double() @ weights[:-1] + weights[-1]).softmax(dim=1)
    np.testing.assert_allclose(ours.numpy(), theirs.predict_proba(known), atol=3e-3)


@pytest.mark.parametrize("present", [[2], [0, 3], [0, 1, 3], [0, 1, 2, 3]])
def test_logistic_regression_ends_where_its_loss_is_flat(blobs, present):
    features, labels = (part[:200] for part in blobs)
    given_label = torch.isin(labels, torch.tensor(present))
    features, labels = features[given_label].double(), labels[given_label]
    weights = few_shot.logistic_regression(features.float(), labels, classes=4, l2=0.1)
    absent = sorted({0, 1, 2, 3} - set(present))
    assert (weights[-1, absent] == -torch.inf).all() and (weights[:-1, absent] == 0).all()

    learnt = weights[:, present].requires_grad_()
    scores = features @ learnt[:-1] + learnt[-1]
    classes = torch.tensor([present.index(label) for label in labels.tolist()])
    loss = torch.nn.functional.cross_entropy(scores, classes, reduction="sum")
    (loss + 0.1 / 2 * learnt[:-1].square().sum()).backward()
    assert learnt.grad.abs().max() < 1e-3


@pytest.mark.filterwarnings("error")
def test_one_label_per_class_is_no_regression_problem():
    weights = few_shot.logistic_regression(torch.eye(5), torch.arange(5), classes=5, l2=0.1)
    assert (weights[:-1] + weights[-1]).argmax(dim=1).tolist() == [0, 1, 2, 3, 4]


@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=6),
    shares=st.tuples(st.floats(0.001, 1), st.floats(0.001, 1)),
    seed=st.integers(0, 9),
)
@settings(max_examples=60, deadline=None)
def test_few_labels_are_stratified_nested_and_the_same_again(counts, shares, seed):
    small, large = sorted(shares)
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))
    few, more = (few_shot.labelled(labels, order, share=share) for share in (small, large))
    for share, indices in ((small, few), (large, more)):
        assert torch.equal(indices, indices.unique())
        of_each = labels[indices].bincount(minlength=len(counts)).tolist()
        assert of_each == [max(1, round(share * count)) for count in counts]
    assert set(few.tolist()) <= set(more.tolist())
    assert torch.equal(few, few_shot.labelled(labels, order, share=small))


def test_few_labels_are_enough_where_classes_lie_apart():
    labels = torch.arange(6).repeat_interleave(torch.tensor([1, 2, 60, 60, 60, 60]))
    noise = torch.randn(len(labels), 6, generator=torch.Generator().manual_seed(0))
    features = {"cls": torch.eye(6)[labels] + 0.01 * noise, "mean": torch.zeros(len(labels), 3)}
    shots = FewShot(shares=[0.01, 0.1], l2=2.5e-4)
    results = [
        few_shot.fit_predict(chosen, labels, chosen, classes=7, settings=shots,
                             generator=torch.Generator().manual_seed(0))
        for chosen in (features, features, {"cls": features["cls"]})
    ]  # fmt: skip
    for predictions, choice, counts in results:
        assert max(choice, key=lambda share: choice[share]) == "0.1"
        assert counts == {"images_0.01": 6, "images_0.1": 26}
        assert all(torch.equal(predicted, labels) for predicted in predictions.values())
    assert results[0][1:] == results[1][1:]
    assert all(torch.equal(results[0][0][share], results[1][0][share]) for share in results[0][0])


def test_few_labels_do_not_depend_on_the_scale_and_the_place_of_a_feature(blobs):
    features, labels = blobs
    moved = features * torch.logspace(-2, 2, features.shape[1]) + torch.arange(features.shape[1])
    answers = [
        few_shot.fit_predict(
            {"cls": table[:200], "mean": table[:200]}, labels[:200], {"cls": table, "mean": table},
            classes=4, settings=FewShot(shares=[0.1], l2=1.0), generator=torch.Generator().manual_seed(0),
        ).predictions["0.1"]
        for table in (features, moved)
    ]  # fmt: skip
    assert (answers[0] == answers[1]).float().mean() > 0.99


ATTENTIVE = Attentive(heads=2, epochs=12, batch_size=100, learning_rates=[0.003, 0.03], weight_decay=0.0,
                      validation_fraction=0.1)  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_even_attention_is_the_linear_probe_of_the_mean_patch(blobs, dtype):
    features, labels = blobs
    tokens = (features[:, None] + 0.5 * torch.randn(900, 5, 8)).to(dtype)
    mean = tokens.float().mean(dim=1)
    scale = attentive.Scale(mean.mean(dim=0), mean.std(dim=0))
    weights = linear.train_heads(
        (mean - scale.mean) / scale.std, labels, classes=4, rates=torch.tensor([0.3]), epochs=3,
        batch_size=100, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    even = attentive.start(1, width=8, heads=2, classes=4)
    probes = even._replace(classifier=weights[:, :-1], bias=weights[:, -1])
    expected = ((mean - scale.mean) / scale.std) @ weights[0, :-1] + weights[0, -1]
    torch.testing.assert_close(
        attentive.logits(tokens.float(), probes, scale)[0], expected, rtol=1e-4, atol=1e-4
    )
    predictions = attentive.predict(tokens, probes, scale, batch_size=64)
    assert predictions.shape == (1, 900) and (predictions[0] == expected.argmax(dim=1)).float().mean() > 0.998


def test_logits_are_those_of_standardised_tokens_attended_head_by_head():
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(3, 5, 6, generator=draw) + 2
    scale = attentive.Scale(torch.randn(6, generator=draw), torch.rand(6, generator=draw) + 0.5)
    shapes = ((2, 3, 6), (2, 3, 6, 2), (2, 6, 4), (2, 4))
    probes = attentive.Probes(*(torch.randn(*shape, generator=draw) for shape in shapes))
    standard = (tokens - scale.mean) / scale.std
    for rate in range(2):
        heads = []
        for head in range(3):
            attention = (standard @ probes.queries[rate, head] / 6**0.5).softmax(dim=1)  # (B, N)
            heads.append((attention[:, :, None] * (standard @ probes.values[rate, head])).sum(dim=1))
        expected = torch.cat(heads, dim=1) @ probes.classifier[rate] + probes.bias[rate]
        torch.testing.assert_close(
            attentive.logits(tokens, probes, scale)[rate], expected, rtol=1e-4, atol=1e-4
        )


def test_probes_trained_together_are_those_trained_alone(blobs):
    features, labels = blobs
    tokens = features[:300, None] + torch.randn(300, 4, 8)
    scale = attentive.Scale(torch.zeros(8), torch.ones(8))
    trained = [
        attentive.train_probes(
            tokens, labels[:300], scale, classes=4, settings=ATTENTIVE.model_copy(update=changes),
            generator=torch.Generator().manual_seed(0),
        )
        for changes in ({}, {"learning_rates": [0.03]})
    ]  # fmt: skip
    for together, alone in zip(*trained, strict=True):
        torch.testing.assert_close(together[1:], alone, rtol=1e-4, atol=1e-4)


def test_the_optimiser_is_adamw(blobs):
    features, labels = blobs
    tokens = features[:300, None] + torch.randn(300, 4, 8)
    chosen = ATTENTIVE.model_copy(update={"epochs": 3, "learning_rates": [0.01], "weight_decay": 0.1})
    scale = attentive.scale_of(tokens, batch_size=70)
    ours = attentive.train_probes(
        tokens, labels[:300], scale, classes=4, settings=chosen, generator=torch.Generator().manual_seed(0)
    )
    theirs = attentive.start(1, width=8, heads=2, classes=4)
    theirs = attentive.Probes(*(part.requires_grad_() for part in theirs))
    optimizer = torch.optim.AdamW(theirs, lr=0.01, weight_decay=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=9)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        for batch in torch.randperm(300, generator=generator).split(100):
            scores = attentive.logits(tokens[batch], theirs, scale)[0]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(scores, labels[batch]).backward()
            optimizer.step()
            schedule.step()
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other.detach(), rtol=1e-3, atol=1e-4)


def test_tokens_are_scaled_as_the_linear_probe_scales_their_mean():
    draw = torch.Generator().manual_seed(0)
    tokens = torch.randn(200, 9, 3, generator=draw) + 5 * torch.randn(200, 1, 3, generator=draw)
    tokens[:, :, 2] = 2 * torch.randn(9, generator=draw)  # the same in every image
    mean, std = attentive.scale_of(tokens.half(), batch_size=70)
    expected = tokens.mean(dim=1)
    torch.testing.assert_close(mean, expected.mean(dim=0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(std[:2], expected[:, :2].std(dim=0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(std[2], tokens[0, :, 2].std(correction=0) / 3, rtol=1e-3, atol=1e-3)


def test_attention_finds_the_one_patch_that_tells_and_the_mean_does_not():
    draw = torch.Generator().manual_seed(0)
    labels = torch.randint(3, (900,), generator=draw)
    tokens = 2 * torch.randn(900, 16, 8, generator=draw)
    place = torch.randint(16, (900,), generator=draw)
    tokens[:, :, 7] = 0
    tokens[range(900), place] = 2 * torch.eye(3, 8)[labels] + 4 * torch.eye(8)[7]  # marked by a channel
    chosen = ATTENTIVE.model_copy(update={"epochs": 30})
    predictions, choice, rates = attentive.fit_predict(
        {"patches": tokens[:600].half()}, labels[:600], {"patches": tokens[600:].half()},
        classes=3, settings=chosen, generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    mean = tokens.mean(dim=1)
    theirs = LogisticRegression().fit(mean[:600], labels[:600]).score(mean[600:], labels[600:])
    ours = (predictions["attention"] == labels[600:]).float().mean().item()
    assert ours > 0.95 and theirs < 0.7
    assert choice["attention"] > 0.9 and rates["learning_rate"] in chosen.learning_rates


def test_heads_that_do_not_fit_the_width_are_refused():
    tokens = {"patches": torch.zeros(4, 2, 8)}
    with pytest.raises(StudyError, match=r"probes\.attentive\.heads is 3: it must divide 8"):
        attentive.fit_predict(
            tokens, torch.tensor([0, 1, 0, 1]), tokens, classes=2,
            settings=ATTENTIVE.model_copy(update={"heads": 3}), generator=torch.Generator(),
        )  # fmt: skip


def test_wilson_interval():
    # Wilson 1927 for 10 of 20, z = 1.96
    assert accuracy.wilson_interval(10, 20) == pytest.approx((0.2993, 0.7007), abs=1e-4)
    assert accuracy.wilson_interval(0, 10)[0] == 0 and accuracy.wilson_interval(10, 10)[1] == pytest.approx(1)


def test_summary_counts():
    summary = accuracy.summarize(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]), classes=4)
    assert summary["accuracy"] == 0.75 and summary["images"] == 4 and summary["chance"] == 0.25
    assert summary["low"] < 0.75 < summary["high"]


def test_protocols_say_what_was_done():
    assert "20 nearest" in knn.protocol(Knn(k=20, temperature=0.07))
    assert "SGD, 9 epochs" in linear.protocol(
        Linear(epochs=9, batch_size=8, learning_rates=[1.0], validation_fraction=0.1)
    )
    options = {"epochs": 7, "batch_size": 8, "learning_rates": [1.0], "validation_fraction": 0.2}
    assert "every block" in layerwise.protocol(Layerwise(**options))
    assert "1 %, 12.5 % of the training labels" in few_shot.protocol(FewShot(shares=[0.01, 0.125], l2=1.0))
    assert "2 learnt queries" in attentive.protocol(ATTENTIVE)


@pytest.mark.parametrize("name", ["linear", "knn", "class_mean", "attentive"])
def test_what_a_probe_chooses_by_does_not_see_the_labels_it_was_fitted_to(name):
    """Features without information have a validation accuracy of chance; on fitted images it would be 1."""
    generator = torch.Generator().manual_seed(0)
    noise, labels = torch.randn(300, 400, generator=generator), torch.randint(2, (300,), generator=generator)
    heads = {"epochs": 20, "batch_size": 64, "validation_fraction": 0.5}
    probe, chosen = {
        "linear": (linear, Linear(learning_rates=[0.1], **heads)),
        "knn": (knn, Knn(k=1, temperature=0.07)),
        "class_mean": (class_mean, ClassMean(unit_length=False)),
        "attentive": (attentive, Attentive(heads=2, learning_rates=[0.03], weight_decay=0.0, **heads)),
    }[name]
    features = {"patches": noise[:, None].repeat(1, 2, 1)} if name == "attentive" else {"mean": noise}
    outcome = probe.fit_predict(features, labels, features, classes=2, settings=chosen, generator=generator)
    (accuracy,) = outcome.choice.values()
    assert 0.35 < accuracy < 0.65


def test_held_out_and_fitted_images_are_a_partition():
    held, fitted = linear.held_out(100, share=0.1, generator=torch.Generator().manual_seed(0))
    assert len(held) == 10 and sorted([*held.tolist(), *fitted.tolist()]) == list(range(100))
