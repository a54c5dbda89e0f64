"""Every text classifier of the installed transformers, made tiny: sizes that most take, and what some want besides."""

from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedTokenizerFast

from tests import tiny

OWN = ["[USR]", "<url>"]
"""Tokens that the teachers' authors added: a special one, and one that is not."""
LENGTH = 40
SIZES = tiny.SIZES | {
    "vocab_size": len(tiny.VOCABULARY) + len(OWN),
    "bos_token_id": 1,
    "eos_token_id": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
}
VISION = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
PATCHES = VISION | {"image_size": 28, "patch_size": 14}
MIXTURE = {
    **dict.fromkeys(("moe_num_experts", "n_routed_experts", "num_experts", "num_local_experts"), 4),
    **dict.fromkeys(("moe_intermediate_size", "shared_expert_intermediate_size", "index_head_dim"), 16),
    **dict.fromkeys(("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"), 8),
    **dict.fromkeys(("linear_key_head_dim", "linear_value_head_dim"), 8),
    **dict.fromkeys(("linear_num_key_heads", "linear_num_value_heads", "num_experts_per_tok", "index_n_heads"), 2),
    **dict.fromkeys(("n_group", "topk_group"), 1),
}
LINEAR = MIXTURE | {"layer_types": ["linear_attention", "full_attention"]}
MAMBA = {"mamba_d_state": 4, "mamba_d_conv": 2, "n_mamba_heads": 2}
ROPE = {"rope_type": "default", "rope_theta": 1e4}
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "decoder_start_token_id": 0}
ENCODER_DECODER = {
    **dict.fromkeys(("encoder_layers", "decoder_layers", "encoder_attention_heads", "decoder_attention_heads"), 2),
    **dict.fromkeys(("encoder_ffn_dim", "decoder_ffn_dim"), 32),
}
CHANGES: dict[str, dict[str, Any]] = {
    "albert": {
        "embedding_size": 16,
        **dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), 0.1),
    },
    **dict.fromkeys(("axk1", "axk2", "deepseek_v2", "deepseek_v3", "qwen2_moe", "qwen3_moe"), MIXTURE),
    "bart": ENCODER_DECODER,
    "big_bird": {"block_size": 4, "num_random_blocks": 1, "attention_type": "block_sparse"},
    "bigbird_pegasus": ENCODER_DECODER | {"block_size": 4, "num_random_blocks": 1},
    "cohere_compass_text": {
        "layer_types": ["full_attention"] * 2,
        "rope_parameters": {"full_attention": ROPE, "sliding_attention": ROPE},
    },
    "falcon": {"head_dim": None},
    "funnel": {
        "num_hidden_layers": None,
        "block_sizes": [1, 1],
        "d_model": 16,
        "n_head": 2,
        "d_head": 8,
        "d_inner": 32,
    },
    "gemma3": {"text_config": SIZES, "vision_config": PATCHES},
    "gpt_neo": {"num_layers": 2, "attention_types": [[["global", "local"], 1]], "num_heads": 2},
    "gptj": {"rotary_dim": 4, "head_dim": None},
    "jamba": MAMBA
    | {"attn_layer_period": 2, "attn_layer_offset": 1, "expert_layer_period": 2, "mamba_dt_rank": 4, "num_experts": 2},
    "layoutlmv3": {"visual_embed": False, "coordinate_size": 2, "shape_size": 4},
    "lilt": {"hidden_size": 24},
    "longformer": {"attention_window": 4},
    "luke": {"entity_vocab_size": 10, "entity_emb_size": 16},
    "mbart": ENCODER_DECODER,
    "mistral4": MIXTURE | {"head_dim": None},
    "modernvbert": {"text_config": SIZES, "vision_config": PATCHES},
    "mvp": ENCODER_DECODER,
    "perceiver": {
        "num_latents": 4,
        "num_self_attends_per_block": 1,
        **dict.fromkeys(("d_latents", "d_model"), 16),
        **dict.fromkeys(("num_self_attention_heads", "num_cross_attention_heads"), 2),
    },
    "plbart": ENCODER_DECODER,
    "qwen3_5": {
        "text_config": SIZES | LINEAR,
        "vision_config": {
            "hidden_size": 16,
            "depth": 1,
            "num_heads": 2,
            "intermediate_size": 16,
            "out_hidden_size": 16,
        },
    },
    "qwen3_5_text": LINEAR,
    "qwen3_next": LINEAR,
    "reformer": {
        "axial_pos_embds_dim": [8, 8],
        "axial_pos_shape": [8, 8],
        "attention_head_size": 8,
        "feed_forward_size": 32,
        "is_decoder": False,
        "attn_layers": ["local", "local"],
    },
    "rembert": {"hidden_dropout_prob": 0.1, "input_embedding_size": 16, "output_embedding_size": 16},
    "roc_bert": {
        **dict.fromkeys(("pronunciation_embed_dim", "shape_embed_dim"), 8),
        **dict.fromkeys(("shape_vocab_size", "pronunciation_vocab_size"), 60),
    },
    "squeezebert": {
        "embedding_size": 16,
        **{f"{part}_groups": 1 for part in ("q", "k", "v", "post_attention", "intermediate", "output")},
    },
    **dict.fromkeys(("t5", "mt5", "umt5"), T5),
    "t5gemma": {"encoder": SIZES, "decoder": SIZES | {"cross_attention_hidden_size": 16}},
    "t5gemma2": {"encoder": {"text_config": SIZES, "vision_config": PATCHES}, "decoder": SIZES},
    "ultravbert": {"text_config": SIZES, "vision_config": PATCHES, "image_token_id": 5},
    "xlnet": {"max_position_embeddings": None, "d_inner": 32, "d_head": 8, "n_head": 2, "d_model": 16, "n_layer": 2},
    "xmod": {"default_language": "en_XX", "languages": ["en_XX"]},
    "zamba": MAMBA
    | {
        "num_hidden_layers": 4,
        "layers_block_type": ["mamba", "hybrid"] * 2,
        "attn_layer_period": 2,
        "attn_layer_offset": 1,
        "mamba_dt_rank": 4,
        "attention_head_dim": 16,
    },
    "zamba2": MAMBA
    | {
        "layers_block_type": ["mamba", "hybrid"],
        "layer_types": ["mamba", "hybrid"],
        "mamba_headdim": 16,
        "mamba_ngroups": 1,
        "chunk_size": 8,
        "hybrid_layer_ids": [1],
        "num_mem_blocks": 1,
    },
}
LABELLED = [
    name
    for line in (
        "albert arcee axk1 axk2 bart bert big_bird bigbird_pegasus biogpt bloom camembert cohere_compass_text ctrl",
        "data2vec-text deberta deberta-v2 deepseek_v2 deepseek_v3 distilbert doge electra ernie esm esmc eurobert",
        "exaone4 falcon flaubert gemma gemma3 gemma3_text glm glm4 gpt-sw3 gpt2 gpt_bigcode gpt_neo gpt_neox gptj",
        "gte helium hunyuan_v1_dense hunyuan_v1_moe ibert jamba jetmoe jina_embeddings_v3 layoutlm layoutlmv3 lilt",
        "llama longformer luke markuplm mbart megatron-bert minicpm3 minimax ministral ministral3 mistral mistral4",
        "mixtral mobilebert modernbert modernbert-decoder modernvbert mpnet mt5 mvp nemotron nomic_bert olmo olmo2",
        "olmo3 openai-gpt perceiver persimmon phi phi3 phimoe plbart qwen2 qwen2_moe qwen3 qwen3_5 qwen3_5_text",
        "qwen3_moe qwen3_next reformer rembert roberta roberta-prelayernorm roc_bert roformer seed_oss smollm3",
        "squeezebert stablelm starcoder2 t5 tapas ultrabert ultravbert umt5 xlm xlm-roberta xlm-roberta-xl xmod",
        "zamba zamba2",
    )
    for name in line.split()
]
"""Architectures that are labelled, with transformers' own numbers."""
_ON_ITS_BATCH = "a text's logits depend on its batch"
_NO_BATCH_AXIS = "is neither the batch nor fixed, so no mask can be shared"
REFUSED = {
    "canine": r"its network cannot read a text padded to a batch \(max_pool1d",
    **dict.fromkeys(("convbert", "fnet", "nystromformer", "t5gemma2", "yoso"), _ON_ITS_BATCH),
    "diffllama": "cannot be loaded from .*DiffLlama does not support `attention_dropout > 0`",
    **dict.fromkeys(("funnel", "opt", "xlnet"), _NO_BATCH_AXIS),
    **dict.fromkeys(("gemma2", "t5gemma"), "attention with softcap has no keyed dropout"),
    "gpt_oss": "attention with s_aux has no keyed dropout",
    "mpt": "cannot be loaded from .*attn_pdrop",
    "mra": "its logits are the same for different texts",
}
"""Architectures that are refused, and the reason that the message names."""
NOT_MADE = {"layoutlmv2": "wants the library detectron2 even for texts alone; without it, it cannot be loaded"}
"""Architectures that cannot be made here."""


def save(folder: Path, architecture: str) -> None:
    """A tiny classifier with random weights, and a tokenizer with added tokens."""
    torch.manual_seed(0)
    wanted = SIZES | CHANGES.get(architecture, {})
    labels = {"id2label": dict(enumerate("abc")), "label2id": {name: at for at, name in enumerate("abc")}}
    config = AutoConfig.for_model(
        architecture, **{name: value for name, value in wanted.items() if value is not None}, **labels
    )
    model = AutoModelForSequenceClassification.from_config(config).eval()
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:  # a fresh network says nearly the same of every text
                weights.normal_(0, 0.3)
        for module in model.modules():
            if isinstance(module, torch.nn.Embedding) and module.padding_idx is not None:
                module.weight[module.padding_idx] = 0  # as training leaves it
    model.save_pretrained(folder)
    tokenizer().save_pretrained(folder)


def tokenizer() -> PreTrainedTokenizerFast:
    made = tiny.tokenizer()
    made.add_special_tokens({"extra_special_tokens": OWN[:1]})
    made.add_tokens(OWN[1:])
    return made
