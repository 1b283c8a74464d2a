"""Tiny models of the real classes: segment-anything's SAM, and transformers' SAM 2."""

import numpy as np
import torch
from safetensors.torch import save_file
from vtool.vision_tools.backends import sam as sam_backend

from vtool.media import Image


def noise(size=(96, 64), seed=0):
    rng = np.random.default_rng(seed)
    return Image(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def shake(model, std):
    """Weights large enough that pictures and prompts make a difference."""
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1 or "norm" not in name:
            torch.nn.init.normal_(parameter, std=std)


def tiny_sam(seed=9):
    m = sam_backend.library().modeling
    torch.manual_seed(seed)
    made = m.Sam(
        image_encoder=m.ImageEncoderViT(
            img_size=64,
            patch_size=8,
            embed_dim=32,
            depth=3,
            num_heads=2,
            mlp_ratio=2,
            out_chans=32,
            qkv_bias=True,
            norm_layer=lambda n: torch.nn.LayerNorm(n, eps=1e-6),
            use_rel_pos=True,
            rel_pos_zero_init=False,
            window_size=3,
            global_attn_indexes=(2,),
        ),
        prompt_encoder=m.PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(64, 64), mask_in_chans=8
        ),
        mask_decoder=m.MaskDecoder(
            num_multimask_outputs=3,
            transformer=m.TwoWayTransformer(depth=2, embedding_dim=32, mlp_dim=24, num_heads=8),
            transformer_dim=32,
            iou_head_depth=3,
            iou_head_hidden_dim=20,
        ),
        pixel_mean=[123.675, 116.28, 103.53],
        pixel_std=[58.395, 57.12, 57.375],
    )
    shake(made, 0.4)
    return made.eval()


def saved_sam(path):
    """Its weights as people have them."""
    save_file({k: v.contiguous() for k, v in tiny_sam().state_dict().items()}, path)
    return path


def tiny_sam2(folder):
    from transformers import Sam2Config, Sam2Model

    backbone = {
        "hidden_size": 8,
        "image_size": [64, 64],
        "patch_kernel_size": [7, 7],
        "patch_stride": [4, 4],
        "patch_padding": [3, 3],
        "blocks_per_stage": [1, 2, 2, 1],
        "embed_dim_per_stage": [8, 16, 32, 64],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "window_size_per_stage": [4, 4, 4, 4],
        "global_attention_blocks": [4],
        "window_positional_embedding_background_size": [2, 2],
    }
    config = Sam2Config(
        vision_config={
            "backbone_config": {"model_type": "sam2_hiera_det_model", **backbone},
            "backbone_channel_list": [64, 32, 16, 8],
            "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
            "fpn_hidden_size": 16,
        },
        prompt_encoder_config={
            "hidden_size": 16,
            "image_size": 64,
            "patch_size": 16,
            "mask_input_channels": 8,
        },
        mask_decoder_config={
            "hidden_size": 16,
            "mlp_dim": 24,
            "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )
    torch.manual_seed(1)
    model = Sam2Model(config).eval()
    shake(model, 0.3)
    model.save_pretrained(folder)
    return model
