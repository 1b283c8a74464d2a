"""Tiny random checkpoints of the real open-vocabulary classes, with processors of their own."""

import torch
from transformers import (
    BertConfig,
    BertTokenizerFast,
    CLIPTokenizerFast,
    GroundingDinoConfig,
    GroundingDinoForObjectDetection,
    GroundingDinoProcessor,
    Owlv2Config,
    Owlv2ForObjectDetection,
    Owlv2Processor,
    OwlViTConfig,
    OwlViTForObjectDetection,
    OwlViTProcessor,
    SwinConfig,
)
from transformers.models.grounding_dino.image_processing_pil_grounding_dino import (
    GroundingDinoImageProcessorPil,
)
from transformers.models.owlv2.image_processing_pil_owlv2 import Owlv2ImageProcessorPil
from transformers.models.owlvit.image_processing_pil_owlvit import OwlViTImageProcessorPil

LETTERS = "abcdefghijklmnopqrstuvwxyz"


def save(folder, model, processor):
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return str(folder)


def bert_tokenizer():
    """Words and letters; the special tokens stand where the model's code expects them."""
    words = [f"[unused{i}]" for i in range(1100)]
    special = {"[PAD]": 0, "[UNK]": 100, "[CLS]": 101, "[SEP]": 102, "[MASK]": 103}
    known = ["cat", "dog", "red", "mug", "the", "a", "on", "table"]
    places = {**special, ".": 1012, "?": 1029, **{w: 200 + i for i, w in enumerate(known)}}
    places |= {c: 300 + i for i, c in enumerate(LETTERS)}
    places |= {f"##{c}": 400 + i for i, c in enumerate(LETTERS)}
    for word, place in places.items():
        words[place] = word
    return BertTokenizerFast(vocab={word: i for i, word in enumerate(words)})


def grounding_dino(folder):
    torch.manual_seed(0)
    swin = SwinConfig(
        image_size=64,
        embed_dim=16,
        depths=[1, 1, 1, 1],
        num_heads=[1, 2, 2, 4],
        window_size=4,
        out_indices=[2, 3, 4],
    )
    bert = BertConfig(
        vocab_size=1100,
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=64,
    )
    config = GroundingDinoConfig(
        backbone_config=swin,
        text_config=bert,
        d_model=32,
        encoder_layers=1,
        decoder_layers=2,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=32,
        decoder_ffn_dim=32,
        num_queries=20,
        max_text_len=48,
    )
    pictures = GroundingDinoImageProcessorPil(size={"shortest_edge": 80, "longest_edge": 160})
    processor = GroundingDinoProcessor(pictures, bert_tokenizer())
    return save(folder, GroundingDinoForObjectDetection(config), processor)


def owl(folder, config_class, model_class, processor_class, pictures):
    torch.manual_seed(1)
    names = [*LETTERS, *(f"{c}</w>" for c in LETTERS), "<|startoftext|>", "<|endoftext|>"]
    vocab = {name: i for i, name in enumerate(names)}
    tokenizer = CLIPTokenizerFast(vocab=vocab, merges=[], pad_token="<|endoftext|>")
    small = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
    }
    last = len(vocab) - 1
    config = config_class(
        text_config={
            **small,
            "vocab_size": len(vocab),
            "max_position_embeddings": 16,
            "bos_token_id": last - 1,
            "eos_token_id": last,
            "pad_token_id": last,
        },
        vision_config={**small, "image_size": 96, "patch_size": 16},
        projection_dim=16,
    )
    return save(folder, model_class(config), processor_class(pictures, tokenizer))


def owlv2(folder):
    pictures = Owlv2ImageProcessorPil(size={"height": 96, "width": 96})
    return owl(folder, Owlv2Config, Owlv2ForObjectDetection, Owlv2Processor, pictures)


def owlvit(folder):
    pictures = OwlViTImageProcessorPil(size={"height": 96, "width": 96})
    return owl(folder, OwlViTConfig, OwlViTForObjectDetection, OwlViTProcessor, pictures)
