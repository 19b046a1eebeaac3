"""What each claim compares, written down a second time from its statement."""

from stages.claims.entries import CLAIMS

CL, MIM = "contrastive", "masked"
# name -> the role with the higher value, the lower roles, and the first option of each choice
DECLARED = {
    "linear_probing": (CL, MIM, "linear", "chosen on validation", "mean of all"),
    "finetuning": (MIM, CL, "mean of all"),
    "model_size": (MIM, CL, "mean of all"),
    "dense_prediction": (MIM, CL, "linear", "with background"),
    "dense_prediction_finetuned": (MIM, CL, "with background"),
    "nearest_neighbours": (CL, MIM, "chosen on validation", "mean of all"),
    "few_labels": (CL, MIM, "mean of all"),
    "attentive_probing": (CL, MIM, "mean of all"),
    "learnt_pooling": (MIM, CL, "mean of all"),
    "attention_distance": (CL, MIM, "last third", "among patches", "mean"),
    "attention_collapse": (MIM, CL, "last third", "among patches", "mean"),  # information about the query
    "collapse_beyond_untrained": ("random", CL, "last third", "among patches", "mean"),
    "collapse_with_depth": (CL, "0", "last third", "among patches", "mean"),
    "same_map": (CL, MIM, "last third"),
    "heads_alike": (CL, MIM, "attention maps", "last third"),
    "blocks_alike": (CL, MIM, "CKA of mean tokens", "last third"),
    "positions_alike": (CL, MIM, "raw", "last third"),
    "tokens_in_unison": (CL, MIM, "last third"),
    "token_spread": (MIM, CL, "last block"),
    "image_spread": (CL, MIM, "last block"),
    "tokens_by_image": (CL, MIM),
    "frequency": (MIM, CL, "last block", "highest bin"),
    "frequency_falls": (MIM, CL, "last third", "highest bin"),
    "shape_bias": (CL, MIM),
    "other_textures": (CL, MIM, "amplitude_exchange"),
    "other_textures_finetuned": (CL, MIM, "amplitude_exchange"),
    "stylised": (CL, MIM),
    "stylised_finetuned": (CL, MIM),
    "noise": (CL, MIM, "outer thirds", "mean of all", "mean of all"),  # accuracy that is kept
    "noise_finetuned": (CL, MIM, "outer thirds", "mean of all", "mean of all"),
    "early_blocks": (MIM, CL, "first half", "mean of all"),
    "late_blocks": (CL, MIM, "last third", "mean of all"),
    "implicit_decoder": (MIM, "0", "mean of all"),
    "explicit_decoder": (MIM, "autoencoder", "mean of all"),  # accuracy that is lost
    "hybrid_linear": ("hybrid", f"{CL} {MIM}", "linear", "chosen on validation", "mean of all"),
    "hybrid_finetuned": ("hybrid", f"{CL} {MIM}", "mean of all"),
    "hybrid_attention": ("hybrid", "0", "last third", "among patches", "mean"),
    "hybrid_frequency": ("hybrid", "0", "last third", "highest bin"),
}
FINETUNED = {"finetuning", "model_size", "hybrid_finetuned"} | {
    f"{name}_finetuned" for name in ("dense_prediction", "other_textures", "stylised", "noise")
}
# Claims that the paper does not state for every method of a kind, so no other method can replicate them.
OF_ONE_METHOD = {"model_size", "frequency_falls", "implicit_decoder"}


def test_every_claim_compares_what_its_statement_says():
    written = {
        claim.name: (claim.higher, " ".join(claim.lower), *(choice.options[0] for choice in claim.choices))
        for claim in CLAIMS
    }
    assert written == DECLARED


def test_claims_after_fine_tuning_need_its_convergence():
    assert {claim.name for claim in CLAIMS if claim.tuned} == FINETUNED
    heads = {claim.name: claim.given.get("head", claim.given.get("probe")) for claim in CLAIMS}
    assert {name for name, head in heads.items() if head == "fine-tuned"} == {
        name for name in FINETUNED if name.endswith("_finetuned") and name != "hybrid_finetuned"
    }
    assert {claim.name for claim in CLAIMS if not claim.general} == OF_ONE_METHOD
